"""Trains tasks with and without motor primitives, with several seeds, and compares them.

    uv run python benchmarks/tasks.py [GOAL ...] [--modes prior_decoder,scratch] [--seeds 0,1,2,3,4]
        [--steps N] [--jobs N] [--runs FOLDER] [--json FILE]

Each run is a `vnl-mjx train-task` in a process of its own; one that is there already is not made again. Its
budget counts the environment steps of cloning too, so that `scratch` has as many. `--jobs` makes several side
by side, each on cores of its own (Linux): two on two cores make 1.3 times the steps of one on both. Prints
a table: mean over seeds, with Student's 95 % interval. Draws `<goal>.png` in the folder of the runs: what the
goal measures while training, against environment steps.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from matplotlib.ticker import EngFormatter
from rich.console import Console
from scipy import stats
from timing import exit_status, table

from vnl_mjx.commands.train.run_folder import read_metrics
from vnl_mjx.config.loading import load_task_config
from vnl_mjx.config.task import GOAL_SUMMARIES
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.task_evaluation import headline
from vnl_mjx.report.colors import BLUE, GREEN, MUTED
from vnl_mjx.report.pictures.curves import draw_band
from vnl_mjx.report.pictures.style import Estimates, sheet
from vnl_mjx.tasks.downstream.goals import GOALS

COLORS = {"prior_decoder": BLUE, "scratch": GREEN, "decoder_only": MUTED}
LABELS = {"prior_decoder": "with primitives", "scratch": "without (scratch)"}
SHARES = ("episode/survival",)
POINTS = 14  # of a curve


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("goals", nargs="*", metavar="GOAL", default=["joystick"])
    parser.add_argument("--modes", default="prior_decoder,scratch")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps of a run")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--runs", type=Path, default=Path("runs/tasks"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all numbers")
    args = parser.parse_args()
    if unknown := set(args.goals) - set(GOAL_SUMMARIES):
        raise UserError(f"no goal {sorted(unknown)[0]!r}, found {sorted(GOAL_SUMMARIES)}")
    modes, seeds = args.modes.split(","), [int(seed) for seed in args.seeds.split(",")]
    found: dict[str, Any] = {}
    for goal in args.goals:
        runs = {m: [args.runs / goal / m / str(s) for s in seeds] for m in modes}
        shares = shared_cores(args.jobs)
        with ThreadPoolExecutor(args.jobs) as pool:
            trainings = [
                pool.submit(train, goal, mode, seed, folder, args.steps, shares)
                for mode, folders in runs.items()
                for seed, folder in zip(seeds, folders, strict=True)
            ]
        for training in trainings:
            training.result()
        found[goal] = {mode: [headline(read(f)) for f in folders] for mode, folders in runs.items()}
        show(goal, found[goal])
        draw(goal, runs, args.runs / f"{goal}.png")
        if args.json:
            args.json.write_text(json.dumps(found, indent=1))


def shared_cores(num: int) -> SimpleQueue[set[int]]:
    """The cores of this machine in so many parts; a single one, or where cores cannot be chosen: no part."""
    shares: SimpleQueue[set[int]] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for i in range(num):
        shares.put(set(cores[i::num]) if num > 1 else set())
    return shares


def train(
    goal: str, mode: str, seed: int, folder: Path, steps: int, shares: SimpleQueue[set[int]]
) -> None:
    """One run, if it is not there, on one of the shares of cores."""
    if (folder / "eval" / "metrics.json").is_file():
        return
    cloned = load_task_config().cloning.num_steps if has_cloning(goal, mode) else 0
    settings = [f"goal={goal}", f"mode={mode}", f"ppo.seed={seed}", f"run_dir={folder}"]
    settings += [f"ppo.num_steps={steps - cloned}", "eval_config.video_at_end=false"]
    command = [sys.executable, "-m", "vnl_mjx.cli", "train-task", *settings]
    print("$ vnl-mjx", *command[3:], flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    cores = shares.get()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        if cores:
            os.sched_setaffinity(process.pid, cores)
        status = process.wait()
    shares.put(cores)
    if status:
        raise UserError(f"a training ended with status {status}; see {log.name}")


def has_cloning(goal: str, mode: str) -> bool:
    """Whether a run begins with cloning."""
    return mode != "scratch" and GOALS[goal].has_hindsight()


def read(folder: Path) -> dict[str, Any]:
    """What the evaluation at the end of a run found."""
    return json.loads((folder / "eval" / "metrics.json").read_text())


def show(goal: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """One column for each mode."""
    names = dict.fromkeys(name for rows in found.values() for row in rows for name in row)
    shown = table(goal, *found)
    for name in names:
        cells = (spread([row.get(name, np.nan) for row in rows]) for rows in found.values())
        shown.add_row(name.replace("_", " "), *cells)
    Console(width=120).print(shown)


def spread(values: Sequence[float]) -> str:
    """Mean and interval of a mean over seeds."""
    kept = np.array([v for v in values if np.isfinite(v)])
    if len(kept) < 2:
        return f"{kept.mean():.3g}" if len(kept) else ""
    return f"{kept.mean():.3g} ± {half_width(kept):.2g}"


def draw(goal: str, runs: Mapping[str, Sequence[Path]], path: Path) -> None:
    """What the goal measures, and how many episodes end without a fall, while training."""
    rows = {mode: [read_metrics(folder) for folder in folders] for mode, folders in runs.items()}
    known = {name for own in rows.values() for row in own[0] for name in row}
    measures = [
        n for n in read(next(iter(runs.values()))[0])["measures"] if f"rollout/{n}" in known
    ]
    events = [name for name in measures if name in GOALS[goal].events]
    panels = {f"rollout/{name}": name.replace("_", " ") for name in measures}
    panels |= {f"rollout/{name}": f"{panels[f'rollout/{name}']} per step" for name in events}
    panels["episode/survival"] = "episodes without a fall"
    caption = "While training, exploring. Means over seeds; bands: Student's 95 % intervals."
    with sheet(2.2, caption, goal, columns=len(panels)) as drawn:
        for axis, (name, title) in zip(drawn.axes, panels.items(), strict=True):
            for mode, own in rows.items():
                cloned = load_task_config().cloning.num_steps if has_cloning(goal, mode) else 0
                steps, band = mean_curve(own, name)
                draw_band(
                    axis, cloned + steps, band, COLORS.get(mode, MUTED), LABELS.get(mode, mode)
                )
            axis.set_xlabel("environment steps")
            axis.set_title(title, loc="left")
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.set_xlim(left=0.0)
            axis.set_ylim(0.0, 1.02 if name in SHARES else None)
            axis.grid()
        drawn.axes[0].legend()
    path.write_bytes(drawn.picture.png)


def mean_curve(
    runs: Sequence[Sequence[Mapping[str, float]]], name: str
) -> tuple[np.ndarray, Estimates]:
    """A metric over seeds: environment steps, and its mean with an interval where there are several."""
    ends = min(own[-1]["env_steps"] for own in runs)
    steps = np.linspace(ends / POINTS, ends, POINTS)
    curves = np.array([curve(own, name, steps) for own in runs])
    mean = curves.mean(axis=0)
    if len(curves) < 2:
        return steps, Estimates(mean, None, None)
    half = half_width(curves)
    return steps, Estimates(mean, mean - half, mean + half)


def half_width(values: np.ndarray) -> np.ndarray:
    """Of Student's 95 % interval of a mean over the first axis."""
    num = len(values)
    return stats.t.ppf(0.975, num - 1) * values.std(axis=0, ddof=1) / np.sqrt(num)


def curve(rows: Sequence[Mapping[str, float]], name: str, steps: np.ndarray) -> np.ndarray:
    """A metric at given environment steps, smoothed over the spacing of these."""
    points = [(row["env_steps"], row[name]) for row in rows if row.get(name) is not None]
    at, values = np.array(points, np.float64).T
    edges = np.concatenate([[0.0], steps])
    means = [
        values[(at > low) & (at <= high)].mean() if ((at > low) & (at <= high)).any() else np.nan
        for low, high in zip(edges, steps, strict=False)
    ]
    known = np.isfinite(means)
    return np.interp(steps, steps[known], np.array(means)[known])


if __name__ == "__main__":
    sys.exit(exit_status(main))
