"""`vnl-mjx plan`: makes physically feasible clips by sampling controls that follow given clips."""

import argparse
from dataclasses import replace
from pathlib import Path

from vnl_mjx.clips.container import check_clips_cover
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.console import Console, frame_progress
from vnl_mjx.commands.data.bodies import body_of_clips, body_of_file
from vnl_mjx.commands.data.rollout_clips import (
    check_made,
    report_simulated,
    simulated_clip,
    trimmed,
    write_simulated,
)
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.loading import load_teacher_config
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.tasks.planner import Planner, PlannerOptions
from vnl_mjx.walkers.walker import build_walker


def run(args: argparse.Namespace) -> int:
    """Makes the clips; returns the exit status."""
    source: Path = args.clips.expanduser()
    check_output(args.output, [source], args.overwrite)
    console = Console()
    config = load_teacher_config(
        paths=[str(source)], body_of=lambda clips: args.mjcf or body_of_clips(clips)
    )
    body = replace(body_of_file(source, args.mjcf).config, torque_actuators=False)
    walker = build_walker(body)
    clips = read_clips(source, walker)
    check_clips_cover(clips, 2)
    searching = PlannerOptions(
        num_samples=args.samples,
        window=args.window,
        spread=args.spread,
        memory=args.memory,
        pose_gain=args.pose_gain,
    )
    planner = Planner(walker, replace(config.task, walker=body), searching)
    made, left_out, done = [], {}, 0
    with terminate_cleanly():
        with frame_progress(console, "frames") as progress:
            for clip, name in enumerate(clips.names):
                plan = planner.plan(clips, clip, args.seed)
                for attempt in range(1, args.attempts):
                    if not plan.fell:
                        break
                    plan = planner.plan(clips, clip, args.seed + attempt)
                done += int(clips.lengths[clip])
                progress(name, done, clips.num_frames)
                first, qpos = trimmed(plan.qpos, clips.rate_hz, args.settle, args.seconds)
                if plan.fell or len(qpos) < 2:
                    left_out[name] = "it fell" if plan.fell else "too short"
                else:
                    made.append(simulated_clip(clips, clip, qpos, first, f"planned along {name}"))
        check_made(args.output, made, left_out)
        names = ("samples", "window", "spread", "memory", "pose_gain", "attempts", "seed")
        names += ("seconds", "settle")
        options = {name: getattr(args, name) for name in names}
        metadata = {
            "options": {"walker_config": to_dict(BodySection.of(body))},
            "plan": {
                **options,
                "clips": source.name,
                "clips_sha256": clips.sha256,
                "left_out": left_out,
            },
        }
        write_simulated(args.output, walker, clips.rate_hz, made, metadata, args.compact)
    title = "Simulated motion (controls were searched for, no animal)"
    report_simulated(console, title, made, left_out, args, clips.rate_hz)
    return 0
