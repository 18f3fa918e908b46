"""Help and arguments of every command, without its configuration. Light: help must be quick."""

import argparse
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from vnl_mjx.config.presets import presets, summary

# Descriptions, by command.
HELP = {
    "preprocess": """\
Turn recordings into one file of complete reference clips, and account for every frame.

Reads STAC output (.h5, .p), qpos arrays (.npz, .npy, .mat) and NWB; the last path is the file to write.
What was kept, cut and left out, and why, is printed and written to OUT.quality.json and .png.

examples:
  vnl-mjx preprocess session.h5 clips.h5
  vnl-mjx preprocess day1.h5 day2.p clips.h5 segmentation_config.clip_s=5 conditioning_config.mirror=true
  vnl-mjx preprocess angles.npy clips.h5 source_config.rate_hz=100 resampling_config.rate_hz=50
  vnl-mjx preprocess arm.h5 clips.h5 walker_config.mjcf_path=arm.yaml
  vnl-mjx preprocess --show-config
""",
    "clips": """\
Cut, choose, join, mirror, mark and export clip files. Any file that can be trained on can be read.

examples:
  vnl-mjx clips split clips.h5 short.h5 --seconds 2
  vnl-mjx clips select clips.h5 some.h5 --clips 0,4-7
  vnl-mjx clips merge day1.h5 day2.h5 all.h5
  vnl-mjx clips mirror clips.h5 both.h5
  vnl-mjx clips hold-out clips.h5 marked.h5 --fraction 0.2 --by recording
  vnl-mjx clips hold-out clips.h5 marked.h5 --names clip_2 'trot*'
  vnl-mjx clips export clips.h5 track_mjx.h5 --to stac
""",
    "gait": """\
Make clips of a rat that walks, trots, turns, stands or rears: kinematic, by inverse kinematics from
published facts on rat gait. Synthetic: no animal moved so, and the file says it of every clip.

examples:
  vnl-mjx gait walk.h5 --speed 0.2 --turn 0.5 --seconds 5
  vnl-mjx gait trot.h5 --behaviour trot --speed 0.5 --clips 4
  vnl-mjx gait path.h5 --profile 0:0:0,1:0.2:0,3:0.2:1.2,5:0:0
  vnl-mjx gait suite.h5 --suite
""",
    "distill": """\
Distil a track-mjx teacher into a student VAE.

Without arguments it distils the bundled demonstration teacher. Progress, metrics, checkpoints and an
evaluation go into the run folder; the same command with the same run_dir continues a stopped run.

examples:
  vnl-mjx distill
  vnl-mjx distill run_dir=runs/rat1 teacher_config.checkpoint_path=CKPT \\
      teacher_config.reference_data_path=clips.h5
  vnl-mjx distill training_config.num_envs=256 training_config.num_steps=5e6 \\
      'vae_config.encoder_hidden_sizes=[256,256]'
  vnl-mjx distill --config mine.yaml wandb_config.mode=offline
  vnl-mjx distill --preset pulse training_config.num_steps=5e6 training_config.num_envs=512
  vnl-mjx distill --show-config
""",
    "eval": """\
Evaluate a student against its teacher on the same clips and starts, and write a report.

RUN/report gets report.html (opens without a network), metrics.json, tables as CSV, pictures, videos.

examples:
  vnl-mjx eval runs/rat1
  vnl-mjx eval runs/rat1 eval_config.starts_per_clip=8 eval_config.clips=held_out
  vnl-mjx eval runs/rat1 'compare_with=[runs/rat2]' video_config.num_clips=0
  vnl-mjx eval checkpoint_path=runs/rat1/checkpoints/409600 output_dir=reports/early
""",
    "compare": """\
Put several evaluations side by side: figures, and paired differences from the first with intervals.

examples:
  vnl-mjx compare runs/rat1 runs/rat2
  vnl-mjx compare runs/rat1 reports/early --output reports/both
""",
    "demo": """\
Show everything with the bundled teacher: what it is and does, a student that learns from it, and the
report of both. About four minutes on two cores; with --quick about one. Each step is a command,
which is printed and can be run alone.

examples:
  vnl-mjx demo
  vnl-mjx demo --quick --run-dir runs/look
""",
    "train-teacher": """\
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
""",
    "eval-teacher": """\
Measure how well a teacher tracks reference clips: each clip once from its first frame to its end.

Prints survival, imitation reward as a share of the most that its terms can give, errors and speed, per
clip and in all, and whether the targets for a teacher are met.

examples:
  vnl-mjx eval-teacher
  vnl-mjx eval-teacher runs/rat1/teacher --clips clips.h5 --held-out
  vnl-mjx eval-teacher CHECKPOINT --clips clips.h5 --episodes 100 --json figures.json
  vnl-mjx eval-teacher CHECKPOINT --clips clips.h5 --video videos
""",
    "rollout": """\
Make reference clips of what the simulation does when a teacher follows clips: motion that physics
allows and that the teacher itself can repeat. Clips on which it fails are left out, and named.

examples:
  vnl-mjx rollout runs/rat1/teacher own.h5 --clips clips.h5
  vnl-mjx rollout CHECKPOINT own.h5 --clips clips.h5 --seconds 5 --compact
""",
    "plan": """\
Make reference clips that physics allows by searching for controls that follow given ones: many
simulations are tried in short windows, and the nearest go on. It needs no teacher and no training, so a
teacher can be trained on the result from the start. Clips on which the body falls are left out, and named.

examples:
  vnl-mjx plan gait.h5 planned.h5
  vnl-mjx plan clips.h5 planned.h5 --samples 1024 --seconds 5 --compact
""",
    "view": """\
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
""",
}
_COMPACT_HELP = "store poses alone; the rest is computed on reading"


def _preprocess(parser: argparse.ArgumentParser) -> None:
    _add_overwrite(parser)
    parser.usage = "vnl-mjx preprocess [options] IN... OUT [key=value ...]"


def _clips(parser: argparse.ArgumentParser) -> None:
    operations = parser.add_subparsers(title="operations", metavar="OPERATION", required=True)

    def add(name: str, summary: str, nargs: str | None = None) -> Callable[..., argparse.Action]:
        about = summary[0].upper() + summary[1:] + "."
        sub = operations.add_parser(name, help=summary, description=about)
        sub.set_defaults(operation=name)
        sub.add_argument("inputs" if nargs else "input", type=Path, nargs=nargs, metavar="IN")
        sub.add_argument("output", type=Path, metavar="OUT")
        _add_overwrite(sub)
        _add_body(sub)
        return sub.add_argument

    split = add("split", "cut every clip into parts of equal length")
    split("--seconds", type=_positive, required=True, help="length of a part")
    split("--min-seconds", type=_positive, help="keep a shorter rest from this length on")
    select = add("select", "keep some clips")
    select("--clips", type=_indices, metavar="0,4-7", help="by number")
    select("--names", metavar="PATTERN", help="by name, like 'walk*'")
    select("--labels", metavar="PATTERN", help="by behaviour, like 'trot*'")
    select("--which", choices=("all", "train", "held-out"), default="all")
    merge = add("merge", "join files of one walker and rate", nargs="+")
    merge("--compact", action="store_true", help=_COMPACT_HELP)
    mirror = add("mirror", "add every clip with left and right exchanged")
    mirror("--only", action="store_true", help="leave the originals out")
    hold_out = add("hold-out", "mark clips that no run that reads the file trains on")
    which = operations.choices["hold-out"].add_mutually_exclusive_group(required=True).add_argument
    which("--fraction", type=_fraction, help="of clips or recordings, drawn by --seed")
    which("--names", metavar="PATTERN", nargs="+", help="by clip name, like 'walk*'")
    hold_out("--by", choices=("clip", "recording"), default="clip")
    hold_out("--seed", type=int, default=0)
    export = add("export", "write the layout of track-mjx or dm_control")
    export("--to", choices=("stac", "all-clips", "dm-control"), required=True)
    keep_help = "dm-control: not the features of its own Rat"
    export("--keep-walker", action="store_true", help=keep_help)


def _gait(parser: argparse.ArgumentParser) -> None:
    from vnl_mjx.gait import add_arguments

    parser.add_argument("output", type=Path, metavar="OUT")
    _add_overwrite(parser)
    add_arguments(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run or report folder")
    where = "of comparison.html (default: comparison)"
    add("--output", type=Path, default=Path("comparison"), metavar="FOLDER", help=where)


def _demo(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--quick", action="store_true", help="less of everything, in about a minute")
    where = "of the student's run (default: runs/demo, runs/demo-quick)"
    add("--run-dir", type=Path, metavar="FOLDER", help=where)


def _distill(parser: argparse.ArgumentParser) -> None:
    _add_presets(parser, presets("distill"))


def _train_teacher(parser: argparse.ArgumentParser) -> None:
    _add_presets(parser, presets("train-teacher"), "cpu")


def _add_presets(
    parser: argparse.ArgumentParser, files: Mapping[str, Path], default: str | None = None
) -> None:
    """The option, and what each preset is, below the examples; the default has no file."""
    names = [default, *files] if default else [*files]
    under = "settings under those of --config" + (f" (default: {default})" if default else "")
    parser.add_argument("--preset", choices=names, default=default, help=under, metavar="NAME")
    rows = "".join(f"  {name:<18}{summary(file)}\n" for name, file in files.items())
    parser.description = f"{parser.description}\npresets:\n{rows}"


def _eval_teacher(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    whom = "track-mjx checkpoint (default: the bundled teacher)"
    add("checkpoint", type=Path, nargs="?", metavar="CHECKPOINT", help=whom)
    _add_teacher(parser)
    which = parser.add_mutually_exclusive_group().add_argument
    for name, words in {
        "all": "all clips (default)",
        "train": "clips that the file does not mark as held out",
        "held-out": "clips that it does",
    }.items():
        option = {"dest": "which", "action": "store_const", "const": name, "default": "all"}
        which(f"--{name}", **option, help=words)
    more = "more episodes, which begin at drawn frames (default: 0)"
    add("--episodes", type=_count, default=0, metavar="N", help=more)
    add("--sampled", action="store_true", help="draw actions; default: the mode")
    bodies = "on bodies drawn as in its training; default: the nominal body"
    add("--randomized", action="store_true", help=bodies)
    add("--json", type=Path, metavar="FILE", help="write all figures")
    pictures = "mp4 and pictures of each clip, with the clip"
    add("--video", type=Path, metavar="FOLDER", help=pictures)


def _rollout(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="track-mjx checkpoint that acts")
    add("output", type=Path, metavar="OUT.h5", help="clip file to write")
    _add_teacher(parser)
    drift = "how far the root may be from what it follows (default: as the teacher's task says)"
    add("--drift", type=_positive, metavar="M", help=drift)
    _add_simulated(parser)


def _plan(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("clips", type=Path, metavar="CLIPS.h5", help="what is followed")
    add("output", type=Path, metavar="OUT.h5", help="clip file to write")
    add("--mjcf", metavar="FILE", help="MJCF of another body than the rodent")
    tried = "simulations that are tried side by side (default: 256)"
    add("--samples", type=_count, default=256, metavar="N", help=tried)
    again = "searches, each with the next seed, for a clip on which the body falls (default: 3)"
    add("--attempts", type=_count, default=3, metavar="N", help=again)
    add("--seed", type=_count, default=0, metavar="N", help="of the first search (default: 0)")
    _add_simulated(parser)


def _add_simulated(parser: argparse.ArgumentParser) -> None:
    """What is kept of a simulation as a clip."""
    add = parser.add_argument
    add("--seconds", type=_positive, default=5.0, metavar="S", help="of each clip (default: 5)")
    settle = "seconds to leave out at the start (default: 0.2)"
    add("--settle", type=_not_negative, default=0.2, metavar="S", help=settle)
    add("--compact", action="store_true", help=_COMPACT_HELP)
    _add_overwrite(parser, "OUT.h5")


def _inspect(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("path", type=Path, help="checkpoint or run folder, or HDF5 file")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def _view(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = "file of reference clips, run folder, or checkpoint of a student or teacher"
    add("path", type=Path, nargs="?", metavar="PATH", help=what)
    which = parser.add_mutually_exclusive_group().add_argument
    which("--clip", default="0", metavar="K", help="number or name (default: 0)")
    which("--all", action="store_true", dest="all_clips", help="a video of every clip")
    add("--output", type=Path, metavar="FILE", help="mp4; with --all a folder")
    sheet = {"dest": "sheet", "metavar": "FILE", "help": "PNG of eight pictures too"}
    add("--contact-sheet", type=Path, **sheet)
    sides = {"default": ("side", "top"), "metavar": "V,V", "help": "of side, top, front"}
    add("--views", type=_names, **sides)
    size = {"default": (960, 480), "metavar": "WxH", "help": "pixels (default: 960x480)"}
    add("--size", type=_size, **size)
    add("--fps", type=_positive, help="of the video (default: from the clip's rate)")
    add("--speed", type=_positive, default=1.0, help="0.5 is slow motion")
    add("--start", type=float, default=0.0, metavar="S", help="seconds to leave out")
    add("--seconds", type=_positive, metavar="S", help="to show (default: all)")
    add("--browser", action="store_true", help="a page in place of a video")
    add("--port", type=int, default=8080, help="of the page (default: 8080)")
    policy = parser.add_argument_group("of a policy").add_argument
    who = "of student, teacher, prior, reference (default: all but prior); the first acts first"
    policy("--who", type=_names, metavar="W,W", help=who)
    policy("--clips", type=Path, metavar="FILE", help="to follow (default: the run's)")
    policy("--ghost", action="store_true", help="the reference as a translucent copy, too")
    _add_body(parser)


def _add_overwrite(parser: argparse.ArgumentParser, what: str = "file") -> None:
    parser.add_argument("--overwrite", action="store_true", help=f"replace an existing {what}")


def _add_body(parser: argparse.ArgumentParser) -> None:
    """The body, where it is not the rodent that the file says."""
    add = parser.add_argument
    add("--mjcf", metavar="FILE", help="MJCF of another body than the rodent")
    add("--scale", type=_positive, help="uniform scale of the body")
    add("--root-body", metavar="NAME", help="body of the egocentric frame")


def _add_teacher(parser: argparse.ArgumentParser) -> None:
    """Clips, body and seed of a teacher that acts."""
    add = parser.add_argument
    add("--clips", type=Path, metavar="FILE", help="reference clips (default: the bundled ones)")
    add("--mjcf", metavar="FILE", help="MJCF file of another body than the teacher's")
    noise = "of the noise at the start (default: 0)"
    add("--seed", type=_count, default=0, metavar="N", help=noise)


def _indices(text: str) -> tuple[int, ...]:
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


def _number(text: str, fits: Callable[[float], bool], expected: str) -> float:
    with contextlib.suppress(ValueError):
        if fits(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f"expected a number {expected}, found {text!r}")


def _positive(text: str) -> float:
    return _number(text, lambda value: 0.0 < value < float("inf"), "above 0")


def _fraction(text: str) -> float:
    return _number(text, lambda value: 0.0 <= value < 1.0, "from 0 to below 1")


def _not_negative(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0.0") else _positive(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, found {text!r}")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected pixels like 960x480, found {text!r}")
    return int(width), int(height)


# What adds the arguments of a command besides its configuration.
ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "preprocess": _preprocess,
    "clips": _clips,
    "gait": _gait,
    "compare": _compare,
    "demo": _demo,
    "distill": _distill,
    "train-teacher": _train_teacher,
    "eval-teacher": _eval_teacher,
    "rollout": _rollout,
    "plan": _plan,
    "inspect": _inspect,
    "view": _view,
    "doctor": _json,
}
