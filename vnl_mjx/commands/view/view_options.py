"""What `vnl-mjx view` was asked for, and whether it can be."""

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.errors import UserError
from vnl_mjx.files import file_name
from vnl_mjx.report.rendering.cameras import VIEWS

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
        clips: file that a policy follows; default: that of its run.
        who: which of a checkpoint's policies, and the reference; None for all that follow the clip.
        ghost: show the reference as a translucent copy.
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
    clips: Path | None = None
    who: tuple[str, ...] | None = None
    ghost: bool = False


def check_options(options: ViewOptions, is_policy: bool) -> None:
    """Raises UserError for the first option that cannot be met."""
    _check_views(options)
    _check_kind(options, is_policy)
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


def _check_kind(options: ViewOptions, is_policy: bool) -> None:
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


def output_path(path: Path, title: str, options: ViewOptions) -> Path:
    """Where the video of one clip goes."""
    if options.output is not None and not options.all_clips:
        return options.output.expanduser()
    name = f"{file_name(f'{path.stem}_{title}')}.mp4"
    return (options.output or Path()).expanduser() / name


def clip_of_name(clips: ReferenceClips, name: str) -> int:
    """Number of the clip of that name.

    Raises:
        UserError: there is none.
    """
    if name in clips.names:
        return clips.names.index(name)
    nearest = difflib.get_close_matches(name, clips.names, n=1, cutoff=0.0)
    raise UserError(
        f"{clips.source}: found no clip {name!r}, expected 0 ... {clips.num_clips - 1} or a name; "
        f"the nearest name is {nearest[0]!r}"
    )
