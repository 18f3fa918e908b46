"""The `vnl-mjx` command. Each sub-command imports what it needs when it runs, so that help is quick."""

import argparse
import contextlib
import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from vnl_mjx import __version__
from vnl_mjx.commands.arguments import ARGUMENTS, WITHOUT_CODE, add_allow_code, add_configuration
from vnl_mjx.commands.descriptions import HELP
from vnl_mjx.commands.output import one_line
from vnl_mjx.config.renamed import shorter
from vnl_mjx.errors import USER_ERROR_EXIT_STATUS, UserError, first_line, nearest
from vnl_mjx.extensions import allow

INTERRUPTED_EXIT_STATUS = 130

# Overrides stand among paths; a file with such a name is given as ./name.
_OVERRIDE = re.compile(r"\+{0,2}[A-Za-z_][\w.]*=")


# Errors of a standard output on a full disk, or that nobody reads any more.
_CANNOT_PRINT = {errno.ENOSPC, errno.EPIPE, errno.EIO}

# Errors that any file may meet: of a path that no file can have (pathlib's questions, such as is_dir, raise
# them), and of a disk.
_ONE_LINE = {
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), "read"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS), "written"),
}

# What JAX says about its variables, which it reads while it is imported.
_JAX_VARIABLE = re.compile(r"for (JAX flag|environment '?JAX)")

# Options by which Hydra and others sweep over settings.
_SWEEP = ("-m", "--multirun")


class _Parser(argparse.ArgumentParser):
    commands: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, *others: Any, **named: Any) -> Any:
        """Takes name=value for --name=value too, so that settings read alike in every command."""
        words, options = list[str](args or ()), self._option_string_actions
        for i, word in enumerate(words):
            before = options.get(words[i - 1]) if i else None
            is_value = before is not None and before.nargs != 0
            name, equals, value = word.partition("=")
            option = f"--{name.replace('_', '-')}"
            if not is_value and equals and option in options:
                words[i] = f"{option}={value}"
        return super().parse_known_args(words, *others, **named)

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
        args = parse(argv)
        allow(*getattr(args, "allow_code", ()))
        with _own_drawing(), _printed_warnings():
            status = args.command(args)
        hint = shorter(args.name, args.overrides) if hasattr(args, "overrides") else None
        if hint and _leads():
            print("vnl-mjx:", hint, file=sys.stderr)
        return status
    except UserError as error:
        return _refuse(str(error))
    except ValueError as error:
        if not _JAX_VARIABLE.search(str(error)):
            raise
        return _refuse(f"{first_line(error)}; set or unset that variable of the environment")
    except OSError as error:
        if error.errno in _ONE_LINE and error.filename is not None:
            path, how = error.filename2 or error.filename, _ONE_LINE[error.errno]
            return _refuse(f"{str(path)[:100]}: cannot be {how} ({error.strerror})")
        if error.errno not in _CANNOT_PRINT or error.filename is not None:
            raise
        # or Python tries to print what is left, and reports that too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _refuse(f"cannot print ({error.strerror}); send the output elsewhere")
    except MemoryError:
        return _refuse("the memory is full; end other programs, or give less data at once")
    except KeyboardInterrupt:
        print("vnl-mjx: interrupted", file=sys.stderr)
        return INTERRUPTED_EXIT_STATUS


class _Printed(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print("vnl-mjx: warning:", one_line(record.getMessage()), file=sys.stderr)


@contextlib.contextmanager
def _printed_warnings() -> Iterator[None]:
    """Prints what the package logs, a line each, as long as the block runs."""
    logger, handler = logging.getLogger("vnl_mjx"), _Printed()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def _refuse(message: str) -> int:
    print("vnl-mjx: error:", one_line(message), file=sys.stderr)
    return USER_ERROR_EXIT_STATUS


def _leads() -> bool:
    """Returns whether this process prints; only a training, whose module is loaded then, may have several."""
    processes = sys.modules.get("vnl_mjx.commands.train.processes")
    return processes is None or processes.is_first()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the arguments of a command line; raises UserError where it cannot be understood."""
    words = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    parser = build_parser(words[0])
    if not words[0].startswith("-") and words[0] not in parser.commands:
        close = nearest(words[0], parser.commands)
        hint = f"did you mean {close}" if close else f"there are {', '.join(parser.commands)}"
        parser.error(f"no command {words[0]!r}; {hint}")
    if found := next((word for word in words if word in _SWEEP), None):
        raise UserError(
            f"{found}: one command is one run; for several, loop in the shell, each with its own run_dir"
        )
    args, rest = parser.parse_known_args(words)
    # argparse does not accept `b=2` in `a=1 --json b=2`.
    settings = getattr(args, "overrides", getattr(args, "words", None))
    if rest and (rest[0].startswith("-") or settings is None):
        parser.error(f"unknown argument {rest[0]}")
    if rest:
        settings += rest
    return args


@contextlib.contextmanager
def _own_drawing() -> Iterator[None]:
    """Hides MPLBACKEND and MUJOCO_GL from Matplotlib and MuJoCo, which fail if they name a missing back end.

    A notebook's shell names a Matplotlib back end that only the notebook has; MuJoCo loads what MUJOCO_GL
    says while it is imported. Pictures here need neither, and what draws with MuJoCo reads MUJOCO_GL itself.
    """
    plots, wanted = os.environ.get("MPLBACKEND"), os.environ.pop("MUJOCO_GL", None)
    os.environ["MPLBACKEND"] = "agg"
    try:
        try:
            import mujoco  # noqa: F401
        finally:
            if wanted is not None:
                os.environ["MUJOCO_GL"] = wanted
        yield
    finally:
        os.environ.pop("MPLBACKEND")
        if plots is not None:
            os.environ["MPLBACKEND"] = plots


def build_parser(wanted: str) -> _Parser:
    """Returns the parser of all commands; arguments are added for the command `wanted` alone."""
    parser = _Parser(
        prog="vnl-mjx",
        description="Motion capture in, motor primitives out.",
        epilog="`vnl-mjx COMMAND --help` shows the arguments of a command, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vnl-mjx {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name, command, summary, *, overrides=False):
        sub = commands.add_parser(
            name,
            help=summary,
            description=HELP.get(name, summary[0].upper() + summary[1:] + "."),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.set_defaults(command=command, name=name)
        if name != wanted:
            return
        if name not in WITHOUT_CODE:
            add_allow_code(sub)
        if overrides:
            add_configuration(sub, name)
        if name in ARGUMENTS:
            ARGUMENTS[name](sub)

    add("preprocess", _preprocess, "turn recordings into reference clips", overrides=True)
    add("fit", _module("data.fit_keypoints"), "fit a body to key points of cameras")
    add("body", _body, "make a body's file from its MJCF, and try the body")
    add("clips", _module("data.edit_clips"), "edit and export clip files")
    add("gait", _module("data.make_gait"), "make synthetic clips of a walking rat")
    add("plan", _module("data.plan_clips"), "make physically feasible clips, without a policy")
    add("distill", _distill, "train a student VAE from a teacher", overrides=True)
    add("eval", _eval, "measure a student, and write a report", overrides=True)
    add("compare", _module("evaluate.compare"), "compare evaluations side by side")
    add("demo", _demo, "run every step with the bundled teacher and clips")
    add("train-teacher", _train_teacher, "train a teacher by PPO to track clips", overrides=True)
    add(
        "train-task", _train_task, "train a policy in the latent space of a student", overrides=True
    )
    evaluate = _module("evaluate.eval_teacher")
    add("eval-teacher", evaluate, "measure how well a teacher tracks clips")
    add("eval-task", _module("evaluate.eval_task"), "measure how well a policy does its task")
    add("record", _module("neural.record"), "record a network's activity along a recording")
    add("encode", _module("neural.encode"), "explain recorded units by a network's activity")
    add("rollout", _module("data.rollout_clips"), "make clips from a teacher's rollouts")
    add("export", _module("data.export"), "write a checkpoint for track-mjx, ONNX or NumPy")
    similarity = _module("neural.similarity")
    add("similarity", similarity, "compare layers, networks and neural units")
    add("inspect", _module("data.inspect"), "describe a checkpoint or a reference file")
    add("replay-nan", _module("data.replay_nan"), "show where a step of a training diverged")
    add("view", _view, "show a clip or a policy: video, pictures, browser")
    add("play", _module("view.play"), "drive the rat in the browser")
    add("doctor", _module("doctor"), "check what this machine can run")
    parser.commands = tuple(commands.choices)
    return parser


def _module(name: str) -> Callable[[argparse.Namespace], int]:
    """Returns a command that calls `run` of the module `name` under `vnl_mjx.commands`."""
    return lambda args: import_module(f"vnl_mjx.commands.{name}").run(args)


def _configure(args: argparse.Namespace, load: str, **options: Any) -> Any:
    """Returns the configuration; prints it and returns None if the user asked to see it."""
    from vnl_mjx.config import loading

    paths = _take_paths(args)
    config = getattr(loading, load)(args.overrides, args.config, paths=paths, **options)
    if not args.show_config:
        return config
    print(loading.to_yaml(config), end="")
    return None


def _take_paths(args: argparse.Namespace) -> list[str]:
    """Returns the paths among the overrides, and removes them there."""
    paths = [text for text in args.overrides if not _OVERRIDE.match(text)]
    args.overrides = [text for text in args.overrides if _OVERRIDE.match(text)]
    return paths


def _body(args: argparse.Namespace) -> int:
    from vnl_mjx.commands.data import make_body
    from vnl_mjx.config.loading import load_preprocess_config

    paths = [text for text in args.words if not _OVERRIDE.match(text)]
    settings = [text for text in args.words if _OVERRIDE.match(text)]
    if len(paths) not in (1, 2):
        raise UserError(
            f"body: expected MJCF [OUT], found {len(paths)} paths; see vnl-mjx body --help"
        )
    if wrong := next((text for text in settings if not text.startswith("source_config.")), None):
        raise UserError(
            f"{wrong}: expected a setting of source_config, which says how to read --motion"
        )
    args.mjcf, args.output = paths[0], Path(paths[1]) if len(paths) == 2 else None
    return make_body.run(args, load_preprocess_config(settings).source_config)


def _preprocess(args: argparse.Namespace) -> int:
    paths = [Path(text) for text in _take_paths(args)]
    args.overrides += ["output_config.overwrite=true"] if args.overwrite else []
    config = _configure(args, "load_preprocess_config")
    if config is None:
        return 0
    if len(paths) < 2:
        raise UserError(
            f"preprocess: expected at least one file to read and one to write, found {len(paths)} "
            "paths; see vnl-mjx preprocess --help"
        )
    from vnl_mjx.commands.data import preprocess

    return preprocess.run(config, paths[:-1], paths[-1])


def _distill(args: argparse.Namespace) -> int:
    return _train(_configure(args, "load_distillation_config", preset=args.preset))


def _train_teacher(args: argparse.Namespace) -> int:
    return _train(_configure(args, "load_teacher_config", preset=args.preset, body_of=_body_of))


def _body_of(paths: Sequence[str]) -> str | None:
    from vnl_mjx.commands.data.bodies import body_of_clips

    return body_of_clips(paths)


def _train_task(args: argparse.Namespace) -> int:
    return _train(_configure(args, "load_task_config"))


def _train(config: Any) -> int:
    if config is None:
        return 0
    from vnl_mjx.commands.train import training_run

    return training_run.train(config)


def _eval(args: argparse.Namespace) -> int:
    config = _configure(args, "load_evaluation_config")
    if config is None:
        return 0
    from vnl_mjx.commands.evaluate import eval_student

    return eval_student.run(config)


def _demo(args: argparse.Namespace) -> int:
    from vnl_mjx.commands import demo

    default = Path("runs") / ("demo-quick" if args.quick else "demo")
    return demo.run((args.run_dir or default).expanduser(), args.quick, main)


def _view(args: argparse.Namespace) -> int:
    is_policy = args.path is None or args.path.expanduser().is_dir()
    return _module("view.view_policy" if is_policy else "view.view")(args)


if __name__ == "__main__":
    sys.exit(main())
