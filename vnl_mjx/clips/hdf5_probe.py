"""Reads HDF5 files first in a process of its own, since some damaged ones crash HDF5 or keep it busy forever.

HDF5 follows an index whose next node is itself, or a heap with an object of 0 bytes, without end, and Ctrl-C
does not reach it. The process reads what all readers need (the tree, shapes, attributes, text) with limited
processor time and memory. It is started once, and needs milliseconds for most files.
"""

import atexit
import contextlib
import json
import math
import os
import resource
import subprocess
import sys
import threading
import time
from functools import lru_cache
from typing import IO, cast

import h5py
import numpy as np
from h5py import h5a, h5d, h5o, h5t

# h5py raises each of these for a damaged file, depending on where it is damaged
_LEFT = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError)
_LEFT += (AttributeError, OverflowError)  # of a value of another kind than expected
HDF5_ERRORS = (*_LEFT, MemoryError)
_MOST_UNWRITTEN_BYTES = 2**24
_CPU_S = 20  # for a thousand objects
_MEMORY = 2**31  # bytes, and so many times the file's size:
_MEMORY_FACTOR = 4

_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None


def damage(path: str | os.PathLike[str]) -> str | None:
    """Returns what makes an HDF5 file dangerous to read; None if nothing does, or if it is no HDF5 file.

    This is a size that the file does not hold, and what HDF5 does not return from. Other damage is left to
    the reader, to whom HDF5 reports it.
    """
    place = os.path.abspath(os.fsdecode(path))
    if not h5py.is_hdf5(place):
        return None
    found = os.stat(place)
    return _damage_once(place, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=1000)
def _damage_once(path: str, *_version: int) -> str | None:
    with _lock:
        if _process is not None and _process.poll() is not None:  # somebody killed it
            _stop()
        try:
            process = _process or _start()
        except OSError:
            return _damage(path)
        try:
            reply = _ask(process, path)
        except BaseException:  # Ctrl-C
            _stop()
            raise
        if reply is None:
            _stop()
    return "HDF5 does not return from reading it" if reply is None else json.loads(reply)


def _start() -> subprocess.Popen[str]:
    global _process
    _process = subprocess.Popen(
        [sys.executable, "-P", __file__],  # -P: imports nothing from this folder
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for the program alone
    )
    atexit.register(_stop)
    os.register_at_fork(after_in_child=_forget)
    if not cast(IO[str], _process.stdout).readline():
        _stop()
        raise OSError("ended at its start")  # for example under a limit of memory
    return _process


def _stop() -> None:
    global _process
    if _process is not None:
        _process.kill()
        with contextlib.suppress(BrokenPipeError):
            _process.communicate()
    _process = None


def _forget() -> None:
    """Leaves the process to the program that this one was forked from."""
    global _lock, _process
    _lock, _process = threading.Lock(), None


def _ask(process: subprocess.Popen[str], path: str) -> str | None:
    """Returns the reply about one file; None if the process ended."""
    ask, reply = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
    with contextlib.suppress(BrokenPipeError):
        ask.write(json.dumps(path) + "\n")
        ask.flush()
        return reply.readline() or None
    return None


def _serve() -> None:
    """Replies to each path, a line of JSON, with what `_damage` returns."""
    _limit(resource.RLIMIT_CORE, 0)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_damage(json.loads(line), limited=True)), flush=True)


def _limit(kind: int, most: int) -> None:
    """Sets a limit that can be set anew, at most what a cluster allows."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _damage(path: str, limited: bool = False) -> str | None:
    """Reads a file as `damage` does, in this process, and limits the process if asked."""
    with contextlib.suppress(*HDF5_ERRORS):
        size = os.path.getsize(path)
        if limited and sys.platform == "linux":
            _limit(resource.RLIMIT_AS, _MEMORY + _MEMORY_FACTOR * size)
        if limited:
            _limit_time()
        with h5py.File(path, "r") as file:
            places: list[bytes] = []
            h5o.visit(file.id, places.append)
            for i, place in enumerate(places):
                if limited and i % 1000 == 0:
                    _limit_time()
                with contextlib.suppress(*_LEFT):
                    found = _damage_of(path, file, place, _MOST_UNWRITTEN_BYTES + 4 * size)
                    if found is not None:
                        return found
    return None


def _limit_time() -> None:
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + _CPU_S)


def _damage_of(path: str, file: h5py.File, place: bytes, most: int) -> str | None:
    """Reads attributes and text of one object; `most` are the bytes that it may take."""
    item, name = h5o.open(file.id, place), place.decode(errors="replace")
    try:
        if h5a.get_num_attrs(item):
            attributes = file[place].attrs
            for key in attributes:
                with contextlib.suppress(*_LEFT):
                    attributes[key]
        # h5py's own classes take three times as long, and most objects need none of the following
        if not isinstance(item, h5d.DatasetID):
            return None
        kind = item.get_type()
        size = math.prod(item.shape) * kind.get_size()
        if size > most:
            data = cast(h5py.Dataset, file[place])
            if not data.is_virtual and data.external is None and _stored_bytes(data) < size:
                return f"{name!r} has shape {data.shape}, and the file holds only a part of it"
        if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
            data = cast(h5py.Dataset, file[place])
            if _text_bytes(path, data) > most:
                return f"{name!r} has a text longer than the file"
            data[()]
    except MemoryError:
        return f"{name!r} takes more memory than the file has bytes"
    return None


def _text_bytes(path: str, data: h5py.Dataset) -> int:
    """Returns the length of all texts of a dataset as the file has it, 0 if it has them in chunks.

    In place of a text lie its length (4 bytes) and where it is (12 bytes).
    """
    place = data.id.get_offset()
    if place is None:
        return 0
    parts = np.fromfile(path, np.dtype("<u4"), 4 * math.prod(data.shape), offset=place)
    return int(parts[::4].sum(dtype=np.int64))


def _stored_bytes(data: h5py.Dataset) -> int:
    """Returns the bytes of a dataset that the file holds, unpacked."""
    if data.chunks is None:
        return data.id.get_storage_size()
    return data.id.get_num_chunks() * math.prod(data.chunks) * data.dtype.itemsize


if __name__ == "__main__":
    _serve()
