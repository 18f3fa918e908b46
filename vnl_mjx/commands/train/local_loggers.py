"""The loggers that every run has: a JSONL file and the console."""

import errno
import io
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from vnl_mjx.errors import UserError

T = TypeVar("T")

# Metrics on the console: label and name.
CONSOLE_METRICS = (
    ("loss", "loss/total"),
    ("mse", "loss/action_mse"),
    ("kl", "loss/kl"),
    ("reward", "episode/reward"),
)


class MetricsLogger(Protocol):
    """A receiver of named numbers."""

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of a run after `env_steps` environment steps."""
        ...

    def close(self) -> None:
        """Writes what is left. Nothing is logged afterwards."""
        ...


class JsonlLogger:
    """One JSON object per line, on the disk before `log` returns; a number that is not finite is null.

    Args:
        path: file to append to; its folder is there.

    Raises:
        UserError: the file cannot be written, here and in every method.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file = self._guard(lambda: _open(path))

    def log(self, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Appends one line."""
        row = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        line = json.dumps({"env_steps": env_steps, **row}) + "\n"
        self._guard(lambda: self._write(line.encode()))

    def truncate_after(self, env_steps: int) -> None:
        """Forgets lines later than `env_steps`, and a last line that a killed run left unfinished."""
        self._guard(lambda: self._truncate_after(env_steps))

    def close(self) -> None:
        """Closes the file."""
        self._guard(self._file.close)

    def _truncate_after(self, env_steps: int) -> None:
        self._file.close()
        lines = self._path.read_text("utf-8", errors="replace").splitlines(keepends=True)
        kept = [line for line in lines if _is_row(line, env_steps)]
        part = self._path.with_name(self._path.name + ".part")
        part.write_text("".join(kept), encoding="utf-8")
        os.replace(part, self._path)
        self._file = _open(self._path)

    def _write(self, line: bytes) -> None:
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _guard(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            raise UserError(
                f"{self._path}: cannot write metrics ({error.strerror}); free space there or give "
                "another run_dir"
            ) from error


class ConsoleLogger:
    """A progress bar on a terminal, one line per call elsewhere.

    Args:
        console: where to.
        total_steps: environment steps of the whole run.
        start_steps: environment steps already done.
        progress: "bar", "plain" or "auto".
        metrics: label and name of what is shown; a row with none of these is printed as it is.
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
        self._console.print(Text(text, style=style), soft_wrap=True)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()


def _open(path: Path) -> io.FileIO:
    """For appending, unbuffered, so that a line is in the file when it was written."""
    return path.open("ab", buffering=0)


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
