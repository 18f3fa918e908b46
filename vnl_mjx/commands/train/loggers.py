"""Logs a run to a JSONL file and the console, and on request to Weights & Biases and TensorBoard.

Failures of the latter two never stop a run.
"""

import contextlib
import errno
import io
import json
import math
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from vnl_mjx.commands.console import Console
from vnl_mjx.commands.output import printable
from vnl_mjx.commands.train.run_folder import METRICS_FILE
from vnl_mjx.config.conversion import to_dict
from vnl_mjx.config.schema import WandbSection
from vnl_mjx.config.training import TrainingConfig
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.versions import how_to_install

Warn = Callable[[str], None]

# Metrics on the console: label and name.
CONSOLE_METRICS = (
    ("loss", "loss/total"),
    ("mse", "loss/action_mse"),
    ("kl", "loss/kl"),
    ("reward", "episode/reward"),
)


class JsonlLogger:
    """Writes one JSON object per line, on disk before `log` returns; non-finite numbers become null."""

    def __init__(self, path: Path):
        self._path = path
        self._open()

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Appends one line."""
        row = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = (json.dumps({"env_steps": env_steps, **row}) + "\n").encode()
        with self._writing():
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def truncate_after(self, env_steps: int) -> None:
        """Removes lines later than `env_steps`, and a last line that a killed run left unfinished."""
        self.close()
        part = self._path.with_name(self._path.name + ".part")
        with self._writing():
            lines = self._path.read_text("utf-8", errors="replace").splitlines(keepends=True)
            kept = [line for line in lines if _is_row(line, env_steps)]
            part.write_text("".join(kept), encoding="utf-8")
            os.replace(part, self._path)
        self._open()

    def close(self) -> None:
        """Closes the file."""
        with self._writing():
            self._file.close()

    def _open(self) -> None:
        with self._writing():  # unbuffered, so that each line reaches the file at once
            self._file = self._path.open("ab", buffering=0)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self._path}: cannot write metrics ({error.strerror}); free space there or give "
                "another run_dir"
            ) from error


class ConsoleLogger:
    """Draws a progress bar on a terminal; prints one line per call elsewhere.

    `metrics` holds label and name of the shown metrics; a row with none of them is printed as it is.
    """

    def __init__(
        self,
        console: Console,
        total_steps: int,
        start_steps: int = 0,
        progress: str = "auto",
        metrics: Sequence[tuple[str, str]] = CONSOLE_METRICS,
    ):
        self._console, self._total, self._metrics = console, total_steps, metrics
        self._start = self._last = (time.monotonic(), start_steps)
        self._bar = None
        if progress == "bar" or (progress == "auto" and self._console.is_terminal):
            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("compiling", total=total_steps, completed=start_steps)
            self._bar.start()

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Shows the state of the run."""
        shown = [f"{label} {metrics[name]:.4g}" for label, name in self._metrics if name in metrics]
        if not shown:
            row = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            self.note(f"at {env_steps:,} steps: {row}")
            return
        now = time.monotonic()
        rate = _rate(self._last, (now, env_steps))
        left = (self._total - env_steps) / max(_rate(self._start, (now, env_steps)), 1e-9)
        self._last = (now, env_steps)
        text = "  ".join([*shown, f"{rate:,.0f} steps/s"])
        if self._bar is None:
            share = f"{env_steps:,}/{self._total:,} steps ({env_steps / self._total:.0%})"
            self.note(f"{share}  {text}  {_clock(left)} left")
        else:
            self._bar.update(self._task, completed=env_steps, description=text)

    def note(self, text: str, style: str = "") -> None:
        """Prints a line of text, above the bar where there is one."""
        self._console.print(Text(printable(text), style=style), soft_wrap=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()


class Service(NamedTuple):
    """Defines a third party's logger: `log` takes environment steps and metrics, `close` ends it."""

    log: Callable[[int, Mapping[str, float]], Any]
    close: Callable[[], Any]


class OptionalLogger:
    """Wraps a `Service`: a failure, also in `build`, prints a warning and ends the service, not the run."""

    def __init__(self, name: str, build: Callable[[], Service], warn: Warn):
        self._name, self._warn = name, warn
        self._is_off = False
        self._service = self._attempt(build)

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Logs the metrics if the service still works."""
        self._attempt(lambda: self._service.log(env_steps, metrics))

    def close(self) -> None:
        """Closes the service if it still works."""
        self._attempt(lambda: self._service.close())

    def _attempt(self, action: Callable[[], Any]) -> Any:
        if self._is_off:
            return None
        try:
            return action()
        except Exception as error:  # a third party's service may raise anything
            self._is_off = True
            self._warn(f"{self._name} is off for this run: {first_line(error)}")


def open_wandb(section: WandbSection, run_dir: Path, config: dict[str, Any]) -> Service:
    """Begins a Weights & Biases run; a resumed run folder continues its run there."""
    try:
        import wandb
    except ImportError as error:
        raise RuntimeError(_missing("wandb")) from error
    id_file = run_dir / "wandb_run_id"
    if not id_file.exists():
        id_file.write_text(uuid.uuid4().hex[:8], encoding="ascii")
    with _nobody_at_the_keyboard():
        run = wandb.init(
            project=section.project,
            group=section.group_name,
            name=section.exp_name,
            mode=section.mode,
            id=id_file.read_text(encoding="ascii").strip(),
            resume="allow" if section.mode == "online" else None,
            dir=run_dir,
            config=config,
            settings=wandb.Settings(silent=True, console="off", init_timeout=30, finish_timeout=60),
        )
    return Service(lambda env_steps, metrics: run.log(dict(metrics), step=env_steps), run.finish)


def open_tensorboard(log_dir: Path, start_steps: int) -> Service:
    """Opens TensorBoard event files; events later than `start_steps` of an earlier start are dropped."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise RuntimeError(_missing("tensorboard")) from error
    writer = SummaryWriter(str(log_dir), purge_step=start_steps + 1 if start_steps else None)
    for file in log_dir.glob(f"events.*.{socket.gethostname()}*"):  # runs are shared
        file.rename(
            file.with_name(f"{file.name.partition(f'.{socket.gethostname()}')[0]}.{os.getpid()}")
        )

    def log(env_steps: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if math.isfinite(value):
                writer.add_scalar(name, float(value), env_steps)
        writer.flush()

    return Service(log, writer.close)


class Loggers:
    """Logs to metrics.jsonl and the console, and to Weights & Biases and TensorBoard if configured.

    Rows later than `resume_from`, the environment steps of the resumed checkpoint, are removed. With
    several processes, only one `writes` anything but the console.
    """

    def __init__(
        self,
        config: TrainingConfig,
        run_dir: Path,
        console: Console,
        resume_from: int | None = None,
        console_metrics: Sequence[tuple[str, str]] = CONSOLE_METRICS,
        writes: bool = True,
    ):
        start = resume_from or 0
        self._loggers: list[JsonlLogger | ConsoleLogger | OptionalLogger] = []
        if writes:
            jsonl = JsonlLogger(run_dir / METRICS_FILE)
            jsonl.truncate_after(start)
            self._loggers.append(jsonl)
        total, progress = config.num_steps, config.logging_config.progress
        self._console = ConsoleLogger(console, total, start, progress, console_metrics)
        self._loggers.append(self._console)
        if not writes:
            return
        section = config.wandb_config
        if section.mode != "disabled":
            wandb = partial(open_wandb, section, run_dir, to_dict(config))
            self._loggers.append(OptionalLogger("Weights & Biases", wandb, self.warn))
        if config.logging_config.tensorboard:
            tensorboard = partial(open_tensorboard, run_dir / "tensorboard", start)
            self._loggers.append(OptionalLogger("TensorBoard", tensorboard, self.warn))

    def log(self, env_steps: int, metrics: Mapping[str, float | None]) -> None:
        """Logs metrics everywhere; an undefined metric (None) counts as NaN."""
        row = {k: float("nan") if value is None else float(value) for k, value in metrics.items()}
        for logger in self._loggers:
            logger.log(env_steps, row)

    def warn(self, text: str) -> None:
        """Prints one warning."""
        self._console.note(f"warning: {text}", style="yellow")

    def finish(self) -> None:
        """Ends the progress bar, so that later output appears below it."""
        self._console.close()

    def close(self) -> None:
        """Closes every logger."""
        for logger in self._loggers:
            logger.close()


def _rate(before: tuple[float, int], after: tuple[float, int]) -> float:
    return (after[1] - before[1]) / max(after[0] - before[0], 1e-9)


def _clock(seconds: float) -> str:
    # A run ends with a whole update, so the last lines may stand beyond the total.
    minutes, seconds = divmod(round(min(max(seconds, 0), 359_999)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _is_row(line: str, env_steps: int) -> bool:
    try:
        return line.endswith("\n") and json.loads(line)["env_steps"] <= env_steps
    except (ValueError, TypeError, KeyError):
        return False


def _missing(extra: str) -> str:
    return f"not installed; run {how_to_install(extra)}"


@contextlib.contextmanager
def _nobody_at_the_keyboard() -> Iterator[None]:
    """Hides the terminal, so that a missing API key is an error and not a question."""
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = stdin
