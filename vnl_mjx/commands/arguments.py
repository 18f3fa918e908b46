"""Arguments of every command, without its configuration. Imports little, so that help is quick."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from vnl_mjx.commands import argument_types, data_arguments, encode_arguments, record_arguments
from vnl_mjx.commands.data_arguments import COMPACT_HELP, add_body, add_overwrite
from vnl_mjx.config.presets import presets, summary
from vnl_mjx.config.renamed import GRAMMARS, MEANINGS

# Commands that build no task and no network, so that nothing names code to them.
WITHOUT_CODE = frozenset(
    "clips compare demo doctor encode fit gait preprocess replay-nan similarity".split()
)


def add_configuration(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds what every command with a configuration takes, and its short names below the examples."""
    grammar, add = GRAMMARS[command], parser.add_argument
    parser.usage = f"vnl-mjx {command} [options] {grammar.paths} [key=value ...]"
    what = "settings as key=value, in any order; a path needs no key"
    add("overrides", nargs="*", metavar="key=value", help=what)
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML file of settings; key=value on the command line wins",
    )
    add("--show-config", action="store_true", help="print the configuration and stop")
    if grammar.keys:
        rows = "".join(f"  {name + '=':<18}{MEANINGS[name]}\n" for name in grammar.keys)
        parser.description = f"{parser.description}\nshort keys, also for --config:\n{rows}"


def add_allow_code(parser: argparse.ArgumentParser) -> None:
    """Adds the option that lets a stored file name code; for all commands but `WITHOUT_CODE`."""
    what = "run this module or file where a checkpoint, body or clip file names it; repeat for more"
    option = {"action": "append", "default": [], "metavar": "CODE", "help": what}
    parser.add_argument("--allow-code", **option)


def _compare(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run or report folder")
    where = "folder for comparison.html (default: comparison)"
    add("--output", type=Path, default=Path("comparison"), metavar="FOLDER", help=where)


def _demo(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--quick", action="store_true", help="train and draw less, in under two minutes")
    where = "run folder of the student (default: runs/demo, or runs/demo-quick)"
    add("--run-dir", type=Path, metavar="FOLDER", help=where)


def _distill(parser: argparse.ArgumentParser) -> None:
    _add_presets(parser, presets("distill"))


def _train_teacher(parser: argparse.ArgumentParser) -> None:
    _add_presets(parser, presets("train-teacher"), "cpu")


def _add_presets(
    parser: argparse.ArgumentParser, files: Mapping[str, Path], default: str | None = None
) -> None:
    """Adds the option --preset and describes each preset below the examples; the default has no file."""
    names = [default, *files] if default else [*files]
    under = "start from these settings; --config and key=value change them" + (
        f" (default: {default})" if default else ""
    )
    parser.add_argument("--preset", choices=names, default=default, help=under, metavar="NAME")
    rows = "".join(f"  {name:<18}{summary(file)}\n" for name, file in files.items())
    parser.description = f"{parser.description}\npresets:\n{rows}"


def _eval_teacher(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    whom = "track-mjx checkpoint (default: the bundled teacher)"
    add("checkpoint", type=Path, nargs="?", metavar="TEACHER", help=whom)
    _add_teacher(parser)
    which = parser.add_mutually_exclusive_group().add_argument
    for name, words in {
        "all": "all clips (default)",
        "train": "only clips that the file does not mark as held out",
        "held-out": "only clips that the file marks as held out",
    }.items():
        option = {"dest": "which", "action": "store_const", "const": name, "default": "all"}
        which(f"--{name}", **option, help=words)
    more = "add N episodes that start at random frames (default: 0)"
    add("--episodes", type=argument_types.count, default=0, metavar="N", help=more)
    add("--sampled", action="store_true", help="sample the actions; default: act at the mode")
    bodies = "simulate the randomised bodies of its training; default: the nominal body"
    add("--randomized", action="store_true", help=bodies)
    trivial = "also measure trivial policies: no action, and servos that hold the clip's pose"
    add("--baselines", action="store_true", help=trivial)
    add("--json", type=Path, metavar="FILE", help="write all metrics to this file")
    pictures = "write an mp4 and pictures of each clip, beside its reference"
    add("--video", type=Path, metavar="FOLDER", help=pictures)


def _eval_task(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "checkpoint",
        type=Path,
        metavar="RUN",
        help="run folder of train-task, or a checkpoint in it",
    )
    add(
        "--episodes",
        type=argument_types.count,
        default=64,
        metavar="N",
        help="episodes of each policy (default: 64)",
    )
    add(
        "--seconds",
        type=argument_types.positive,
        metavar="S",
        help="length of an episode (default: the task's)",
    )
    add(
        "--seed",
        type=argument_types.count,
        default=1,
        metavar="N",
        help="seed of starts and goals (default: 1)",
    )
    clips = "clips in whose frames episodes start (default: the run's)"
    add("--clips", type=Path, metavar="FILE", help=clips)
    add("--mjcf", metavar="FILE", help="the run's MJCF or body file, if it has moved")
    where = "folder for metrics, pictures and video (default: RUN/report)"
    add("--output", type=Path, metavar="FOLDER", help=where)
    add("--no-video", action="store_true", help="write metrics and pictures, but no video")


def _train_task(parser: argparse.ArgumentParser) -> None:
    from vnl_mjx.config.task import GOAL_SUMMARIES

    rows = "".join(f"  {name:<18}{words}\n" for name, words in GOAL_SUMMARIES.items())
    parser.description = f"{parser.description}\ntasks:\n{rows}"


def _rollout(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="TEACHER", help="track-mjx checkpoint of the teacher")
    add("output", type=Path, metavar="OUT.h5", help="clip file to write")
    _add_teacher(parser)
    drift = "end an attempt when the root is farther than this from the clip (default: the teacher's limit)"
    add("--drift", type=argument_types.positive, metavar="M", help=drift)
    attempts = (
        "play each clip N times and keep the motion that the teacher tracks best (default: 1)"
    )
    add("--attempts", type=argument_types.count, default=1, metavar="N", help=attempts)
    _add_simulated(parser)


def _plan(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("clips", type=Path, metavar="CLIPS.h5", help="reference clips to follow")
    add("output", type=Path, metavar="OUT.h5", help="clip file to write")
    add("--mjcf", metavar="FILE", help="MJCF file of the body, if the clip file does not hold it")
    tried = "simulations to sample side by side (default: 256)"
    add("--samples", type=argument_types.count, default=256, metavar="N", help=tried)
    kept = "steps of a window, after which the nearest simulations continue (default: 3)"
    add("--window", type=argument_types.count, default=3, metavar="STEPS", help=kept)
    spread = "standard deviation of the random change of a control, of -1 to 1 (default: 0.06)"
    add("--spread", type=argument_types.positive, default=0.06, metavar="X", help=spread)
    memory = "share of its change that a simulation keeps in its next window (default: 1)"
    add("--memory", type=argument_types.not_negative, default=1.0, metavar="X", help=memory)
    gain = "gain on the distance to the pose ahead, added to the control that holds it (default: 2)"
    add("--pose-gain", type=argument_types.not_negative, default=2.0, metavar="X", help=gain)
    again = "search up to N times, each with the next seed, while the body falls (default: 3)"
    add("--attempts", type=argument_types.count, default=3, metavar="N", help=again)
    add(
        "--seed",
        type=argument_types.count,
        default=0,
        metavar="N",
        help="seed of the first search (default: 0)",
    )
    _add_simulated(parser)


def _add_simulated(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how much of a simulation becomes a clip."""
    add = parser.add_argument
    add(
        "--seconds",
        type=argument_types.positive,
        default=5.0,
        metavar="S",
        help="longest new clip (default: 5)",
    )
    settle = "leave out the first seconds (default: 0.2)"
    add("--settle", type=argument_types.not_negative, default=0.2, metavar="S", help=settle)
    add("--compact", action="store_true", help=COMPACT_HELP)
    add_overwrite(parser, "OUT.h5")


def _export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="teacher or student, or a run folder")
    add(
        "output",
        type=Path,
        metavar="OUT",
        help="folder to write; for track-mjx the folder of checkpoints",
    )
    layouts = {
        "track-mjx": "the same as track-mjx-2026",
        "track-mjx-2026": "nested observations",
        "track-mjx-2025": "flat observations",
        "vnl-playground": "flat observations, only for its imitation task",
        "prior-network": "a student's decoder and prior, for tasks in its latent space",
        "distill-network": "a whole student",
        "onnx": "functions of raw observations, with a contract and the body; extra `onnx`",
        "npz": "the same as NumPy arrays, layer by layer",
        "stablehlo": "the same for JAX and what else reads StableHLO",
    }
    rows = "".join(f"  {name:<18}{words}\n" for name, words in layouts.items())
    parser.description = f"{parser.description}\nlayouts:\n{rows}"
    add(
        "--to",
        choices=tuple(layouts),
        required=True,
        metavar="LAYOUT",
        help="one of the layouts above",
    )
    clips = "for functions: clips whose first frame is the start (default: the run's)"
    add("--clips", type=Path, metavar="FILE", help=clips)
    moved = "for functions: the run's MJCF or body file, if it has moved"
    add("--mjcf", metavar="FILE", help=moved)


def _replay_nan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="file of the folder nan of a run")
    _json(parser)


def _inspect(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("path", type=Path, help="checkpoint or run folder, or HDF5 file")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _view(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = "file of reference clips, run folder, or checkpoint of a student, teacher or task"
    add("path", type=Path, nargs="?", metavar="PATH", help=what)
    which = parser.add_mutually_exclusive_group().add_argument
    which("--clip", default="0", metavar="K", help="clip to show, by number or name (default: 0)")
    which("--all", action="store_true", dest="all_clips", help="make a video of every clip")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="video to write: mp4, webm, gif or webp; with --all a folder",
    )
    sheet = {"dest": "sheet", "metavar": "FILE", "help": "also write a PNG of eight pictures"}
    add("--contact-sheet", type=Path, **sheet)
    sides = {
        "default": ("side", "top"),
        "metavar": "V,V",
        "help": "views to show, of side, top and front (default: side,top)",
    }
    add("--views", type=argument_types.names, **sides)
    size = {"default": (960, 480), "metavar": "WxH", "help": "pixels (default: 960x480)"}
    add("--size", type=argument_types.size, **size)
    add(
        "--fps",
        type=argument_types.positive,
        help="frame rate of the video (default: from the clip's rate)",
    )
    add(
        "--speed",
        type=argument_types.positive,
        default=1.0,
        help="speed of playback; 0.5 is slow motion",
    )
    add("--start", type=float, default=0.0, metavar="S", help="skip the first seconds")
    add(
        "--seconds",
        type=argument_types.positive,
        metavar="S",
        help="seconds to show (default: all)",
    )
    add("--browser", action="store_true", help="serve a page for the browser instead of a video")
    add("--port", type=int, default=8080, help="port of the page (default: 8080)")
    policy = parser.add_argument_group("of a policy").add_argument
    who = "policies to show, of student, teacher, prior, reference (default: all but prior)"
    policy("--who", type=argument_types.names, metavar="W,W", help=who)
    policy("--clips", type=Path, metavar="FILE", help="clips to follow (default: the run's)")
    policy("--ghost", action="store_true", help="also show the reference as a translucent copy")
    add_body(parser)


def _play(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    whose = "run folder of train-task joystick, or a checkpoint in it (default: the bundled one)"
    add("path", type=Path, nargs="?", metavar="RUN", help=whose)
    where = "folder for recordings (default: the working folder)"
    add("--output", type=Path, default=Path(), metavar="FOLDER", help=where)
    add("--video", action="store_true", help="also make an mp4 of each recording")
    add("--port", type=int, default=8080, help="port of the page (default: 8080)")
    add(
        "--clips",
        type=Path,
        metavar="FILE",
        help="clips for the student to follow (default: the run's)",
    )
    add("--mjcf", metavar="FILE", help="the run's MJCF or body file, if it has moved")


def _add_teacher(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a teacher's episodes: clips, body and seed."""
    add = parser.add_argument
    add("--clips", type=Path, metavar="FILE", help="reference clips (default: the bundled ones)")
    add("--mjcf", metavar="FILE", help="MJCF file of a body to use in place of the teacher's")
    noise = "seed of the noise at the start (default: 0)"
    add("--seed", type=argument_types.count, default=0, metavar="N", help=noise)


# What adds the arguments of a command besides its configuration.
def _similarity(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.usage = "vnl-mjx similarity [options] RECORD [RECORD ...] OUT_FOLDER"
    paths = "records (vnl-mjx record), and last the folder to write"
    add("paths", nargs="+", type=Path, metavar="PATH", help=paths)
    which = "quantities to compare, as names or patterns (default: layers, latent, action, pose, inputs)"
    add("--quantities", type=argument_types.names, metavar="NAME,...", help=which)
    units = "recorded units on the first record's clock: NWB, Phy, .npz, .mat, .csv"
    add("--units", type=Path, metavar="FILE", help=units)
    session = "session of the record that the units belong to, if it has several"
    add("--session", metavar="NAME", help=session)
    smooth = "standard deviation of the units' smoothing in time, seconds (default: 0.05)"
    add("--smooth-s", type=argument_types.not_negative, default=0.05, metavar="S", help=smooth)
    block = "length of a block of time, the unit of cross-validation, seconds (default: 1)"
    add("--block-s", type=argument_types.positive, default=1.0, metavar="S", help=block)
    gap = "gap left out between blocks, seconds (default: 0.2)"
    add("--gap-s", type=argument_types.not_negative, default=0.2, metavar="S", help=gap)
    folds = "folds of the distances between behaviours: block or session (default: block)"
    add("--fold-by", choices=("block", "session"), default="block", metavar="WHAT", help=folds)


ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "preprocess": data_arguments.preprocess,
    "fit": data_arguments.fit,
    "body": data_arguments.body,
    "clips": data_arguments.clips,
    "gait": data_arguments.gait,
    "compare": _compare,
    "demo": _demo,
    "distill": _distill,
    "train-teacher": _train_teacher,
    "eval-teacher": _eval_teacher,
    "train-task": _train_task,
    "eval-task": _eval_task,
    "record": record_arguments.record,
    "encode": encode_arguments.encode,
    "rollout": _rollout,
    "similarity": _similarity,
    "plan": _plan,
    "export": _export,
    "inspect": _inspect,
    "replay-nan": _replay_nan,
    "view": _view,
    "play": _play,
    "doctor": _json,
}
