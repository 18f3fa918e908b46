"""`vnl-mjx view`: a clip as a video, as a sheet of pictures, or in the browser."""

import difflib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from vnl_mjx.analysis.rendering import browser
from vnl_mjx.analysis.rendering.cameras import VIEWS
from vnl_mjx.analysis.rendering.gl import choose_backend
from vnl_mjx.analysis.rendering.video import Video, render_qpos
from vnl_mjx.commands.bodies import body_of_file
from vnl_mjx.commands.interrupts import terminate_cleanly
from vnl_mjx.commands.progress import frame_progress
from vnl_mjx.errors import UserError
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.reference.hdf5 import read_clips
from vnl_mjx.walkers.walker import Walker

_MIN_PIXELS, _MAX_PIXELS = 64, 4096


@dataclass(frozen=True)
class ViewOptions:
    """What is shown, and how.

    Attributes:
        clip: number or name.
        all_clips: a video of every clip, in the folder `output`.
        output: the mp4; default: named after file and clip, in the current folder.
        sheet: PNG of eight pictures to write as well.
        views: out of `VIEWS`.
        size: width and height of the picture, pixels.
        fps: of the video; default: from the clip's rate.
        speed: 1 is true speed, 0.5 slow motion.
        start: seconds of the clip to leave out at its beginning.
        seconds: of the clip to show; default: to its end.
        mjcf: MJCF file of another body than the rodent.
        scale: of the body.
        root_body: body of the egocentric frame.
        browser: show the clip in the browser in place of a video.
        port: of the browser's page.
    """

    clip: str = "0"
    all_clips: bool = False
    output: Path | None = None
    sheet: Path | None = None
    views: tuple[str, ...] = ("side", "top")
    size: tuple[int, int] = (960, 480)
    fps: float | None = None
    speed: float = 1.0
    start: float = 0.0
    seconds: float | None = None
    mjcf: str | None = None
    scale: float | None = None
    root_body: str | None = None
    browser: bool = False
    port: int = 8080


@dataclass(frozen=True)
class Shot:
    """What is filmed of one clip.

    Attributes:
        title: name of the clip.
        note: what has to be said wherever the clip is shown, or nothing.
        qpos: float64 [frame, nq].
        rate_hz: frames per second.
        first_time: of the first frame in the clip, seconds.
    """

    title: str
    note: str
    qpos: np.ndarray
    rate_hz: float
    first_time: float


def run(path: Path, options: ViewOptions) -> int:
    """Shows clips of a file and returns the exit status.

    Raises:
        UserError: an option or the file is wrong, or nothing can draw here.
    """
    path = path.expanduser()
    check_options(options)
    if options.browser:
        browser.check_installed()
    else:
        choose_backend()  # what cannot be drawn need not be read
    walker = body_of_file(path, options.mjcf, options.scale, options.root_body)
    shots = list(read_shots(path, walker, options))
    if options.browser:
        (shot,) = shots
        return browser.serve(
            walker, shot.qpos, shot.rate_hz, title=shot.title, note=shot.note, port=options.port
        )
    console = Console()
    if options.all_clips and options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        video = _film(walker, shot, output_path(path, shot.title, options), options, console)
        console.print(
            f"{video.path}: {video.seconds:.2f} s at {video.fps:g} frames/s, drawn with "
            f"{video.backend}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return 0


def check_options(options: ViewOptions) -> None:
    """Raises UserError for the first option that cannot be met."""
    _check_views(options)
    for name in ("fps", "speed", "seconds"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UserError(f"--{name}: expected a number above 0, found {value}")
    if not (math.isfinite(options.start) and options.start >= 0):
        raise UserError(f"--start: expected seconds from 0 on, found {options.start}")
    for name, given, suffix in (
        ("--output", None if options.all_clips else options.output, ".mp4"),
        ("--contact-sheet", options.sheet, ".png"),
    ):
        if given is not None and given.suffix.lower() != suffix:
            raise UserError(f"{name}: expected a file name that ends in {suffix}, found {given}")
        if given is not None and not given.parent.is_dir():
            raise UserError(f"{name}: there is no folder {str(given.parent)!r}; make it first")
    if options.all_clips and (options.browser or options.sheet is not None):
        raise UserError("--all: goes neither with --browser nor with --contact-sheet; give --clip")
    if options.all_clips and options.output is not None and options.output.is_file():
        raise UserError(f"--output: with --all expected a folder, found the file {options.output}")


def _check_views(options: ViewOptions) -> None:
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


def read_shots(path: Path, walker: Walker, options: ViewOptions) -> Iterator[Shot]:
    """The clip that was asked for, or every clip.

    Raises:
        UserError: the file cannot be read, or has no such clip or no such part of it.
    """
    number = int(options.clip) if options.clip.isascii() and options.clip.isdigit() else None
    one = None if options.all_clips or number is None else [number]
    clips = read_clips(path, walker, clips=one)
    if options.all_clips:
        chosen = range(clips.num_clips)
    else:
        chosen = [0 if number is not None else _clip_of_name(clips, options.clip)]
    qpos = np.asarray(clips.qpos(), np.float64)
    for clip in chosen:
        first, length = int(clips.starts[clip]), int(clips.lengths[clip])
        start, stop = _part(options, length, clips.rate_hz, clips.names[clip])
        yield Shot(
            title=clips.names[clip],
            note=_note(clips, clip),
            qpos=qpos[first + start : first + stop],
            rate_hz=clips.rate_hz,
            first_time=start / clips.rate_hz,
        )


def output_path(path: Path, title: str, options: ViewOptions) -> Path:
    """Where the video of one clip goes."""
    if options.output is not None and not options.all_clips:
        return options.output.expanduser()
    name = re.sub(r"[^\w.-]+", "_", f"{path.stem}_{title}")
    return (options.output or Path()).expanduser() / f"{name}.mp4"


def _clip_of_name(clips: ReferenceClips, name: str) -> int:
    if name in clips.names:
        return clips.names.index(name)
    nearest = difflib.get_close_matches(name, clips.names, n=1, cutoff=0.0)
    raise UserError(
        f"{clips.source}: found no clip {name!r}, expected 0 ... {clips.num_clips - 1} or a name; "
        f"the nearest name is {nearest[0]!r}"
    )


def _part(options: ViewOptions, length: int, rate_hz: float, name: str) -> tuple[int, int]:
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


def _film(
    walker: Walker, shot: Shot, output: Path, options: ViewOptions, console: Console
) -> Video:
    with terminate_cleanly(), frame_progress(console) as progress:
        return render_qpos(
            walker,
            shot.qpos,
            shot.rate_hz,
            output,
            views=options.views,
            size=options.size,
            fps=options.fps,
            speed=options.speed,
            title=shot.title,
            note=shot.note,
            first_time=shot.first_time,
            sheet=options.sheet,
            progress=lambda done, total: progress(shot.title, done, total),
        )
