"""`vnl-mjx eval-task`: measures how well a policy does its task, beside two baselines."""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from rich.table import Table

from vnl_mjx.commands.console import Console, frame_progress, warn
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.stored import find_stored, load_stored_task
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.motion_statistics import ClipMotions
from vnl_mjx.evaluation.task_evaluation import (
    ConstantAction,
    TaskEpisodes,
    TaskPlayer,
    evaluate_task,
)
from vnl_mjx.files import check_writable, write_json
from vnl_mjx.report.pictures.task import measures_over_time
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.side_by_side import render_side_by_side
from vnl_mjx.report.rendering.task_motion import task_motion
from vnl_mjx.tasks.downstream.task import DownstreamTask

_VIDEO_S = 10.0
_BASELINES = {
    "prior_mean": "prior's mean",
    "zero_control": "no control",
}


def run(args: argparse.Namespace) -> int:
    """Runs the episodes, prints metrics and draws pictures; returns the exit status."""
    kind, path = find_stored(args.checkpoint)
    if kind != "task":
        raise UserError(
            f"{args.checkpoint}: expected the run of a task (vnl-mjx train-task), found a {kind}"
        )
    prepare_jax()
    given = load_stored_task(path, args.clips, args.mjcf, args.seconds)
    stored, goal = given.stored, given.task.goal
    folder = args.output or stored.run_dir / "report"
    check_writable(folder, "--output")
    console, student = Console(), given.data.low_level.student
    players = {"policy": (given.task, given.data, given.policy)}
    if student.networks.is_gaussian:
        below = stored.below(goal, "prior_decoder", "sigma_ball", args.seconds)
        players["prior_mean"] = (*below, ConstantAction(jnp.zeros(student.latent_dim)))
    below = stored.below(goal, "scratch", "none", args.seconds)
    players["zero_control"] = (*below, ConstantAction(jnp.zeros(stored.task.action_size)))
    clips, found, shown = ClipMotions(stored.task.walker, stored.clips), {}, {}
    with terminate_cleanly(), frame_progress(console, "control steps") as progress:
        for name, (task, data, policy) in players.items():
            told = partial(progress, name.replace("_", " "))
            shown[name] = TaskPlayer(task).play(policy, data, args.episodes, args.seed, told)
            found[name] = evaluate_task(shown[name], task, data, clips)
    document = {"goal": goal.name, "env_steps": stored.loaded.env_steps, "policies": found}
    write_json(folder / "metrics.json", document)
    print_task(console, found)
    draw_task(shown["policy"], given.task, folder, console, not args.no_video)
    console.print(f"metrics and pictures: {folder}", soft_wrap=True, highlight=False)
    return 0


def print_task(console: Console, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints measures with their intervals, one column for each policy."""
    first = next(iter(found.values()))
    title = f"{first['num_episodes']} episodes of {first['seconds']:g} s, means and 95 % intervals"
    table = Table("", title=title, title_justify="left")
    for name in found:
        table.add_column(_BASELINES.get(name, name), justify="right")
    for name in first["measures"]:
        cells = [_cell(own["measures"].get(name)) for own in found.values()]
        table.add_row(name.replace("_", " "), *cells)
    table.add_row("without a fall", *[_cell(own["no_fall"], "{:.0%}") for own in found.values()])
    table.add_row("reward per step", *[_cell(own["reward"]) for own in found.values()])
    if any("latent" in own for own in found.values()):
        for name, words in {
            "distance_median": "latent off the prior's mean, sd",
            "distance_95": "  95 % of the steps below",
            "beyond": "  steps beyond 95 % of the prior",
            "variance_ratio": "  variance over the prior's",
        }.items():
            cells = [
                f"{own['latent'][name]:.3g}" if "latent" in own else "" for own in found.values()
            ]
            table.add_row(words, *cells)
    if any(own.get("motion") for own in found.values()):
        cells = [_farthest(own) for own in found.values()]
        table.add_row("farthest motion feature", *cells)
    console.print(table)


def _cell(value: Mapping[str, float | None] | None, form: str = "{:.3g}") -> str:
    if value is None or value["mean"] is None:
        return ""
    low, high = value["low"], value["high"]
    span = "" if low is None or high is None else f" [{form.format(low)}, {form.format(high)}]"
    return form.format(value["mean"]) + span


def _farthest(found: Mapping[str, Any]) -> str:
    worst = found["motion"].get("farthest")
    return f"{worst['mean']:.3g} ({worst['feature'].replace('_', ' ')})" if worst else ""


def draw_task(
    played: TaskEpisodes, task: DownstreamTask, folder: Path, console: Console, video: bool
) -> None:
    """Draws the measures over time, and a video of the first episode if rendering works."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = measures_over_time(played.measures, played.alive, played.control_hz)
    (folder / "measures.png").write_bytes(picture.png)
    if not video:
        return
    try:
        choose_backend()
        motion = task_motion(played, task, _VIDEO_S)
        with terminate_cleanly(), frame_progress(console) as progress:
            output = folder / "episode.mp4"
            render_side_by_side(task.walker, motion, output, progress=partial(progress, "drawing"))
    except UserError as error:
        warn(console, f"no video: {error}")
