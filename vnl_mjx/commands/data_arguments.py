"""Arguments of the commands that make clips and bodies, and options that other commands share with them."""

import argparse
from collections.abc import Callable
from pathlib import Path

from vnl_mjx.commands import argument_types

COMPACT_HELP = "store poses alone; the rest is computed on reading"


def preprocess(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `preprocess`."""
    add_overwrite(parser)


def fit(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `fit`."""
    add = parser.add_argument
    add("keypoints", type=Path, metavar="KEYPOINTS", help="file of 3-D key points with names")
    add("output", type=Path, metavar="OUT.h5", help="file of poses to write, for `preprocess`")
    add(
        "--rate",
        type=argument_types.positive,
        metavar="HZ",
        help="frame rate, if the file has none",
    )
    names = "names of the points, if the file has none: rat23, a file, or a list with commas"
    add("--points", metavar="NAMES", help=names)
    unit = "unit of the positions (default: what the file says, else found by the body's size)"
    add("--length-unit", choices=("m", "cm", "mm"), help=unit)
    up = "axis that points up, as in up_axis=-y (default: found by the feet, else z)"
    add("--up-axis", choices=("z", "y", "-y", "-z"), help=up)
    add("--animal", metavar="NAME", help="name or number of the animal, if the file has several")
    least = "points of a lower confidence count as not found (default: 0)"
    add("--min-confidence", type=argument_types.fraction, default=0.0, metavar="X", help=least)
    body = "body with markers: an MJCF's YAML file (default: the rodent)"
    add("--mjcf", metavar="FILE", help=body)
    window = "smooth the points over S seconds (default: 0.18; 0: not at all)"
    add("--smooth", type=argument_types.not_negative, default=0.18, metavar="S", help=window)
    add(
        "--keep-offsets",
        action="store_true",
        help="leave the markers where the body's file has them",
    )
    add("--keep-scale", action="store_true", help="take the animal to be of the body's size")
    swaps = "mark left and right points that look exchanged, but leave them"
    add("--keep-swaps", action="store_true", help=swaps)
    video = "also draw the fitted body with points and markers: OUT.fit.mp4, at most 20 s"
    add("--video", action="store_true", help=video)
    clips = "also turn the poses into this file of clips, as `preprocess` does"
    add("--clips", type=Path, metavar="FILE", help=clips)
    add_overwrite(parser)


def body(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `body`."""
    add = parser.add_argument
    parser.usage = "vnl-mjx body [options] MJCF [OUT] [source_config.key=value ...]"
    words = (
        "MJCF file, or package:NAME/PATH in an installed package; the YAML file to write (default: "
    )
    words += "the MJCF's name, in this folder); how to read the motion, as in preprocess"
    add("words", nargs="+", metavar="MJCF [OUT]", help=words)
    motion = (
        "recording or clips of the body, which tell feet, floor and root, and are tried in physics"
    )
    add("--motion", type=Path, metavar="FILE", help=motion)
    root = "whether the root moves freely (default: as in the motion, else as in the MJCF)"
    add("--root", choices=("free", "fixed"), help=root)
    actuators = (
        "replace the file's actuators by position servos, unless they are that already, or keep "
    )
    actuators += "its own, such as muscles (default: servos)"
    add("--actuators", choices=("servos", "own"), default="servos", help=actuators)
    add_overwrite(parser)


def clips(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `clips`."""
    operations = parser.add_subparsers(title="operations", metavar="OPERATION", required=True)

    def add(name: str, summary: str, nargs: str | None = None) -> Callable[..., argparse.Action]:
        about = summary[0].upper() + summary[1:] + "."
        sub = operations.add_parser(name, help=summary, description=about)
        sub.set_defaults(operation=name)
        sub.add_argument("inputs" if nargs else "input", type=Path, nargs=nargs, metavar="IN")
        sub.add_argument("output", type=Path, metavar="OUT")
        add_overwrite(sub)
        add_body(sub)
        return sub.add_argument

    split = add("split", "cut every clip into parts of equal length")
    split("--seconds", type=argument_types.positive, required=True, help="length of a part")
    split(
        "--min-seconds",
        type=argument_types.positive,
        help="keep a shorter last part if it has at least this length",
    )
    select = add("select", "keep some clips")
    select(
        "--clips",
        type=argument_types.indices,
        metavar="0,4-7",
        help="keep the clips with these numbers",
    )
    select("--names", metavar="PATTERN", help="keep the clips of this name, like 'walk*'")
    select("--labels", metavar="PATTERN", help="keep the clips of this behaviour, like 'trot*'")
    marked = "keep the clips with or without a held-out mark (default: all)"
    select("--which", choices=("all", "train", "held-out"), default="all", help=marked)
    merge = add("merge", "join files of one walker and rate", nargs="+")
    merge("--compact", action="store_true", help=COMPACT_HELP)
    mirror = add("mirror", "add every clip with left and right exchanged")
    mirror("--only", action="store_true", help="write the mirrored clips alone")
    hold_out = add("hold-out", "mark clips as held out, so that no run trains on them")
    which = operations.choices["hold-out"].add_mutually_exclusive_group(required=True).add_argument
    which(
        "--fraction",
        type=argument_types.fraction,
        help="hold out this share of the clips or recordings, drawn with --seed",
    )
    which(
        "--names",
        metavar="PATTERN",
        nargs="+",
        help="hold out the clips of these names, like 'walk*'",
    )
    hold_out(
        "--by",
        choices=("clip", "recording"),
        default="clip",
        help="draw clips or whole recordings (default: clip)",
    )
    hold_out("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    export = add("export", "write the layout of track-mjx or dm_control")
    export("--to", choices=("stac", "all-clips", "dm-control"), required=True)
    keep_help = "for dm-control: write this walker, not dm_control's own Rat"
    export("--keep-walker", action="store_true", help=keep_help)


def gait(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gait`."""
    from vnl_mjx.gait import add_arguments

    parser.add_argument("output", type=Path, metavar="OUT")
    add_overwrite(parser)
    add_arguments(parser)


def add_overwrite(parser: argparse.ArgumentParser, what: str = "file") -> None:
    """Adds the option to replace a file."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace an existing {what}")


def add_body(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the body, for files that do not record theirs."""
    add = parser.add_argument
    add("--mjcf", metavar="FILE", help="MJCF file of the body, if the clip file does not hold it")
    add("--scale", type=argument_types.positive, help="uniform scale of the body")
    add("--root-body", metavar="NAME", help="body of the egocentric frame")
