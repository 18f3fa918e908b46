"""Shows compilation on the console while it runs, and its cost afterwards."""

import contextlib
import threading
import time

from vnl_mjx.commands.console import Console
from vnl_mjx.training.trainer import Trainer

POLL_S = 0.1
PLAIN_INTERVAL_S = 30.0


class CompileProgress:
    """Compiles a trainer's programs in the background, within a context.

    On a terminal a live line counts the seconds until the first program is ready; elsewhere a line is
    printed at the start and every 30 s. A last line gives time and memory.
    """

    def __init__(self, trainer: Trainer, console: Console, progress: str = "auto"):
        """Takes the trainer, whose `start_compiling` is called within the context, and how to show it."""
        self._trainer = trainer
        self._envs_per_device = trainer.num_envs // trainer.mesh.size
        self._console = console
        is_live = progress == "bar" or (progress == "auto" and console.is_terminal)
        self._live = console.status("compiling") if is_live else None
        self._something_runs, self._left = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="compile-progress", daemon=True)

    def __enter__(self) -> "CompileProgress":
        """Starts counting the seconds."""
        self._started = time.monotonic()
        if self._live is None:
            self._say("compiling")
        else:
            self._live.start()
        self._programs = self._trainer.programs  # traces, to know which programs there are
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stops the console's line."""
        self._left.set()
        self._thread.join()
        self._end_line()

    def wait(self) -> None:
        """Waits for the first program, and leaves the console's live line to others."""
        self._something_runs.wait()
        self._end_line()

    def figures(self) -> dict[str, float]:
        """Returns seconds, and bytes on each device, by metric name; {} until all is compiled."""
        found = {name: stage.program for name, stage in self._programs.items()}
        programs = {name: program for name, program in found.items() if program is not None}
        if len(programs) < len(found):
            return {}
        most = max(program.total_bytes for program in programs.values())
        seconds = {f"compile/{name}_seconds": program.seconds for name, program in programs.items()}
        return seconds | {
            "memory/device_bytes": float(most),
            "memory/bytes_per_env": most / self._envs_per_device,
        }

    def _watch(self) -> None:
        # A program that fails to compile raises when it is called.
        with contextlib.suppress(Exception):
            self._count()
        self._something_runs.set()

    def _count(self) -> None:
        next_line = PLAIN_INTERVAL_S
        while waiting := [name for name, s in self._programs.items() if s.program is None]:
            if len(waiting) < len(self._programs):
                self._something_runs.set()
            seconds = time.monotonic() - self._started
            text = f"compiling {waiting[0]}: {seconds:.0f} s"
            if self._live is not None:
                self._live.update(text)
            elif seconds >= next_line:
                self._say(text)
                next_line += PLAIN_INTERVAL_S
            if self._left.wait(POLL_S):
                return
        self._something_runs.set()
        figures = self.figures()
        times = ", ".join(f"{n} {figures[f'compile/{n}_seconds']:.1f} s" for n in self._programs)
        total, each = figures["memory/device_bytes"] / 1e6, figures["memory/bytes_per_env"] / 1e6
        self._say(
            f"compiled {times}; {total:,.1f} MB on each device, {each:.2g} MB per environment"
        )

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def _end_line(self) -> None:
        if self._live is not None:
            self._live.stop()
