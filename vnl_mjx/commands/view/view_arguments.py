"""Arguments of `vnl-mjx view`. Light: help must be quick."""

import argparse
from pathlib import Path

from vnl_mjx.commands.data.data_arguments import add_body_arguments, positive

VIEW_HELP = """\
Show a clip of a reference file, or a policy that follows one: an mp4 from the side and from above, or
a page in the browser, where a policy acts live and its latent can be moved by hand.

Without a path the bundled teacher is shown.

examples:
  vnl-mjx view clips.h5
  vnl-mjx view clips.h5 --clip 3 --output walk.mp4 --contact-sheet walk.png
  vnl-mjx view clips.h5 --clip walk_fast --speed 0.25 --start 1 --seconds 2 --views side
  vnl-mjx view clips.h5 --all --output videos --size 480x960
  vnl-mjx view clips.h5 --clip 3 --browser
  vnl-mjx view runs/rat1 --clip walk_fast
  vnl-mjx view runs/rat1 --who student,teacher --ghost --clips clips.h5 --output both.mp4
  vnl-mjx view runs/rat1 --who prior --seconds 10
  vnl-mjx view runs/rat1 --browser
"""


def add_view_arguments(view: argparse.ArgumentParser) -> None:
    """Of `vnl-mjx view`; each but `path` is a field of `view_options.ViewOptions`."""
    view.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="file of reference clips, run folder, or checkpoint of a student or teacher",
    )
    which = view.add_mutually_exclusive_group()
    which.add_argument("--clip", default="0", metavar="K", help="number or name (default: 0)")
    which.add_argument("--all", action="store_true", dest="all_clips", help="a video of every clip")
    view.add_argument("--output", type=Path, metavar="FILE", help="mp4; with --all a folder")
    view.add_argument(
        "--contact-sheet", type=Path, dest="sheet", metavar="FILE", help="PNG of eight pictures too"
    )
    view.add_argument(
        "--views", type=_names, default=("side", "top"), metavar="V,V", help="of side, top, front"
    )
    view.add_argument(
        "--size", type=_size, default=(960, 480), metavar="WxH", help="pixels (default: 960x480)"
    )
    view.add_argument("--fps", type=positive, help="of the video (default: from the clip's rate)")
    view.add_argument("--speed", type=positive, default=1.0, help="0.5 is slow motion")
    view.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds to leave out")
    view.add_argument("--seconds", type=positive, metavar="S", help="to show (default: all)")
    view.add_argument("--browser", action="store_true", help="a page in place of a video")
    view.add_argument("--port", type=int, default=8080, help="of the page (default: 8080)")
    policy = view.add_argument_group("of a policy")
    policy.add_argument(
        "--who",
        type=_names,
        metavar="W,W",
        help="of student, teacher, prior, reference (default: all but prior); the first acts first",
    )
    policy.add_argument("--clips", type=Path, metavar="FILE", help="to follow (default: the run's)")
    policy.add_argument(
        "--ghost", action="store_true", help="the reference as a translucent copy, too"
    )
    add_body_arguments(view)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected pixels like 960x480, found {text!r}")
    return int(width), int(height)
