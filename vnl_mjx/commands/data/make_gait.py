"""`vnl-mjx gait`: makes clips of walking, trotting, turning, standing and rearing."""

import argparse

from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.clips.file import ClipRow, write_clip_file
from vnl_mjx.clips.quality import ClipQuality, assess
from vnl_mjx.commands.console import Console, frame_progress, print_table
from vnl_mjx.commands.data.bodies import build_body
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.gait import GaitConfig, GaitMotion, configs_from, make_gait


def run(args: argparse.Namespace) -> int:
    """Makes the clips; returns the exit status."""
    output = args.output
    check_output(output, [], args.overwrite)
    configs = configs_from(args)
    console = Console()
    section = BodySection()
    walker = build_body(section)
    computer = FeatureComputer(walker)
    rate = args.rate
    metadata = {
        "options": {"walker_config": to_dict(section)},
        "gait": {name: to_dict(config) for name, config in configs.items()},
    }
    total = sum(round(config.seconds * rate) for config in configs.values())
    done, rows = 0, {}
    with (
        terminate_cleanly(),
        frame_progress(console) as progress,
        write_clip_file(output, walker, rate, metadata) as writer,
    ):
        for name, config in configs.items():
            progress("synthetic clips", done, total)
            motion = make_gait(walker, config)
            features = computer(motion.qpos, [len(motion.qpos)], rate)
            quality = assess(walker, features, rate)
            info = ClipInfo(
                source=output.name,
                start_s=done / rate,
                label=_label(config),
                made_by=motion.made_by,
            )
            writer.append(features, ClipRow(name, len(motion.qpos), info, quality.numbers()))
            rows[name] = _summary(motion, quality)
            done += len(motion.qpos)
        progress("synthetic clips", done, total)
    print_table(console, "Made motion (synthetic, no animal was recorded)", rows)
    console.print(f"{len(configs)} clips, {done} frames: {output}", soft_wrap=True)
    return 0


def _label(config: GaitConfig) -> str:
    """Returns the behaviour, for selection and for probes."""
    if config.profile:
        return f"{config.behaviour}_varied"
    if config.behaviour in ("stand", "rear") or not config.turn:
        return config.behaviour
    return f"{config.behaviour}_turn_{'left' if config.turn > 0 else 'right'}"


def _summary(motion: GaitMotion, quality: ClipQuality) -> str:
    below = max(quality.penetration_mm, quality.body_below_floor_mm)
    return (
        f"{motion.speed.mean():.2f} m/s, {motion.turn.mean():+.2f} rad/s, below the floor {below:.1f} mm, "
        f"joints at most {quality.joint_speed:.1f} rad/s"
    )
