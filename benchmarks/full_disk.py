"""Makes a disk full at a chosen write of this process, by a library of C that is loaded before all others."""

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
_MADE = "FULL_DISK_FOLDER"  # variable of the environment: the library's folder
_kept: list[object] = []  # what the library points to


def preload() -> None:
    """Starts this process anew with the library, once; does nothing without a C compiler."""
    if made := os.environ.pop(
        _MADE, None
    ):  # this is the new process; those that it starts need no library
        shutil.rmtree(made)
        del os.environ["LD_PRELOAD"]
        return
    compiler = shutil.which("cc")
    if compiler is None:
        return
    library = Path(tempfile.mkdtemp(prefix="full-disk-")) / "full_disk.so"
    flags = ["-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run([compiler, *flags], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), _MADE: str(library.parent)}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def is_preloaded() -> bool:
    """Returns whether `fill_after` works here."""
    return hasattr(ctypes.CDLL(None), "fill_after")


def fill_after(folder: Path, num: int, writes: mmap.mmap) -> None:
    """Lets `num` writes under a folder succeed and no more; `writes`, of 8 bytes, counts all of them."""
    place, count = os.fsencode(folder), ctypes.c_long.from_buffer(writes)
    _kept.extend((place, count))
    ctypes.CDLL(None).fill_after(ctypes.c_char_p(place), ctypes.c_long(num), ctypes.byref(count))
