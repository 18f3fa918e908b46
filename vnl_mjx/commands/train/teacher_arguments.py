"""Arguments of the commands that play a teacher. Light: help must be quick."""

import argparse
from pathlib import Path

from vnl_mjx.commands.data.data_arguments import positive

TRAIN_TEACHER_HELP = """\
Train a teacher by PPO: an intention network that tracks reference clips in physics.

Without arguments it practises the bundled clips on the CPU. Progress, metrics, checkpoints and an
evaluation go into the run folder; the same command with the same run_dir continues a stopped run. What
`distill` and track-mjx read stands in RUN/teacher.

examples:
  vnl-mjx train-teacher
  vnl-mjx train-teacher run_dir=runs/rat1 'reference_config.paths=[clips.h5,more.h5]'
  vnl-mjx train-teacher --preset gpu ppo.num_envs=2048
  vnl-mjx train-teacher init_from=runs/rat1/teacher ppo.guidance=0
  vnl-mjx train-teacher --preset torque --config mine.yaml
  vnl-mjx train-teacher --show-config
"""
EVAL_TEACHER_HELP = """\
Measure how well a teacher tracks reference clips: each clip once from its first frame to its end.

Prints survival, imitation reward as a share of the most that its terms can give, errors and speed, per
clip and in all, and whether the targets for a teacher are met.

examples:
  vnl-mjx eval-teacher
  vnl-mjx eval-teacher runs/rat1/teacher --clips clips.h5 --held-out
  vnl-mjx eval-teacher CHECKPOINT --clips clips.h5 --episodes 100 --json figures.json
  vnl-mjx eval-teacher CHECKPOINT --clips clips.h5 --video videos
"""
ROLLOUT_HELP = """\
Make reference clips of what the simulation does when a teacher follows clips: motion that physics
allows and that the teacher itself can repeat. Clips on which it fails are left out, and named.

examples:
  vnl-mjx rollout runs/rat1/teacher own.h5 --clips clips.h5
  vnl-mjx rollout CHECKPOINT own.h5 --clips clips.h5 --seconds 5 --compact
"""


def add_eval_teacher_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `vnl-mjx eval-teacher`."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        metavar="CHECKPOINT",
        help="track-mjx checkpoint (default: the bundled teacher)",
    )
    _add_common(parser)
    which = parser.add_mutually_exclusive_group()
    for name, words in {
        "all": "all clips (default)",
        "train": "clips that the file does not mark as held out",
        "held-out": "clips that it does",
    }.items():
        which.add_argument(
            f"--{name}", dest="which", action="store_const", const=name, default="all", help=words
        )
    parser.add_argument(
        "--episodes",
        type=_count,
        default=0,
        metavar="N",
        help="more episodes, which begin at drawn frames (default: 0)",
    )
    parser.add_argument("--sampled", action="store_true", help="draw actions; default: the mode")
    parser.add_argument(
        "--randomized",
        action="store_true",
        help="on bodies drawn as in its training; default: the nominal body",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument(
        "--video", type=Path, metavar="FOLDER", help="mp4 and pictures of each clip, with the clip"
    )


def add_rollout_arguments(parser: argparse.ArgumentParser) -> None:
    """Of `vnl-mjx rollout`."""
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="track-mjx checkpoint that acts"
    )
    parser.add_argument("output", type=Path, metavar="OUT.h5", help="clip file to write")
    _add_common(parser)
    parser.add_argument(
        "--seconds", type=positive, default=5.0, metavar="S", help="of each clip (default: 5)"
    )
    parser.add_argument(
        "--settle",
        type=_not_negative,
        default=0.2,
        metavar="S",
        help="seconds to leave out at the start (default: 0.2)",
    )
    parser.add_argument(
        "--compact", action="store_true", help="store poses alone; the rest is computed on reading"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUT.h5")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--clips", type=Path, metavar="FILE", help="reference clips (default: the bundled ones)"
    )
    parser.add_argument(
        "--mjcf", metavar="FILE", help="MJCF file of another body than the teacher's"
    )
    parser.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="of the noise at the start (default: 0)"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, found {text!r}")
    return int(text)


def _not_negative(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def add_train_teacher_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `vnl-mjx train-teacher` takes besides configuration."""
    parser.add_argument(
        "--preset",
        choices=("cpu", "gpu", "torque"),
        default="cpu",
        help="settings under those of --config (default: cpu)",
    )
