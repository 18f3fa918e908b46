"""`vnl-mjx body`: reads an MJCF, proposes the body's YAML file, draws the body and tries it in physics."""

import argparse
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vnl_mjx.clips.conditioning.root_from_feet import FEWEST_FEET, RootFromFeet
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.clips.plausibility import check_conventions
from vnl_mjx.clips.recording import ROOT_COLUMNS, match_joints, reorder
from vnl_mjx.clips.sources import SourceOptions, open_recording
from vnl_mjx.commands.console import Console, print_table, warn
from vnl_mjx.config.conversion import from_dict
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.config.loading import as_overrides
from vnl_mjx.config.preprocessing import SourceSection
from vnl_mjx.config.walker import PACKAGE_PREFIX, body_of_keys, is_body_file, package_path
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.body_trial import Trial, hindrances, try_body
from vnl_mjx.files import replacing
from vnl_mjx.report.pictures.skeleton import skeleton
from vnl_mjx.walkers.proposal import Proposal, propose
from vnl_mjx.walkers.walker import Walker, build_walker

_MOST_FRAMES = 5000  # of a motion
_HEADER = """\
# A body for vnl-mjx, proposed by `vnl-mjx body` from its MJCF. Keys: docs/bodies.md.
# Lengths are in the unit of the MJCF; `task` holds settings for train-teacher, scaled to this body.
"""


def run(args: argparse.Namespace, reading: SourceSection) -> int:
    """Writes OUT and its picture, prints what was found, and returns the exit status.

    `reading` says how to read the motion.
    """
    source = package_path(args.mjcf)
    if is_body_file(source):
        raise UserError(
            f"{args.mjcf}: expected an MJCF file, found a body's YAML file; give its source"
        )
    if not Path(source).is_file():
        raise UserError(f"{args.mjcf}: expected an MJCF file, found none; check the path")
    output = args.output or Path(Path(source).stem + ".yaml")
    if not is_body_file(output.name):
        raise UserError(f"{output}: expected the name of a .yaml file to write")
    if output.exists() and not args.overwrite:
        raise UserError(f"{output}: is there already; give another name, or --overwrite")
    console = Console()
    root, keeps = args.root, args.actuators == "own"
    rate = 0.0
    motion: np.ndarray | None = None
    lacks_root = False
    if args.motion is not None and root is None:
        root = _root_of(args.motion, len(propose(source).keys["joint_names"]), reading)
    place = _relative(args.mjcf, output)
    proposal = propose(source, root or "as_in_file", keep_actuators=keeps)
    walker = _build(place, proposal, output)
    if args.motion is not None:
        motion, rate, lacks_root = _read_motion(args.motion, walker, reading)
        proposal = propose(source, root or "as_in_file", motion, rate, keeps)
        walker = _build(place, proposal, output)
        lacks_root &= len(walker.feet) >= FEWEST_FEET
        if lacks_root:
            motion = RootFromFeet(walker, rate)(motion)
    config = from_dict(ImitationConfig, proposal.keys["task"], "task.")
    trial = try_body(walker, config, proposal.length, motion, rate)
    if trial.substeps is not None:
        proposal.keys["task"]["physics"] |= {
            "timestep": trial.control_s / trial.substeps,
            "num_substeps": trial.substeps,
        }
    _write(output, place, proposal)
    picture = output.with_suffix(".png")
    pose = walker.model.qpos0 if motion is None else motion[len(motion) // 2]
    with replacing(picture) as partial:
        partial.write_bytes(skeleton(walker, pose).png)
    print_table(console, output.stem, dict(proposal.found))
    print_table(console, "Tried in physics", _trial_rows(trial))
    for check in [*proposal.checks, *hindrances(trial)]:
        warn(console, check)
    console.print(f"body: {output}, {picture.name}", soft_wrap=True)
    clips = "CLIPS.h5"
    settings = as_overrides(reading, SourceSection())
    more = "".join(f" source_config.{shlex.quote(text)}" for text in settings)
    more += " conditioning_config.root=from_feet" if lacks_root else ""
    recording = shlex.quote(str(args.motion)) if args.motion else "RECORDING"
    body = shlex.quote(str(output))
    console.print(
        f"next: vnl-mjx preprocess {recording} {clips} walker_config.mjcf_path={body}{more}\n"
        f"      vnl-mjx train-teacher {clips}{'' if trial.has_servos else ' ppo.guidance=0'}",
        soft_wrap=True,
    )
    return 0


def _relative(source: str, output: Path) -> str:
    """Returns the MJCF's path relative to the body's file; one in a package as it is."""
    if source.startswith(PACKAGE_PREFIX):
        return source
    return Path(os.path.relpath(Path(source).resolve(), output.resolve().parent)).as_posix()


def _build(place: str, proposal: Proposal, output: Path) -> Walker:
    return build_walker(body_of_keys({"source": place, **proposal.keys}, output))


def _write(output: Path, place: str, proposal: Proposal) -> None:
    text = yaml.safe_dump(
        {"source": place, **proposal.keys}, sort_keys=False, default_flow_style=None, width=100
    )
    with replacing(output) as partial:
        partial.write_text(_HEADER + text, encoding="utf-8")


def _root_of(path: Path, joints: int, reading: SourceSection) -> str | None:
    """Returns whether a motion of so many joints has a root: "free" or "fixed"; None if it does not tell."""
    with open_recording(path, SourceOptions(**asdict(reading))) as recording:
        if recording.joint_names is not None and recording.has_root is not None:
            return "free" if recording.has_root else "fixed"
        columns = recording.qpos.shape[1]
    return {joints: "fixed", joints + ROOT_COLUMNS: "free"}.get(columns)


def _read_motion(
    path: Path, walker: Walker, reading: SourceSection
) -> tuple[np.ndarray, float, bool]:
    """Returns poses [frame, nq] of a recording's first take, its rate in Hz, whether the root is missing."""
    options = SourceOptions(**asdict(reading), has_root=walker.root is not None)
    with open_recording(path, options) as recording:
        order, _ = match_joints(recording, walker, reading.missing_joints)
        check_conventions(recording, walker, order, Kinematics(walker.model, num_threads=1))
        rate = recording.rate_hz or recording.usual_rate_hz
        if rate is None:
            raise UserError(
                f"{path}: {recording.layout} without a frame rate; give it (source_config.rate_hz=HZ)"
            )
        frames = min(int(recording.take_lengths[0]), _MOST_FRAMES)
        qpos = np.array(recording.qpos[:frames], np.float64)
        lacks_root = walker.root is not None and not recording.has_root
    reorder(qpos, walker.layout.joint_qpos, order)
    return qpos[np.isfinite(qpos).all(axis=1)], rate, lacks_root


def _trial_rows(trial: Trial) -> dict[str, str]:
    if trial.substeps is None:
        return {"time step": "none is stable"}
    step = trial.control_s / trial.substeps
    rows: dict[str, Any] = {
        "time step": f"{step:g} s, {trial.substeps} in a control step of {trial.control_s:g} s",
        "pose held": trial.held_rad is not None and f"to {trial.held_rad:.2g} rad",
        "motion beyond ranges": trial.limits_rad
        and f"{trial.limits_rad:.2g} rad at most ({trial.limits_joint})",
        "motion below the floor": trial.below_floor and f"{trial.below_floor:.2g} at most",
        "pose control": trial.followed_rad
        and f"{trial.followed_rad:.2g} rad from the motion; root {trial.drift:.2g} body lengths in "
        f"{trial.part_s:.2g} s",
        "servos at their limit": trial.saturated is not None
        and f"in {trial.saturated:.0%} of the steps ({trial.saturated_servo})",
    }
    return {name: text for name, text in rows.items() if text}
