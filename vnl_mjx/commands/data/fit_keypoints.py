"""`vnl-mjx fit`: fits a body to key points; writes poses for `preprocess`, a report and pictures."""

import argparse
import contextlib
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.clips.conditioning.tail import tail_chain
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.commands.data.bodies import build_body
from vnl_mjx.commands.output import check_output, terminate_cleanly
from vnl_mjx.config.preprocessing import BodySection
from vnl_mjx.config.walker import RODENT_SOURCE
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.files import replacing, write_json
from vnl_mjx.gait.posture import UNMEASURED_POSTURE
from vnl_mjx.keypoints.fit import Fit, FitOptions, fit_key_points
from vnl_mjx.keypoints.marked_body import markers_length
from vnl_mjx.keypoints.quality import fit_report
from vnl_mjx.keypoints.sources import KeyPointOptions, open_key_points
from vnl_mjx.keypoints.writing import write_fit
from vnl_mjx.report.pictures.key_points import fit_picture
from vnl_mjx.report.rendering.fit_motion import fit_motion
from vnl_mjx.report.rendering.side_by_side import render_side_by_side

_WORST = 4  # markers named in the table
_ODD_SIZE = 2.5  # factor between animal and body that is worth a warning
_VIDEO_S = 20.0


def run(args: argparse.Namespace) -> int:
    """Fits the body and writes OUT, its report and its pictures; returns the exit status."""
    check_output(args.output, [args.keypoints], args.overwrite)
    if args.clips is not None:
        check_output(args.clips, [args.keypoints, args.output], args.overwrite)
    walker = build_body(BodySection(mjcf_path=args.mjcf))
    reading = KeyPointOptions(
        rate_hz=args.rate,
        length_unit=args.length_unit,
        up_axis=args.up_axis,
        points=args.points,
        animal=args.animal,
        min_confidence=args.min_confidence,
        body_length_m=markers_length(walker),
    )
    points = open_key_points(args.keypoints, reading)
    options = FitOptions(
        smooth_s=args.smooth,
        fit_offsets=not args.keep_offsets,
        fit_scale=not args.keep_scale,
        fix_swaps=not args.keep_swaps,
    )
    console = Console()
    with terminate_cleanly(), frame_progress(console) as progress:
        try:
            fit = fit_key_points(walker, points, options, progress)
        except np.linalg.LinAlgError as error:
            raise UserError(
                f"{points.source}: no pose fits its key points ({first_line(error)}); check their order, "
                "names and unit (--points, --length-unit), and that they are of this body"
            ) from error
    report = {"source": points.source, "notes": list(points.notes), **fit_report(fit)}
    unused = [name for name in points.names if name not in fit.body.names]
    report["unused_points"] = unused
    write_fit(args.output, fit)
    account, picture = (args.output.with_suffix(end) for end in (".fit.json", ".fit.png"))
    write_json(account, report)
    with replacing(picture) as unfinished:
        unfinished.write_bytes(fit_picture(fit).png)
    print_table(console, points.source, _rows(fit, report))
    if not 1.0 / _ODD_SIZE < fit.calibration.scale < _ODD_SIZE:
        size = f"{fit.calibration.scale:.3g} times the body's size"
        warn(console, f"the animal is {size}; check the unit (--length-unit) and the body (--mjcf)")
    if fit.bad.any():
        warn(console, f"{fit.bad.sum()} frames fit badly; {account.name} lists them")
    console.print(f"poses: {args.output}, {account.name}, {picture.name}", soft_wrap=True)
    video = args.output.with_suffix(".fit.mp4")
    if args.overwrite:
        video.unlink(missing_ok=True)  # of another fit
    if args.video:
        _draw(fit, video, args.keypoints.name, console)
    settings = _settings(fit, args.mjcf)
    if args.clips is None:
        words = shlex.join([str(args.output), "CLIPS.h5", *settings])
        console.print(f"next: vnl-mjx preprocess {words}", soft_wrap=True)
        return 0
    return _preprocess(args.output, args.clips, settings, args.overwrite)


def _draw(fit: Fit, video: Path, title: str, console: Console) -> None:
    """Draws a video of the first seconds, if rendering works."""
    motion = fit_motion(fit, title, _VIDEO_S)
    try:
        with terminate_cleanly(), frame_progress(console) as progress:
            shown = partial(progress, "drawing")
            drawn = render_side_by_side(fit.body.walker, motion, video, progress=shown)
    except UserError as error:
        return warn(console, f"no video: {error}")
    seconds = len(fit.qpos) / fit.rate_hz
    cut = f", the first {_VIDEO_S:g} s of {seconds:.1f} s" if seconds > _VIDEO_S else ""
    console.print(f"video: {drawn.path}{cut}", soft_wrap=True)


def _rows(fit: Fit, report: dict[str, Any]) -> dict[str, str]:
    frames, markers = report["frames"], report["markers"]
    measured = {name: own["rms_mm"] for name, own in markers.items() if own["rms_mm"] is not None}
    worst = sorted(measured, key=measured.__getitem__, reverse=True)[:_WORST]
    moved = max(markers, key=lambda name: markers[name]["moved_mm"])
    limits = sorted(report["at_limit"], key=report["at_limit"].__getitem__, reverse=True)[:_WORST]
    still, swaps = report["at_rest"], report["swapped_frames"]["count"]
    back = "exchanged back" if fit.exchanged else "left as they are (--keep-swaps)"
    return {
        "frames": f"{frames} at {fit.rate_hz:g} Hz ({frames / fit.rate_hz:.1f} s)",
        "marker error": f"{report['rms_mm']:.2f} mm rms; worst "
        + ", ".join(f"{name} {measured[name]:.1f}" for name in worst),
        "size of the animal": f"{report['scale']:.3f} of the body's "
        f"(standard deviation {report['scale_sd']:.3f}); lengths in OUT are divided by it"
        if report["scale_sd"]
        else "not fitted",
        "marker places": f"moved by up to {markers[moved]['moved_mm']:.1f} mm ({moved})",
        "joints at a limit": ", ".join(f"{n} {report['at_limit'][n]:.0%}" for n in limits)
        or "none",
        "left and right": f"exchanged in {swaps} frames, {back}" if swaps else "never exchanged",
        "without a pose": f"{report['missing_frames']['count']} frames with too few points",
        "fitting badly": f"{report['bad_frames']['count']} frames",
        "at rest": f"{len(still)} joints that move no marker: {', '.join(still[:_WORST])}"
        if still
        else "no joint",
        "not used": ", ".join(report["unused_points"]) or "every point is a marker of the body",
        "notes": "; ".join(report["notes"]) or "none",
    }


def _settings(fit: Fit, mjcf: str | None) -> list[str]:
    """Returns the settings of `preprocess` for the fit; parts without markers are held as a rat does."""
    walker, still = fit.body.walker, set(fit.body.still())
    settings = [f"walker_config.mjcf_path={mjcf}"] if mjcf else []
    with contextlib.suppress(UserError):  # a body without a tail
        names = {walker.joint_names[column] for column in tail_chain(walker).columns}
        settings += ["conditioning_config.tail=carried"] * (names <= still)
    if walker.config.source == RODENT_SOURCE:
        settings += [
            f"conditioning_config.joint_angles.{name}={angle:g}"
            for name, angle in UNMEASURED_POSTURE.items()
            if name in still
        ]
    return settings


def _preprocess(poses: Path, clips: Path, settings: list[str], overwrite: bool) -> int:
    from vnl_mjx.commands.data import preprocess
    from vnl_mjx.config.loading import load_preprocess_config

    settings = settings + ["output_config.overwrite=true"] * overwrite
    return preprocess.run(load_preprocess_config(settings), [poses], clips)
