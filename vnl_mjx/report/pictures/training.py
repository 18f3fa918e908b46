"""Draws training curves of a run, for its folder and for the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes

from vnl_mjx.evaluation.metrics import metric
from vnl_mjx.report.colors import BLUE
from vnl_mjx.report.pictures.style import Picture, logarithmic, sheet

# Names of `metrics.jsonl`.
STUDENT_CURVES = (
    "loss/action_mse",
    "loss/kl",
    "latent/active_units",
    "rollout/reward_per_step",
    "episode/steps",
    "time/env_steps_per_second",
)
TEACHER_CURVES = (
    "rollout/reward_fraction",
    "episode/survival",
    "episode/steps",
    "loss/action_std",
    "loss/explained_variance",
    "time/env_steps_per_second",
)
TASK_CURVES = (
    "rollout/reward_per_step",
    "episode/survival",
    "episode/steps",
    "loss/action_std",
    "loss/explained_variance",
    "time/env_steps_per_second",
)
_REPORT_CURVES = (*STUDENT_CURVES[:-1], "eval/reward_ratio")
_LOGARITHMIC = {"loss/action_mse"}
_MOST_POINTS = 400

Rows = Sequence[Mapping[str, float]]


def draw_curves(metrics_file: Path, folder: Path, curves: Sequence[str]) -> None:
    """Draws `training.png` from the JSONL metrics of a run; nothing before the first update."""
    rows = [json.loads(line) for line in metrics_file.read_text().splitlines() if line]
    if not any("loss/total" in row for row in rows):
        return
    with sheet(4.0, "", "", rows=2, columns=3) as drawn:
        for axis, name in zip(drawn.axes, curves, strict=True):
            _draw(axis, rows, name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training.png").write_bytes(drawn.picture.png)


def training_pictures(rows: Rows) -> dict[str, Picture]:
    """Returns a picture of each curve of a run's `metrics.jsonl`; none for fewer than two rows."""
    pictures = {}
    for name in _REPORT_CURVES:
        steps, values = _points(rows, name)
        if len(steps) < 2:
            continue
        label = metric(name).heading
        caption = f"Training: {label}, against environment steps."
        alt = f"{label}: {values[0]:.3g} at first, {values[-1]:.3g} at {steps[-1]:.3g} steps."
        with sheet(1.7, caption, alt) as drawn:
            _draw(drawn.axis, rows, name)
        pictures[name] = drawn.picture
    return pictures


def _draw(axis: Axes, rows: Rows, name: str) -> None:
    steps, values = _points(rows, name)
    axis.plot(steps, values, color=BLUE, marker="." if len(steps) < 30 else None)
    axis.set_xlabel("environment steps")
    axis.set_title(metric(name).heading, loc="left")
    axis.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
    if name in _LOGARITHMIC and values.min(initial=np.inf) > 0:
        logarithmic(axis)
    else:
        axis.set_ylim(bottom=min(0.0, float(np.nanmin(values, initial=0.0))))
    axis.grid()


def _points(rows: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns environment steps and values [point] of a metric, thinned to a visible number."""
    points = [(row["env_steps"], row[name]) for row in rows if row.get(name) is not None]
    thin = points[:: -(-len(points) // _MOST_POINTS) or 1]
    if points and thin[-1] != points[-1]:
        thin.append(points[-1])
    steps, values = np.array(thin, np.float64).reshape(-1, 2).T
    return steps, values
