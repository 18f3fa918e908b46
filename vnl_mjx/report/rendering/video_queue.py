"""Draws videos in other processes at the lowest priority, in the background."""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path

from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.report.rendering.gl import choose_backend
from vnl_mjx.report.rendering.side_by_side import SideBySide, render_side_by_side
from vnl_mjx.walkers.walker import Walker, build_walker

_LOWEST_PRIORITY = 19
_STOP_TIMEOUT_S = 10.0


class VideoQueue:
    """Draws one video after another; failures there do not fail this process.

    As a context manager it cancels unfinished videos when the block is left, also by Ctrl-C, and leaves no
    process and no partial file. The drawing processes end with this process in any case.
    """

    def __init__(self, walker: WalkerConfig, num_processes: int = 1):
        """Starts a process, which first finds a GL back end; all videos show `walker`.

        More processes start, up to `num_processes`, when videos wait.
        """
        context = multiprocessing.get_context("spawn")
        # Nothing is sent through this pipe; its end closes with this process, or in `stop`.
        parent_end, self._open_end = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(num_processes, context, _begin, (parent_end,))
        self._walker = walker
        self._jobs: dict[str, tuple[Path, Future[None]]] = {}
        self._pool.submit(_prepare, walker)

    def __enter__(self) -> "VideoQueue":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add(self, name: str, motions: SideBySide, path: Path) -> None:
        """Queues one more mp4, with a new name."""
        if name in self._jobs:
            raise ValueError(f"{name=} is asked for already")
        try:
            job = self._pool.submit(_draw, self._walker, motions, path.absolute())
        except BrokenProcessPool as error:
            job = Future[None]()
            job.set_exception(error)
        self._jobs[name] = path, job

    @property
    def is_done(self) -> bool:
        """Whether all queued videos are drawn, or have failed."""
        return all(job.done() for _, job in self._jobs.values())

    def finish(
        self, progress: Callable[[int, int], None] | None = None, timeout_s: float | None = None
    ) -> tuple[dict[str, Path], list[str]]:
        """Waits for all videos, and gives up the rest after a time limit.

        `progress` is called with the numbers of finished and of all videos.

        Returns:
            The mp4 files by name, in their order, and a sentence for each reason why some are missing.
        """
        jobs = [job for _, job in self._jobs.values()]
        with contextlib.suppress(TimeoutError):
            for done, _ in enumerate(as_completed(jobs, timeout_s), 1):
                if progress is not None:
                    progress(done, len(jobs))
        drawn: dict[str, Path] = {}
        errors: list[str] = []
        missing: dict[str, str] = {}
        for name, (path, job) in self._jobs.items():
            try:
                job.result(timeout=0)
                drawn[name] = path
            except TimeoutError:
                missing[name] = f"not drawn within {timeout_s:g} s"
            except BrokenProcessPool:
                missing[name] = "a process that draws was killed or has crashed"
            except UserError as error:
                if str(error) not in errors:  # reports only once that a machine cannot draw
                    errors.append(str(error))
            except Exception as error:
                errors.append(f"{path.name}: {type(error).__name__}: {first_line(error)}")
        if missing:
            reason = next(iter(missing.values()))
            errors.append(f"videos: {', '.join(missing)} left out: {reason}")
        self.stop()
        return drawn, errors

    def stop(self) -> None:
        """Ends the processes, finished or not, and removes their partial files."""
        self._open_end.close()
        self._pool.shutdown(cancel_futures=True)


def _begin(parent_end: Connection) -> None:
    """Prepares a process to be ended, and silences it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops this
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    threading.Thread(target=_end_with_parent, args=(parent_end,), daemon=True).start()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # drivers and encoders print a lot
    os.dup2(nothing, 2)


def _end_with_parent(parent_end: Connection) -> None:
    with contextlib.suppress(EOFError):
        parent_end.recv()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_STOP_TIMEOUT_S)
    os._exit(1)  # in case a driver hangs


def _prepare(config: WalkerConfig) -> None:
    _walker(config)


@functools.cache
def _walker(config: WalkerConfig) -> Walker | UserError:
    """Returns the walker, or why this machine cannot draw it; tried once, before the priority is lowered.

    On a busy machine, a trial at the lowest priority would time out.
    """
    try:
        choose_backend()
        return build_walker(config)
    except UserError as error:
        return error
    finally:
        with contextlib.suppress(OSError, AttributeError):
            os.nice(_LOWEST_PRIORITY)


def _draw(config: WalkerConfig, motions: SideBySide, path: Path) -> None:
    try:
        walker = _walker(config)
        if isinstance(walker, UserError):
            raise walker
        render_side_by_side(walker, motions, path)
    except SystemExit as error:  # otherwise the pool would continue
        os._exit(int(str(error.code)))
