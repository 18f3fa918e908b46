"""Whether what `vnl-mjx view` was asked for can be shown, and its videos."""

import difflib
import math
from argparse import Namespace
from pathlib import Path

from rich.console import Console

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.commands.console import frame_progress
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.errors import UserError
from vnl_mjx.files import file_name
from vnl_mjx.report.rendering.cameras import VIEWS
from vnl_mjx.report.rendering.side_by_side import SideBySide, render_side_by_side
from vnl_mjx.walkers.walker import Walker

_MIN_PIXELS, _MAX_PIXELS = 64, 4096


def check_options(options: Namespace, is_policy: bool) -> None:
    """Raises UserError for the first option that cannot be met."""
    _check_views(options)
    _check_kind(options, is_policy)
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


def _check_kind(options: Namespace, is_policy: bool) -> None:
    """Some options are of clip files alone, others of policies."""
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
    """Draws a video, and says where it is; `label` stands beside the progress bar."""
    console = Console()
    with terminate_cleanly(), frame_progress(console) as progress:
        video = render_side_by_side(
            walker,
            motion,
            output,
            sheet=options.sheet,
            progress=lambda done, total: progress(label, done, total),
        )
    console.print(
        f"{video.path}: {video.seconds:.2f} s at {video.fps:g} frames/s, drawn with {video.backend}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def output_path(path: Path, title: str, options: Namespace) -> Path:
    """Where the video of one clip goes."""
    if options.output is not None and not options.all_clips:
        return options.output.expanduser()
    name = f"{file_name(f'{path.stem}_{title}')}.mp4"
    return (options.output or Path()).expanduser() / name


def clip_of_name(clips: ReferenceClips, name: str) -> int:
    """Number of the clip of that name."""
    if name in clips.names:
        return clips.names.index(name)
    nearest = difflib.get_close_matches(name, clips.names, n=1, cutoff=0.0)
    raise UserError(
        f"{clips.source}: found no clip {name!r}, expected 0 ... {clips.num_clips - 1} or a name; "
        f"the nearest name is {nearest[0]!r}"
    )
