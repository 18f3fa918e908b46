"""`vnl-mjx view` of a clip file: shows a video, a sheet of pictures, or a page in the browser."""

import math
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.console import Console, frame_progress
from vnl_mjx.commands.data.bodies import body_of_file
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.errors import UserError, nearest
from vnl_mjx.files import file_name
from vnl_mjx.report.rendering import browser
from vnl_mjx.report.rendering.cameras import VIEWS
from vnl_mjx.report.rendering.encoding import ENCODINGS
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.report.rendering.side_by_side import SideBySide, one_motion, render_side_by_side
from vnl_mjx.walkers.walker import Walker

_MIN_PIXELS, _MAX_PIXELS = 64, 4096


def run(options: Namespace) -> int:
    """Shows clips and returns the exit status."""
    check_options(options, is_policy=False)
    path = options.path.expanduser()
    walker = body_of_file(path, options.mjcf, options.scale, options.root_body)
    motions = list(read_parts(path, walker, options))
    if options.browser:
        (motion,) = motions
        scene, qpos = build_scene(walker), motion.panes[0].qpos
        page = scene, qpos, motion.rate_hz, motion.title, motion.note
        return browser.serve_page(
            lambda server: browser.MotionPage(server, *page).advance, motion.title, options.port
        )
    if options.all_clips and options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    for motion in motions:
        draw(walker, motion, output_path(path, motion.title, options), options, motion.title)
    return 0


def read_parts(path: Path, walker: Walker, options: Namespace) -> Iterator[SideBySide]:
    """Yields the requested clip, or every clip."""
    by_number = options.clip.isascii() and options.clip.isdigit() and not options.all_clips
    clips = read_clips(path, walker, clips=[int(options.clip)] if by_number else None)
    if options.all_clips or by_number:
        chosen = range(clips.num_clips)
    else:
        chosen = [clip_of(clips, options.clip)]
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


def check_options(options: Namespace, is_policy: bool) -> None:
    """Raises UserError for the first option that cannot be met, or if nothing can render."""
    _check_views(options)
    _check_kind(options, is_policy)
    if not (math.isfinite(options.start) and options.start >= 0):
        raise UserError(f"--start: expected seconds from 0 on, found {options.start}")
    for name, given, suffixes in (
        ("--output", None if options.all_clips else options.output, tuple(ENCODINGS)),
        ("--contact-sheet", options.sheet, (".png",)),
    ):
        if given is not None and given.suffix.lower() not in suffixes:
            known = " or ".join(suffixes)
            raise UserError(f"{name}: expected a file name that ends in {known}, found {given}")
        if given is not None and not given.parent.is_dir():
            raise UserError(f"{name}: there is no folder {str(given.parent)!r}; make it first")
    if options.all_clips and (options.browser or options.sheet is not None):
        raise UserError("--all: goes neither with --browser nor with --contact-sheet; give --clip")
    if options.all_clips and options.output is not None and options.output.is_file():
        raise UserError(f"--output: with --all expected a folder, found the file {options.output}")
    if options.browser:
        browser.check_installed()
    else:
        choose_backend()  # fails before reading if rendering does not work


def _check_kind(options: Namespace, is_policy: bool) -> None:
    """Refuses options of policies for clip files, and the reverse."""
    if is_policy:
        given = {"all": options.all_clips, "scale": options.scale, "root-body": options.root_body}
        found, expected = "a policy", "a clip file"
    else:
        given = {"clips": options.clips, "who": options.who, "ghost": options.ghost}
        found, expected = "a clip file", "a run folder or a checkpoint"
    for name, value in given.items():
        if value:
            raise UserError(f"--{name}: goes with {expected}, found {found}; leave it out")


def _check_views(options: Namespace) -> None:
    unknown = [view for view in options.views if view not in VIEWS]
    if unknown or not options.views:
        found = unknown[0] if unknown else ""
        raise UserError(f"--views: expected some of {', '.join(VIEWS)}, found {found!r}")
    width, height = options.size
    if any(p % 2 or not _MIN_PIXELS <= p <= _MAX_PIXELS for p in options.size):
        raise UserError(
            f"--size: expected even numbers of pixels from {_MIN_PIXELS} to {_MAX_PIXELS}, found "
            f"{width}x{height}"
        )


def draw(walker: Walker, motion: SideBySide, output: Path, options: Namespace, label: str) -> None:
    """Draws a video and prints its path; `label` names the progress bar."""
    console = Console()
    with terminate_cleanly(), frame_progress(console) as progress:
        video = render_side_by_side(
            walker,
            motion,
            output,
            sheet=options.sheet,
            progress=partial(progress, label),
        )
    console.print(
        f"{video.path}: {video.seconds:.2f} s at {video.fps:g} frames/s, drawn with {video.backend}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def output_path(path: Path, title: str, options: Namespace) -> Path:
    """Returns the path of one clip's video."""
    if options.output is not None and not options.all_clips:
        return options.output.expanduser()
    name = f"{file_name(f'{path.stem}_{title}')}.mp4"
    return (options.output or Path()).expanduser() / name


def clip_of(clips: ReferenceClips, name: str) -> int:
    """Returns the number of a clip, given by number or name."""
    if name.isascii() and name.isdigit():
        if int(name) >= clips.num_clips:
            expected = f"0 ... {clips.num_clips - 1} or a name"
            raise UserError(f"--clip: expected {expected}, found {name}")
        return int(name)
    if name in clips.names:
        return clips.names.index(name)
    near = nearest(name, clips.names, 0.0)
    raise UserError(
        f"{clips.source}: found no clip {name!r}, expected 0 ... {clips.num_clips - 1} or a name; "
        f"the nearest name is {near!r}"
    )
