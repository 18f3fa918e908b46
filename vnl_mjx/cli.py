"""The `vnl-mjx` command. Each sub-command imports what it needs when it runs, so that help is quick."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from vnl_mjx import __version__
from vnl_mjx.commands.data import data_arguments
from vnl_mjx.commands.train import teacher_arguments
from vnl_mjx.commands.view import view_arguments
from vnl_mjx.errors import USER_ERROR_EXIT_STATUS, UserError

INTERRUPTED_EXIT_STATUS = 130

# Among the paths of `preprocess`; a file whose name looks so is given as ./name.
_OVERRIDE = re.compile(r"\+{0,2}[A-Za-z_][\w.]*=")

_DISTILL_HELP = """\
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
  vnl-mjx distill --show-config
"""
_EVAL_HELP = """\
Evaluate a student against its teacher on the same clips and starts, and write a report.

RUN/report gets report.html (opens without a network), metrics.json, tables as CSV, pictures, videos.

examples:
  vnl-mjx eval runs/rat1
  vnl-mjx eval runs/rat1 eval_config.starts_per_clip=8 eval_config.clips=held_out
  vnl-mjx eval runs/rat1 'compare_with=[runs/rat2]' video_config.num_clips=0
  vnl-mjx eval checkpoint_path=runs/rat1/checkpoints/409600 output_dir=reports/early
"""
_DEMO_HELP = """\
Show everything with the bundled teacher: what it is and does, a student that learns from it, and the
report of both. About five minutes on two cores; with --quick about a minute. Each step is a command,
which is printed and can be run alone.

examples:
  vnl-mjx demo
  vnl-mjx demo --quick --run-dir runs/look
"""
_COMPARE_HELP = """\
Put several evaluations side by side: figures, and paired differences from the first with intervals.

examples:
  vnl-mjx compare runs/rat1 runs/rat2
  vnl-mjx compare runs/rat1 reports/early --output reports/both
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status.

    Args:
        argv: arguments after the program's name, those of the process by default.

    Returns:
        0 when done, 2 after a mistake in what the user gave, 130 after Ctrl-C, else what the sub-command
        says.
    """
    try:
        args = _parse(argv)
        return args.command(args)
    except UserError as error:
        print("vnl-mjx: error:", " ".join(str(error).splitlines()), file=sys.stderr)
        return USER_ERROR_EXIT_STATUS
    except KeyboardInterrupt:
        print("vnl-mjx: interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_STATUS


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    given = sys.argv[1:] if argv is None else argv
    parser = build_parser(given[0] if given else None)
    args, rest = parser.parse_known_args(argv)
    # argparse takes `a=1 --json b=2` for one list of overrides and a stranger.
    if rest and (rest[0].startswith("-") or not hasattr(args, "overrides")):
        parser.error(f"unknown argument {rest[0]}")
    if rest:
        args.overrides += rest
    return args


def build_parser(wanted: str | None) -> argparse.ArgumentParser:
    """Returns the parser of all commands; arguments are added for the command `wanted` alone."""
    parser = _Parser(
        prog="vnl-mjx",
        description="Motion capture in, motor primitives out.",
        epilog="`vnl-mjx COMMAND --help` shows the arguments of a command, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vnl-mjx {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name, command, summary, description=None, *, overrides=False, json=False):
        sub = commands.add_parser(
            name,
            help=summary,
            description=description or summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(command=command)
        if overrides:
            sub.add_argument("overrides", nargs="*", metavar="key=value", help="configuration")
            sub.add_argument("--config", type=Path, metavar="FILE", help="YAML under the overrides")
            sub.add_argument(
                "--show-config", action="store_true", help="print the configuration and stop"
            )
        if json:
            sub.add_argument("--json", action="store_true", help="JSON instead of a table")
        return sub

    preprocess = add(
        "preprocess",
        _preprocess,
        "turn recordings into reference clips",
        data_arguments.PREPROCESS_HELP,
        overrides=True,
    )
    data_arguments.add_preprocess_arguments(preprocess)
    clips = add("clips", _clips, "edit and export clip files", data_arguments.CLIPS_HELP)
    data_arguments.add_clips_commands(clips, _clips)
    gait = add("gait", _gait, "make synthetic clips of a walking rat", data_arguments.GAIT_HELP)
    if wanted == "gait":  # its options have the generator's defaults, which load NumPy
        data_arguments.add_gait_arguments(gait)
    add("distill", _distill, "train a student VAE from a teacher", _DISTILL_HELP, overrides=True)
    add("eval", _eval, "measure a student, and write a report", _EVAL_HELP, overrides=True)
    compare = add("compare", _compare, "put evaluations side by side", _COMPARE_HELP)
    compare.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run or report folder")
    compare.add_argument(
        "--output",
        type=Path,
        default=Path("comparison"),
        metavar="FOLDER",
        help="of comparison.html (default: comparison)",
    )
    demo = add("demo", _demo, "show everything with what is bundled", _DEMO_HELP)
    demo.add_argument("--quick", action="store_true", help="less of everything, in about a minute")
    demo.add_argument(
        "--run-dir",
        type=Path,
        metavar="FOLDER",
        help="of the student's run (default: runs/demo, runs/demo-quick)",
    )
    train_teacher = add(
        "train-teacher",
        _train_teacher,
        "train a teacher by PPO to track clips",
        teacher_arguments.TRAIN_TEACHER_HELP,
        overrides=True,
    )
    teacher_arguments.add_train_teacher_arguments(train_teacher)
    eval_teacher = add(
        "eval-teacher",
        _eval_teacher,
        "measure how well a teacher tracks clips",
        teacher_arguments.EVAL_TEACHER_HELP,
    )
    teacher_arguments.add_eval_teacher_arguments(eval_teacher)
    rollout = add(
        "rollout", _rollout, "make clips by rolling a teacher out", teacher_arguments.ROLLOUT_HELP
    )
    teacher_arguments.add_rollout_arguments(rollout)
    inspect = add("inspect", _inspect, "describe a checkpoint or a reference file", json=True)
    inspect.add_argument("path", type=Path, help="checkpoint or run folder, or HDF5 file")
    view = add(
        "view", _view, "show a clip or a policy: video, pictures, browser", view_arguments.VIEW_HELP
    )
    view_arguments.add_view_arguments(view)
    add("doctor", _doctor, "say what this machine can do", json=True)
    return parser


def _configure(args: argparse.Namespace, load: Callable[..., Any]) -> Any:
    """The configuration, or None where it was only to be shown, and has been."""
    config = load(args.overrides, args.config)
    if not args.show_config:
        return config
    from vnl_mjx.config.loading import to_yaml

    print(to_yaml(config), end="")
    return None


def _preprocess(args: argparse.Namespace) -> int:
    from vnl_mjx.config.loading import load_preprocess_config

    paths = [Path(text) for text in args.overrides if not _OVERRIDE.match(text)]
    args.overrides = [text for text in args.overrides if _OVERRIDE.match(text)]
    config = _configure(args, load_preprocess_config)
    if config is None:
        return 0
    if len(paths) < 2:
        raise UserError(
            f"preprocess: expected at least one file to read and one to write, found {len(paths)} "
            "paths; see vnl-mjx preprocess --help"
        )
    from vnl_mjx.commands.data import preprocess

    return preprocess.run(preprocess.with_overwrite(config, args.overwrite), paths[:-1], paths[-1])


def _clips(args: argparse.Namespace) -> int:
    from vnl_mjx.commands.data import edit_clips as clips

    return clips.run(args)


def _gait(args: argparse.Namespace) -> int:
    from vnl_mjx.commands.data import make_gait as gait

    return gait.run(args)


def _distill(args: argparse.Namespace) -> int:
    from vnl_mjx.config.loading import load_distillation_config

    config = _configure(args, load_distillation_config)
    if config is None:
        return 0
    from vnl_mjx.commands.train.training_run import train

    return train(config)


def _compare(args: argparse.Namespace) -> int:
    from vnl_mjx.commands.evaluate import compare

    return compare.run(args)


def _demo(args: argparse.Namespace) -> int:
    from vnl_mjx.commands import demo

    default = Path("runs") / ("demo-quick" if args.quick else "demo")
    return demo.run((args.run_dir or default).expanduser(), args.quick, main)


def _eval(args: argparse.Namespace) -> int:
    from vnl_mjx.config.loading import load_evaluation_config

    paths = [text for text in args.overrides if not _OVERRIDE.match(text)]
    if len(paths) > 1:
        raise UserError(f"eval: expected one run or checkpoint, found {', '.join(paths)}")
    args.overrides = [text for text in args.overrides if _OVERRIDE.match(text)]
    args.overrides += [f"checkpoint_path='{path}'" for path in paths]
    config = _configure(args, load_evaluation_config)
    if config is None:
        return 0
    from vnl_mjx.commands.evaluate import eval_student as evaluate

    return evaluate.run(config)


def _train_teacher(args: argparse.Namespace) -> int:
    from vnl_mjx.config.loading import load_teacher_config

    config = _configure(args, partial(load_teacher_config, preset=args.preset))
    if config is None:
        return 0
    from vnl_mjx.commands.train.training_run import train

    return train(config)


def _eval_teacher(args: argparse.Namespace) -> int:
    from vnl_mjx.commands.evaluate import eval_teacher

    return eval_teacher.run(args)


def _rollout(args: argparse.Namespace) -> int:
    from vnl_mjx.commands.data import rollout_clips

    return rollout_clips.run(args)


def _inspect(args: argparse.Namespace) -> int:
    from vnl_mjx.commands.data import inspect

    return inspect.run(args.path, as_json=args.json)


def _view(args: argparse.Namespace) -> int:
    from vnl_mjx.report.rendering.gl import requested_backends

    if not args.browser:
        requested_backends()  # MuJoCo's import answers a wrong MUJOCO_GL with a traceback
    from vnl_mjx.commands.view import view

    given = {name: getattr(args, name) for name in view.ViewOptions.__dataclass_fields__}
    return view.run(args.path, view.ViewOptions(**given))


def _doctor(args: argparse.Namespace) -> int:
    from vnl_mjx.commands import doctor

    return doctor.run(as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
