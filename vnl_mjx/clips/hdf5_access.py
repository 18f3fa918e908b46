"""Reads HDF5 files with errors of one line, and writes them completely or not at all, also on a full disk."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.hdf5_probe import HDF5_ERRORS, damage
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.files import replacing

_CREATOR = "vnl_mjx"


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises UserError where the block, which reads an HDF5 file, finds it missing, locked or damaged."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except HDF5_ERRORS as error:
        reason = first_line(error)
        if "unable to lock" in reason:
            raise UserError(
                f"{path}: is locked, as another process has it open for writing; close it there, or set "
                "HDF5_USE_FILE_LOCKING=FALSE in the environment"
            ) from error
        if "signature not found" in reason:
            raise UserError(
                f"{path}: expected an HDF5 file, found other content; give another file, or copy it again"
            ) from error
        raise UserError(
            f"{path}: is truncated or damaged HDF5 ({reason}); make or copy it again"
        ) from error


def open_hdf5(path: str | os.PathLike[str]) -> h5py.File:
    """Opens a file to read it, within `reading`.

    Raises:
        ValueError: HDF5 would not return from reading it, or would fill the memory.
    """
    found = damage(path)
    if found is not None:
        raise ValueError(found)
    return h5py.File(path, "r")


def has_format(file: h5py.File, name: str) -> bool:
    """Returns whether an open HDF5 file is marked as a format of ours."""
    found = file.attrs.get("format")
    return isinstance(found, bytes | np.bytes_) and bytes(found) == name.encode()


def checked_version(file: h5py.File, path: str, newest: int) -> int:
    """Returns the version of an open file's format; raises UserError if this package is too old for it."""
    version = int(file.attrs["format_version"])
    if version > newest:
        raise UserError(
            f"{path}: format_version {version}, expected at most {newest}; it was written by a newer "
            "vnl_mjx: update this one"
        )
    return version


class _Disk(io.FileIO):
    """Remembers the first write that fails, and drops it and all that follow.

    HDF5 prints a traceback for each object that it cannot write, and then crashes; so it is not told.
    """

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Writes all bytes of `data`, or drops them if the disk is full."""
        left = memoryview(data).cast("B")
        end, size = self.tell() + len(left), len(left)
        try:
            while left and self.error is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
        self.seek(end)
        return size

    def truncate(self, size: int | None = None, /) -> int:
        """Sets the size of the file, unless the disk is full."""
        return super().truncate(size) if self.error is None else size or 0


class HDF5Output(h5py.File):
    """A new HDF5 file; see `atomic_hdf5`."""

    def __init__(self, disk: _Disk):
        """Takes an empty file, open for reading and writing."""
        # version 1.8 and later store attributes of any size (many clip names)
        super().__init__(disk, "w", libver=("v108", "latest"))
        self._disk = disk
        self.attrs["creator"] = np.bytes_(_CREATOR)

    def stop_if_full(self) -> None:
        """Raises OSError if something could not be written; for long work, after each part of it."""
        if self._disk.error is not None:
            raise self._disk.error


@contextlib.contextmanager
def atomic_hdf5(path: str | os.PathLike[str]) -> Iterator[HDF5Output]:
    """Opens a new HDF5 file that replaces `path` when the block ends without an error.

    See `files.replacing`, also for what it raises.
    """
    with replacing(path) as partial, _Disk(partial, "w+") as disk:
        with HDF5Output(disk) as file:
            yield file
        if disk.error is not None:
            raise disk.error
        os.fsync(disk.fileno())


def check_replaceable(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Raises UserError for an existing file that is not to be replaced, or that others made."""
    if not overwrite:
        raise UserError(f"{path}: exists; give another name, or --overwrite to replace it")
    if not _is_ours(path):
        raise UserError(
            f"{path}: exists, and vnl_mjx did not write it, so that --overwrite does not replace it; "
            "give the file to write under another name"
        )


def _is_ours(path: str | os.PathLike[str]) -> bool:
    """Returns whether this package wrote the HDF5 file; False if that cannot be read."""
    try:
        with open_hdf5(path) as file:
            # older clip files say so by their format alone
            marks = [file.attrs.get(name, b"") for name in ("creator", "format")]
            return any(bytes(mark).startswith(_CREATOR.encode()) for mark in marks)
    except HDF5_ERRORS:
        return False
