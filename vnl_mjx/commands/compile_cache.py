"""Manages the folder of compiled programs that JAX keeps from run to run. Needs no JAX."""

import contextlib
import os
import tempfile
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "VNL_MJX_CACHE"  # a folder, or CACHE_OFF
CACHE_OFF = "off"
JAX_CACHE_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
MAX_CACHE_BYTES = 2 * 10**9


def cache_folder() -> Path | None:
    """Returns the folder of compiled programs: by variable, else in the user's cache; None: not kept."""
    given = os.environ.get(JAX_CACHE_VARIABLE) or os.environ.get(CACHE_VARIABLE)
    if given == CACHE_OFF:
        return None
    return Path(given).expanduser() if given else platformdirs.user_cache_path("vnl-mjx") / "jax"


def make_folder(folder: Path) -> None:
    """Creates the folder, readable by this user alone because it holds code that will run.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryFile(dir=folder):
        pass


def cached_bytes(folder: Path) -> int:
    """Returns the size of the compiled programs in the folder."""
    return sum(size for _, size, _ in _entries(folder))


def forget_oldest(folder: Path, most_bytes: int = MAX_CACHE_BYTES) -> None:
    """Removes the least recently used programs until the others fit into `most_bytes`.

    JAX's own limit needs another package, and file locks that file servers may not grant.
    """
    total = 0
    for _, size, path in sorted(_entries(folder), reverse=True):
        total += size
        if total > most_bytes:
            with contextlib.suppress(OSError):  # another process may be doing the same
                path.unlink()


def _entries(folder: Path) -> list[tuple[float, int, Path]]:
    """Yields time of last use, size and path of each program."""
    found = []
    for path in folder.glob("*-cache"):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    return found
