"""`vnl-mjx eval-teacher`: measures how well a teacher tracks reference clips."""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from rich import box
from rich.table import Table

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.stored import choose_clips, load_stored_teacher, name_of_teacher
from vnl_mjx.commands.train.experiment import build_pose_guide
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.metrics import metric
from vnl_mjx.evaluation.protocol import DETERMINISTIC, SAMPLED, PolicyEvaluator, evaluated_teacher
from vnl_mjx.evaluation.rollout import EpisodeRunner, Rollout
from vnl_mjx.evaluation.teacher_evaluation import evaluate_tracking, judge
from vnl_mjx.files import check_writable, file_name, write_json
from vnl_mjx.report.rendering.episode_panes import reference_qpos
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.side_by_side import one_motion, render_side_by_side
from vnl_mjx.tasks.guides import Guide
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import GivenAction
from vnl_mjx.walkers.walker import Walker

# Heading and format of each metric's column.
_COLUMNS = {
    "survival": ("alive", "{:.0%}"),
    "reward_fraction": ("reward", "{:.3f}"),
    "root_error_mm": ("mm", "{:.1f}"),
    "root_error_max_mm": ("max", "{:.1f}"),
    "root_angle_deg": ("deg", "{:.1f}"),
    "joint_error_rad": ("rad", "{:.3f}"),
    "end_effector_error_share": ("ends", "{:.1%}"),
    "speed_ratio": ("speed", "{:.0%}"),
    "foot_slip_mm_per_s": ("slip", "{:.0f}"),
}
_LEGEND = "; ".join(f"{head}: {metric(name).heading}" for name, (head, _) in _COLUMNS.items())
_LEGEND += ". All episodes have equal weight."


def run(args: argparse.Namespace) -> int:
    """Measures the teacher and returns the exit status."""
    if args.video is not None:
        _check_video(args.video)
    prepare_jax()
    experiment = load_stored_teacher(
        args.checkpoint, args.clips, args.mjcf, nominal_body=not args.randomized
    )
    clips, teacher = choose_clips(experiment.clips, args.which), experiment.teacher
    console = Console()
    for message in teacher.warnings:
        warn(console, message)
    name = name_of_teacher(experiment, args.checkpoint)
    console.print(f"{name} on {clips.num_clips} clips of {clips.source}", soft_wrap=True)
    task = experiment.env.task
    with terminate_cleanly(), frame_progress(console, "control steps") as progress:
        rollout = PolicyEvaluator().run_one(
            evaluated_teacher(task, teacher.policy, "teacher"),
            clips,
            clips.num_clips + args.episodes,
            SAMPLED if args.sampled else DETERMINISTIC,
            args.seed,
            lambda _, done, total: progress("playing", done, total),
        )
    summary = evaluate_tracking(rollout, clips, task.walker, task.config.reward)
    if args.baselines:
        summary["baselines"] = _baselines(task, clips, args)
    judged = judge(summary, task.walker)
    console.print(_table(summary))
    print_table(console, "Targets", {row["target"]: _verdict(row) for row in judged})
    if args.json is not None:
        document = {"teacher": name, "sha256": teacher.sha256, "clips_sha256": clips.sha256}
        options = {"sampled": args.sampled, "randomized": args.randomized, "seed": args.seed}
        document |= options | {"targets": judged}
        try:
            write_json(args.json, document | summary)
        except OSError as error:
            raise UserError(f"--json: cannot write {args.json} ({error.strerror})") from error
    if args.video is not None:
        _draw_videos(experiment.walker, rollout, clips, args.video)
    return 0


def _baselines(
    task: ImitationTask, clips: ReferenceClips, args: argparse.Namespace
) -> dict[str, Any]:
    """Returns means over episodes of trivial policies, from the same starts."""
    guides: dict[str, Guide] = {"no action": lambda state, clips: jnp.zeros(task.action_size)}
    try:
        guides["pose control"] = build_pose_guide(task, PhysicsSection("mujoco"))
    except UserError as error:  # muscles and the like hold no pose
        warn(Console(), f"left out: pose control ({error})")
    found = {}
    with terminate_cleanly(), frame_progress(Console(), "control steps") as progress:
        for name, guide in guides.items():
            runner = EpisodeRunner(task, guide=guide)
            episodes = runner.draw(clips, clips.num_clips + args.episodes, args.seed)
            shown = partial(progress, name)
            rollout = runner.run(GivenAction(), clips, episodes, args.seed, progress=shown)
            found[name] = evaluate_tracking(rollout, clips, task.walker, task.config.reward)["all"]
    return found


def _table(summary: Mapping[str, Any]) -> Table:
    table = Table(
        box=box.SIMPLE,
        pad_edge=False,
        caption=_LEGEND,
        caption_justify="left",
    )
    table.add_column("clip", overflow="fold")
    for label, _ in _COLUMNS.values():
        table.add_column(label, justify="right", no_wrap=True)
    rows = {**summary["clips"], "all": summary["all"], **summary.get("baselines", {})}
    for name, figures in rows.items():
        if name == "all":
            table.add_section()
        shown = ((figures[key], text) for key, (_, text) in _COLUMNS.items())
        table.add_row(name, *("" if value is None else text.format(value) for value, text in shown))
    return table


def _verdict(row: Mapping[str, Any]) -> str:
    if row["met"] is None:
        return "nothing to judge: no clip moves"
    return f"{'met' if row['met'] else 'NOT met'}: {row['found']}"


def _check_video(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--video: expected a folder, found the file {folder}")
    choose_backend()  # fails before the episodes run if rendering does not work
    check_writable(folder, "--video")


def _draw_videos(walker: Walker, rollout: Rollout, clips: ReferenceClips, folder: Path) -> None:
    """Draws a video of each clip's first episode; the translucent body is the reference."""
    console = Console()
    folder.mkdir(parents=True, exist_ok=True)
    with terminate_cleanly(), frame_progress(console) as progress:
        for clip, name in enumerate(clips.names):
            qpos = rollout.qpos_of(clip)  # the first episodes are those of the clips in order
            output = folder / f"{file_name(name)}.mp4"
            motion = one_motion(
                qpos,
                rollout.control_hz,
                ghost_qpos=reference_qpos(clips, clip, 0, rollout.control_hz, len(qpos)),
                title=name,
                note="translucent is the reference",
            )
            render_side_by_side(
                walker,
                motion,
                output,
                sheet=output.with_suffix(".png"),
                progress=partial(progress, name),
            )
    console.print(f"videos and pictures: {folder}", soft_wrap=True)
