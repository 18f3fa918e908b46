"""`vnl-mjx view`: a clip, or a policy, as a video, as a sheet of pictures, or in the browser."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.console import frame_progress
from vnl_mjx.commands.data.bodies import body_of_file
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.commands.view.view_options import ViewOptions, check_options, clip_of_name, output_path
from vnl_mjx.errors import UserError
from vnl_mjx.report.rendering import browser
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.side_by_side import Video, one_motion, render_side_by_side
from vnl_mjx.walkers.walker import Walker


@dataclass(frozen=True)
class ClipPart:
    """What is shown of one clip.

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


def run(path: Path | None, options: ViewOptions) -> int:
    """Shows clips of a file, or a policy, and returns the exit status.

    Args:
        path: file of clips, or a checkpoint or run folder; None for the bundled teacher.
        options: the rest.

    Raises:
        UserError: an option or the file is wrong, or nothing can draw here.
    """
    path = path and path.expanduser()
    check_options(options, is_policy=path is None or path.is_dir())
    if options.browser:
        browser.check_installed()
    else:
        choose_backend()  # what cannot be drawn need not be read
    if path is None or path.is_dir():
        from vnl_mjx.commands.view import view_policy

        return view_policy.run(path, options)
    walker = body_of_file(path, options.mjcf, options.scale, options.root_body)
    parts = list(read_parts(path, walker, options))
    if options.browser:
        (part,) = parts
        return browser.serve(
            walker, part.qpos, part.rate_hz, title=part.title, note=part.note, port=options.port
        )
    console = Console()
    if options.all_clips and options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
    for part in parts:
        video = _draw(walker, part, output_path(path, part.title, options), options, console)
        console.print(
            f"{video.path}: {video.seconds:.2f} s at {video.fps:g} frames/s, drawn with "
            f"{video.backend}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return 0


def read_parts(path: Path, walker: Walker, options: ViewOptions) -> Iterator[ClipPart]:
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
        chosen = [0 if number is not None else clip_of_name(clips, options.clip)]
    qpos = np.asarray(clips.qpos(), np.float64)
    for clip in chosen:
        first, length = int(clips.starts[clip]), int(clips.lengths[clip])
        start, stop = _part(options, length, clips.rate_hz, clips.names[clip])
        yield ClipPart(
            title=clips.names[clip],
            note=_note(clips, clip),
            qpos=qpos[first + start : first + stop],
            rate_hz=clips.rate_hz,
            first_time=start / clips.rate_hz,
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


def _draw(
    walker: Walker, part: ClipPart, output: Path, options: ViewOptions, console: Console
) -> Video:
    motion = one_motion(
        part.qpos,
        part.rate_hz,
        views=options.views,
        size=options.size,
        fps=options.fps,
        speed=options.speed,
        title=part.title,
        note=part.note,
        first_time=part.first_time,
    )
    with terminate_cleanly(), frame_progress(console) as progress:
        return render_side_by_side(
            walker,
            motion,
            output,
            sheet=options.sheet,
            progress=lambda done, total: progress(part.title, done, total),
        )
