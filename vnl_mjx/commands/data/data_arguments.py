"""Arguments of the commands that make and edit clip files. Light: help must be quick."""

import argparse
from collections.abc import Callable
from pathlib import Path

PREPROCESS_HELP = """\
Turn recordings into one file of complete reference clips, and account for every frame.

Reads STAC output (.h5, .p), qpos arrays (.npz, .npy, .mat) and NWB; the last path is the file to write.
What was kept, cut and left out, and why, is printed and written to OUT.quality.json and .png.

examples:
  vnl-mjx preprocess session.h5 clips.h5
  vnl-mjx preprocess day1.h5 day2.p clips.h5 segmentation_config.clip_s=5 conditioning_config.mirror=true
  vnl-mjx preprocess angles.npy clips.h5 source_config.rate_hz=100 resampling_config.rate_hz=50
  vnl-mjx preprocess arm.h5 clips.h5 walker_config.mjcf_path=arm.yaml
  vnl-mjx preprocess --show-config
"""
CLIPS_HELP = """\
Cut, choose, join, mirror, mark and export clip files. Any file that can be trained on can be read.

examples:
  vnl-mjx clips split clips.h5 short.h5 --seconds 2
  vnl-mjx clips select clips.h5 some.h5 --clips 0,4-7
  vnl-mjx clips merge day1.h5 day2.h5 all.h5
  vnl-mjx clips mirror clips.h5 both.h5
  vnl-mjx clips hold-out clips.h5 marked.h5 --fraction 0.2 --by recording
  vnl-mjx clips hold-out clips.h5 marked.h5 --names clip_2 'trot*'
  vnl-mjx clips export clips.h5 track_mjx.h5 --to stac
"""
GAIT_HELP = """\
Make clips of a rat that walks, trots, turns, stands or rears: kinematic, by inverse kinematics from
published facts on rat gait. Synthetic: no animal moved so, and the file says it of every clip.

examples:
  vnl-mjx gait walk.h5 --speed 0.2 --turn 0.5 --seconds 5
  vnl-mjx gait trot.h5 --behaviour trot --speed 0.5 --clips 4
  vnl-mjx gait path.h5 --profile 0:0:0,1:0.2:0,3:0.2:1.2,5:0:0
  vnl-mjx gait suite.h5 --suite
"""


def indices(text: str) -> tuple[int, ...]:
    """Numbers and ranges, "0,4-7", as a tuple of numbers."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            found += range(int(first), int(last if dash else first) + 1)
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise argparse.ArgumentTypeError(f"expected clips like 0,4-7, found {text!r}")
    return tuple(found)


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def fraction(text: str) -> float:
    """A number in [0, 1)."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, found {text!r}")
    return value


def add_preprocess_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `vnl-mjx preprocess`; what is `key=value` among the paths is configuration."""
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.usage = "vnl-mjx preprocess [options] IN... OUT [key=value ...]"


def add_clips_commands(
    parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]
) -> None:
    """The sub-commands of `vnl-mjx clips`."""
    operations = parser.add_subparsers(title="operations", metavar="OPERATION", required=True)

    def add(name: str, summary: str, several: bool = False) -> argparse.ArgumentParser:
        sub = operations.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + "."
        )
        sub.set_defaults(command=command, operation=name)
        if several:
            sub.add_argument("inputs", type=Path, nargs="+", metavar="IN")
        else:
            sub.add_argument("input", type=Path, metavar="IN")
        sub.add_argument("output", type=Path, metavar="OUT")
        sub.add_argument("--overwrite", action="store_true", help="replace an existing file")
        add_body_arguments(sub)
        return sub

    split = add("split", "cut every clip into parts of equal length")
    split.add_argument("--seconds", type=positive, required=True, help="length of a part")
    split.add_argument(
        "--min-seconds", type=positive, help="keep a shorter rest from this length on"
    )
    select = add("select", "keep some clips")
    select.add_argument("--clips", type=indices, metavar="0,4-7", help="by number")
    select.add_argument("--names", metavar="PATTERN", help="by name, like 'walk*'")
    select.add_argument("--labels", metavar="PATTERN", help="by behaviour, like 'trot*'")
    select.add_argument("--which", choices=("all", "train", "held-out"), default="all")
    merge = add("merge", "join files of one walker and rate", several=True)
    merge.add_argument(
        "--compact", action="store_true", help="store poses alone; the rest is computed on reading"
    )
    mirror = add("mirror", "add every clip with left and right exchanged")
    mirror.add_argument("--only", action="store_true", help="leave the originals out")
    hold_out = add("hold-out", "mark clips that no run that reads the file trains on")
    which = hold_out.add_mutually_exclusive_group(required=True)
    which.add_argument("--fraction", type=fraction, help="of clips or recordings, drawn by --seed")
    which.add_argument("--names", metavar="PATTERN", nargs="+", help="by clip name, like 'walk*'")
    hold_out.add_argument("--by", choices=("clip", "recording"), default="clip")
    hold_out.add_argument("--seed", type=int, default=0)
    export = add("export", "write the layout of track-mjx or dm_control")
    export.add_argument("--to", choices=("stac", "all-clips", "dm-control"), required=True)
    export.add_argument(
        "--keep-walker", action="store_true", help="dm-control: not the features of its own Rat"
    )


def add_body_arguments(parser: argparse.ArgumentParser) -> None:
    """The body, where it is not the rodent that the file says."""
    parser.add_argument("--mjcf", metavar="FILE", help="MJCF of another body than the rodent")
    parser.add_argument("--scale", type=positive, help="uniform scale of the body")
    parser.add_argument("--root-body", metavar="NAME", help="body of the egocentric frame")


def add_gait_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `vnl-mjx gait`."""
    from vnl_mjx.gait import add_arguments

    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_arguments(parser)
