"""Where a command may write, and that it leaves no half-written file behind."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from vnl_mjx.errors import UserError

TERMINATED_EXIT_STATUS = 128 + signal.SIGTERM


def check_output(output: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raises UserError where writing `output` would harm something."""
    if any(output.exists() and path.exists() and path.samefile(output) for path in inputs):
        raise UserError(f"{output}: is also an input; give another file to write")
    if output.exists() and not overwrite:
        raise UserError(f"{output}: exists; give another name, or --overwrite to replace it")
    if output.suffix not in (".h5", ".hdf5"):
        raise UserError(f"{output}: expected the name of an .h5 file to write, last of the paths")


@contextlib.contextmanager
def terminate_cleanly() -> Iterator[None]:
    """Within the block, SIGTERM raises SystemExit; what is open is closed or removed."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(TERMINATED_EXIT_STATUS)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
