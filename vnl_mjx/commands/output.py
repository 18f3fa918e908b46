"""Checks outputs, leaves no half-written file behind, and writes commands as the user types them."""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from vnl_mjx.errors import UserError

TERMINATED_EXIT_STATUS = 128 + signal.SIGTERM
_AGAIN_SECONDS = 0.05
_ENDS = (1500, 500)  # characters of a message that are shown at most
# but for tabs and line ends
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def check_output(output: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raises UserError if `output` is an input, exists already, or does not end in .h5.

    With `overwrite`, files that this package wrote may exist; a recording that was meant as an input may not.
    """
    from vnl_mjx.clips.hdf5_access import check_replaceable  # slow to import, and help is quick

    if any(output.exists() and path.exists() and path.samefile(output) for path in inputs):
        raise UserError(f"{output}: is also an input; give another file to write")
    if output.exists():
        check_replaceable(output, overwrite)
    if output.suffix not in (".h5", ".hdf5"):
        raise UserError(f"{output}: expected the name of an .h5 file to write, last of the paths")


def as_typed(text: str) -> str:
    """Puts `uv run` before the commands that a text names, if `uv run` started this process."""
    if "UV_RUN_RECURSION_DEPTH" not in os.environ:  # which uv sets
        return text
    return re.sub(r"(?<![\w/.-])(?<!uv run )vnl-mjx (?=[a-z])", "uv run vnl-mjx ", text)


def one_line(message: str) -> str:
    """Returns a message as one line for a terminal; of a very long one the middle is left out."""
    left_out = len(message) - sum(_ENDS)
    if left_out > 0:
        first, last = _ENDS
        message = f"{message[:first]} [... {left_out} characters ...] {message[-last:]}"
    return printable(as_typed(" ".join(message.splitlines())))


def printable(text: str) -> str:
    """Returns a text as a terminal may show it: without characters that steer it, or that turn its order."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextlib.contextmanager
def terminate_cleanly() -> Iterator[None]:
    """Makes SIGTERM raise SystemExit in the block, so that open files are closed or removed.

    Python drops an exception in a finalizer or in a callback of its garbage collector (JAX has one): it is
    raised again until the block ends.
    """

    def stop(number: int, frame: object) -> None:
        if not _is_stopping():
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            raise SystemExit(TERMINATED_EXIT_STATUS)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _is_stopping() -> bool:
    """Returns whether the running code cleans up after a SystemExit."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, SystemExit):
        error = error.__context__
    return error is not None
