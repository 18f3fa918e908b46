"""`vnl-mjx view`: a clip, or a policy, as a video, as a sheet of pictures, or in the browser."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.data.bodies import body_of_file
from vnl_mjx.commands.view.view_options import check_options, clip_of_name, draw, output_path
from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering import browser
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.side_by_side import SideBySide, one_motion
from vnl_mjx.walkers.walker import Walker


def run(options: Namespace) -> int:
    """Shows clips of a file, or a policy, and returns the exit status."""
    path = options.path and options.path.expanduser()
    check_options(options, is_policy=path is None or path.is_dir())
    if options.browser:
        browser.check_installed()
    else:
        choose_backend()  # what cannot be drawn need not be read
    if path is None or path.is_dir():
        from vnl_mjx.commands.view import view_policy

        return view_policy.run(path, options)
    walker = body_of_file(path, options.mjcf, options.scale, options.root_body)
    motions = list(read_parts(path, walker, options))
    if options.browser:
        (motion,) = motions
        return browser.serve(
            walker,
            motion.panes[0].qpos,
            motion.rate_hz,
            title=motion.title,
            note=motion.note,
            port=options.port,
        )
    if options.all_clips and options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    for motion in motions:
        draw(walker, motion, output_path(path, motion.title, options), options, motion.title)
    return 0


def read_parts(path: Path, walker: Walker, options: Namespace) -> Iterator[SideBySide]:
    """The clip that was asked for, or every clip."""
    number = int(options.clip) if options.clip.isascii() and options.clip.isdigit() else None
    one = None if options.all_clips or number is None else [number]
    clips = read_clips(path, walker, clips=one)
    if options.all_clips:
        chosen = range(clips.num_clips)
    else:
        chosen = [0 if number is not None else clip_of_name(clips, options.clip)]
    qpos = np.asarray(clips.qpos(), np.float64)
    for clip in chosen:
        first, length = int(clips.starts[clip]), int(clips.lengths[clip])
        start, stop = _part(options, length, clips.rate_hz, clips.names[clip])
        yield one_motion(
            qpos[first + start : first + stop],
            clips.rate_hz,
            views=options.views,
            size=options.size,
            fps=options.fps,
            speed=options.speed,
            title=clips.names[clip],
            note=_note(clips, clip),
            first_time=start / clips.rate_hz,
        )


def _part(options: Namespace, length: int, rate_hz: float, name: str) -> tuple[int, int]:
    start = round(options.start * rate_hz)
    if start >= length:
        raise UserError(
            f"--start: expected less than the {length / rate_hz:.2f} s of clip {name!r}, found "
            f"{options.start:g}"
        )
    if options.seconds is None:
        return start, length
    return start, min(length, start + max(1, round(options.seconds * rate_hz)))


def _note(clips: ReferenceClips, clip: int) -> str:
    info = clips.info[clip] if clips.info else None
    marks = {"synthetic motion": info and info.made_by, "mirrored": info and info.mirrored}
    return ", ".join(text for text, holds in marks.items() if holds)
