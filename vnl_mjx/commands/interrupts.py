"""SIGTERM as an exception, so that half-written files are removed on the way out."""

import contextlib
import signal
from collections.abc import Iterator

TERMINATED_EXIT_STATUS = 128 + signal.SIGTERM


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
