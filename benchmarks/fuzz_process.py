"""Runs functions in forks of this process, with their output in a file, and limits of time and memory."""

import faulthandler
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WAIT = 4  # other programs may use the processor too


@dataclass
class Ended:
    """How a process ended."""

    status: int  # negative: signal
    seconds: float
    cpu_s: float
    peak_bytes: int
    output: str
    hung: bool = False


def forked(function: Callable[[], int], output: Path, limit_s: float) -> Ended:
    """Runs a function in a fork with its output in a file; its result is the exit status.

    The process may use `limit_s` seconds of a processor, and wait for `WAIT` times as long.
    """
    sys.stdout.flush()
    started = time.monotonic()
    process = os.fork()
    if process == 0:
        _child(function, output, limit_s)
    watch = os.pidfd_open(process)
    hung = not select.select([watch], [], [], WAIT * limit_s)[0]
    os.close(watch)
    if hung:
        os.killpg(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    text = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    return Ended(
        status=os.waitstatus_to_exitcode(status),
        seconds=time.monotonic() - started,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        output=text,
        hung=hung or -signal.SIGXCPU == os.waitstatus_to_exitcode(status),
    )


def limit_memory(more: int) -> None:
    """Lets this process have so many bytes of addresses more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _child(function: Callable[[], int], output: Path, limit_s: float) -> None:
    status: object = 1
    try:
        os.setsid()
        file = os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
        for old, new in ((os.open(os.devnull, os.O_RDONLY), 0), (file, 1), (file, 2)):
            os.dup2(old, new)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.enable()
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), resource.RLIM_INFINITY))
        faulthandler.register(signal.SIGXCPU, chain=True)
        faulthandler.dump_traceback_later(WAIT * limit_s - 1)
        status = function()
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status & 0xFF if isinstance(status, int) else 1)
