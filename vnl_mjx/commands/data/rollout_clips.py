"""`vnl-mjx rollout`: reference clips made by rolling a teacher out."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from vnl_mjx.clips.container import FEATURES
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.file import POSES, ClipRow, write_clip_file
from vnl_mjx.clips.quality import assess
from vnl_mjx.commands.console import frame_progress, print_table, warn
from vnl_mjx.commands.data.bodies import body_section
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.stored import load_stored_teacher, name_of_teacher
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.demo import DEMO_CLIPS
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.rollout import EpisodeRunner
from vnl_mjx.evaluation.rollout_clips import RolledOutClip, cut_rollout
from vnl_mjx.tasks.policies import TeacherPolicy


def run(args: argparse.Namespace) -> int:
    """Makes the clips; returns the exit status."""
    source = args.clips.expanduser() if args.clips else DEMO_CLIPS
    check_output(args.output, [source], args.overwrite)
    prepare_jax()
    experiment = load_stored_teacher(args.checkpoint, args.clips, args.mjcf)
    console, clips = Console(), experiment.clips
    for message in experiment.teacher.warnings:
        warn(console, message)
    made_by, task = name_of_teacher(experiment, args.checkpoint), experiment.env.task
    with terminate_cleanly():
        with frame_progress(console, "control steps") as progress:
            runner = EpisodeRunner(task)
            rollout = runner.run(
                TeacherPolicy(experiment.teacher.policy),
                clips,
                runner.draw(clips, clips.num_clips, args.seed),
                args.seed,
                progress=partial(progress, "playing"),
            )
        made, left_out = cut_rollout(
            rollout,
            clips,
            made_by,
            settle_s=args.settle,
            seconds=args.seconds,
            min_frames=task.frames_needed,
        )
        if not made:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise UserError(f"{args.output}: not written, no clip is left ({reasons})")
        options = {"seconds": args.seconds, "settle": args.settle, "seed": args.seed}
        metadata = {
            "options": {"walker_config": to_dict(body_section(experiment.walker.config))},
            "rollout": {
                **options,
                "teacher": made_by,
                "teacher_sha256": experiment.teacher.sha256,
                "clips": Path(clips.source).name,
                "clips_sha256": clips.sha256,
                "left_out": left_out,
            },
        }
        walker, stored = experiment.walker, POSES if args.compact else FEATURES
        computer = FeatureComputer(walker)
        rate = clips.rate_hz
        with write_clip_file(args.output, walker, rate, metadata, features=stored) as writer:
            for clip in made:
                features = computer(clip.qpos, [len(clip.qpos)], rate)
                quality = assess(walker, features, rate, feet=computer.foot_heights).numbers()
                writer.append(features, ClipRow(clip.name, len(clip.qpos), clip.info, quality))
    _report(console, made, left_out, args, clips.rate_hz)
    return 0


def _report(
    console: Console,
    made: list[RolledOutClip],
    left_out: dict[str, str],
    args: argparse.Namespace,
    rate_hz: float,
) -> None:
    wanted = round(args.seconds * rate_hz)
    rows = {
        clip.name: f"{len(clip.qpos) / rate_hz:.2f} s"
        + ("" if len(clip.qpos) >= wanted else ", to the end of what it follows")
        for clip in made
    }
    print_table(console, "Simulated motion (a policy acted, no animal)", rows)
    for name, reason in left_out.items():
        warn(console, f"{name}: left out, {reason}")
    frames = int(np.sum([len(clip.qpos) for clip in made]))
    size = args.output.stat().st_size / 1e6
    console.print(
        f"{len(made)} of {len(made) + len(left_out)} clips, {frames} frames, {size:.1f} MB: "
        f"{args.output}",
        soft_wrap=True,
    )
