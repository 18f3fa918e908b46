"""HDF5 files that appear complete or not at all, and strings in them that a damaged file cannot hang on."""

import contextlib
import os
from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from vnl_mjx.files import replacing


@contextlib.contextmanager
def atomic_hdf5(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Opens a new HDF5 file that replaces `path` when the block ends, complete, or not at all.

    See `files.replacing`, also for what it raises.
    """
    # version 1.8 and later store attributes of any size (many clip names)
    with replacing(path) as partial:
        with h5py.File(partial, "w", libver=("v108", "latest")) as file:
            yield file
        with partial.open("rb+") as written:
            os.fsync(written.fileno())


def fixed_length(strings: Sequence[str]) -> np.ndarray:
    """Strings as one block of UTF-8 bytes, padded to the longest.

    HDF5 can hang on a damaged heap of variable-length strings; these have no heap.
    """
    encoded = [string.encode() for string in strings]
    return np.array(encoded, h5py.string_dtype(length=max([1, *map(len, encoded)])))
