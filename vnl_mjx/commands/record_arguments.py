"""Arguments of `record`."""

import argparse
from pathlib import Path

from vnl_mjx.commands import argument_types
from vnl_mjx.commands.data_arguments import add_overwrite

BUNDLED = "demo"


def record(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `record`."""
    from vnl_mjx.activity.file import GROUPS
    from vnl_mjx.activity.noise import SCHEMES

    add = parser.add_argument
    what = "teacher or student: run folder, checkpoint, demo or demo-student for the bundled ones"
    add("checkpoint", type=Path, metavar="CHECKPOINT", help=what)
    followed = f"clips of the sessions to follow; {BUNDLED} for the bundled ones"
    add("clips", type=Path, metavar="CLIPS", help=followed)
    add("output", type=Path, metavar="OUT.h5", help="record file to write")
    add(
        "--mjcf", metavar="FILE", help="the body's MJCF or body file, if it is not the recorded one"
    )
    loops = (
        "closed: physics moves the body; open: the body is set on the recording in every control "
        "step (default: closed)"
    )
    add("--loop", choices=("closed", "open"), default="closed", help=loops)
    spread = "also draw N latents in each state, for the action's spread and its slope (default: 0)"
    add("--samples", type=argument_types.count, default=0, metavar="N", help=spread)
    only = f"write these groups alone, of {', '.join(GROUPS)} (default: all)"
    add("--only", nargs="+", choices=GROUPS, default=GROUPS, metavar="GROUP", help=only)
    add("--float16", action="store_true", help="store 16 bits a number, but for qpos and qvel")
    add("--nwb", type=Path, metavar="FILE", help="also write NWB; needs the extra `nwb`")
    began = "date and time at which the recording's clock was 0, for NWB, like 2024-05-01T09:30:00"
    add("--session-start", type=argument_types.moment, metavar="TIME", help=began)
    perturb = parser.add_argument_group("perturbations").add_argument
    noise = "draw latents with the posterior's total variance, spread over dimensions in this way"
    perturb("--latent-noise", choices=SCHEMES, help=noise)
    gain = "multiply the noise's standard deviations (default: 1)"
    perturb("--gain", type=argument_types.not_negative, metavar="G", help=gain)
    ablate = (
        "hold a layer (encoder.hidden_0), a part of the observation (joint_angles) or frames of the "
        "reference (reference:1-3) at its mean; may be repeated"
    )
    perturb("--ablate", action="append", default=[], metavar="NAME", help=ablate)
    late = {"type": argument_types.count, "default": 0, "metavar": "K"}
    perturb("--delay-observation", **late, help="let the network see K control steps late")
    perturb("--delay-action", **late, help="let the body act K control steps late")
    run = parser.add_argument_group("how it runs").add_argument
    pieces = (
        "cut the sessions into N pieces that run side by side; 1: one after another (default: 64)"
    )
    run("--pieces", type=argument_types.at_least_one, default=64, metavar="N", help=pieces)
    warm = "run each piece from S seconds before its own rows (default: 1)"
    run("--warm-up", type=argument_types.not_negative, default=1.0, metavar="S", help=warm)
    settle = "mark rows as not valid for S seconds after a fall (default: 1)"
    run("--settle", type=argument_types.not_negative, default=1.0, metavar="S", help=settle)
    backend = "simulation: mujoco, mjx, warp or auto (default: mujoco)"
    run("--backend", default="mujoco", metavar="NAME", help=backend)
    run(
        "--seed",
        type=argument_types.count,
        default=0,
        metavar="N",
        help="of all noise (default: 0)",
    )
    add_overwrite(parser, "OUT.h5 and NWB file")
