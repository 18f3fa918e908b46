"""Training curves of a run."""

import json
from pathlib import Path

import matplotlib
import matplotlib.backends.backend_agg
import matplotlib.figure
from matplotlib import ticker

_STUDENT_CURVES = {
    "loss/action_mse": "action MSE",
    "loss/kl": "KL(posterior || prior), nats",
    "latent/active_units": "active units",
    "rollout/reward_per_step": "reward per step",
    "episode/steps": "episode length, control steps",
    "time/env_steps_per_second": "environment steps per second",
}
_TEACHER_CURVES = {
    "rollout/reward_fraction": "imitation reward / maximum",
    "episode/survival": "survival",
    "episode/steps": "episode length, control steps",
    "loss/action_std": "standard deviation of actions",
    "loss/explained_variance": "returns explained by the value",
    "time/env_steps_per_second": "environment steps per second",
}


def _figure(rows: int, columns: int, size: tuple[float, float]):
    # The Agg canvas draws without a display and leaves the user's own backend alone.
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def training_curves(metrics_file: Path, folder: Path) -> None:
    """Draws `training.png` from the JSONL metrics of a distillation; nothing before the first row."""
    _draw_curves(metrics_file, folder, _STUDENT_CURVES)


def teacher_curves(metrics_file: Path, folder: Path) -> None:
    """Draws `training.png` from the JSONL metrics of a teacher's training; as `training_curves`."""
    _draw_curves(metrics_file, folder, _TEACHER_CURVES)


def _draw_curves(metrics_file: Path, folder: Path, curves: dict[str, str]) -> None:
    rows = [json.loads(line) for line in metrics_file.read_text().splitlines() if line]
    rows = [row for row in rows if "loss/total" in row]
    if not rows:
        return
    steps = [row["env_steps"] for row in rows]
    figure, axes = _figure(2, 3, (12, 6))
    for axis, (name, label) in zip(axes.flat, curves.items(), strict=True):
        axis.plot(steps, [row[name] for row in rows], marker="." if len(rows) < 30 else None)
        axis.set(xlabel="environment steps", title=label)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axis.xaxis.set_major_formatter(ticker.EngFormatter())
        if name == "loss/action_mse":
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
        axis.grid(alpha=0.3)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "training.png", dpi=120)
