"""Reads an open HDF5 file: datasets slice by slice, and names; reports damage."""

import contextlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.hdf5_access import open_hdf5, reading
from vnl_mjx.clips.recording import LazyFrames
from vnl_mjx.errors import UserError

_MOST_SMALL_BYTES = 2**26


class Hdf5Source:
    """Reads one file.

    Attributes:
        path: as the user gave it.
        file: open until `close`.
    """

    def __init__(self, path: str):
        self.path = path
        with self.reading():
            self.file = open_hdf5(path)

    def close(self) -> None:
        """Closes the file; its lazy frames cannot be read any more."""
        self.file.close()

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Raises UserError where the block finds damage."""
        return reading(self.path)

    def dataset(self, name: str) -> h5py.Dataset | None:
        """Returns the dataset; None if there is none of this name."""
        with self.reading():
            found = self.file.get(name)
            if not isinstance(found, h5py.Dataset):
                return None
            _ = found.shape, found.dtype  # read now, as they may be damaged too
            return found

    def frames(
        self,
        name: str,
        shape: tuple[int, ...] | None = None,
        read: Callable[[h5py.Dataset, int, int], np.ndarray] = lambda data, a, b: data[a:b],
    ) -> LazyFrames | None:
        """Returns a dataset of numbers by frame; None if it is absent or empty.

        Args:
            name: of the dataset.
            shape: of all frames; default: the dataset's. Frames are reshaped to it.
            read: function of the dataset, a first frame and the one after the last; returns those frames.
        """
        data = self.dataset(name)
        if data is None or data.size == 0 or data.size is None:
            return None
        if data.dtype.kind not in "fiu" or data.ndim == 0:
            raise UserError(
                f"{self.path}: {name!r} holds {data.dtype} of shape {data.shape}, expected numbers "
                "by frame"
            )
        whole = tuple(map(int, data.shape if shape is None else shape))

        def read_frames(first: int, stop: int) -> np.ndarray:
            if not self.file:
                raise ValueError(f"{self.path} is closed")
            with self.reading():
                return np.asarray(read(data, first, stop)).reshape(stop - first, *whole[1:])

        return LazyFrames(whole, data.dtype, read_frames)

    def small(self, name: str) -> Any:
        """Reads a dataset or attribute that is not by frame, whole; None if it is absent."""
        data = self.dataset(name)
        with self.reading():
            if data is None:
                return self.file.attrs.get(name)
            if data.nbytes > _MOST_SMALL_BYTES:
                raise UserError(
                    f"{self.path}: {name!r} has shape {data.shape}, too large for what it means"
                )
            return data[()]

    def found(self) -> tuple[str, ...]:
        """Returns the names at the root."""
        with self.reading():
            return tuple(map(str, self.file))  # str: a name that is not UTF-8 arrives as bytes


def texts(value: Any) -> tuple[str, ...] | None:
    """Returns the strings of an array, a list or a single string; None if there are none."""
    if value is None or isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray):
        value = value.ravel().tolist()
    return tuple(map(_text, value if isinstance(value, list | tuple) else [value]))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):  # NumPy's text may hold what is no character
        return value.encode("utf-8", "replace").decode("utf-8", "replace")
    # a nested value could be endless when it is written out
    return f"<{type(value).__name__}>"


def listing(names: tuple[str, ...], most: int = 8) -> str:
    """Lists names for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(repr(name) for name in names[:most]) or "nothing") + more
