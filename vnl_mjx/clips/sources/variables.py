"""Lists the named variables of NumPy archives and MATLAB files, whatever they mean."""

import contextlib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.recording import FrameArray
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, texts
from vnl_mjx.clips.sources.mat5 import read_mat5
from vnl_mjx.errors import UserError, first_line

_MOST_NAMES = 10_000


@dataclass(frozen=True)
class Variable:
    """Describes one variable of a file: shape, type, and how to read it whole or by frame."""

    shape: tuple[int, ...]
    is_number: bool
    read: Callable[[], Any]
    frames: Callable[[], FrameArray | None] = lambda: None


def stripped(variable: Variable) -> tuple[str, ...]:
    """Returns a variable's texts without the spaces that pad them."""
    return tuple(name.strip() for name in texts(variable.read()) or ())


def npz_variables(path: str) -> dict[str, Variable]:
    """Returns the arrays of an archive by name; each is read whole."""
    layout = "NumPy archive (.npz)"

    def read(name: str) -> np.ndarray:
        with _npz(path, layout) as archive:
            return archive[name]

    variables = {}
    with _npz(path, layout) as archive:
        for name in archive.files:
            shape, dtype = _npy_header(archive.zip, name)
            variables[name] = Variable(shape, dtype.kind in "fiu", partial(read, name))
    return variables


@contextlib.contextmanager
def _npz(path: str, layout: str) -> Iterator[Any]:
    # NumPy leaves a file that it opened itself open where the archive is damaged
    with (
        reading(path, layout),
        Path(path).open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        yield archive


def _npy_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Reads shape and type of one array of an archive, without its numbers."""
    member = name if name in archive.namelist() else f"{name}.npy"
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        is_first = version == (1, 0)
        read = (
            np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return shape, dtype


def mat5_variables(path: str) -> dict[str, Variable]:
    """Returns the variables of a MATLAB file of version 5 to 7.2 by name; reads the file whole."""
    with reading(path, "MATLAB file"):
        found = read_mat5(Path(path))
    return {
        name: Variable(array.shape, array.dtype.kind in "fiu", lambda array=array: array)
        for name, array in found.items()
    }


def mat73_variables(source: Hdf5Source) -> dict[str, Variable]:
    """Returns the variables of a MATLAB 7.3 file, which is HDF5 with transposed arrays, by name."""
    variables: dict[str, Variable] = {}
    for name in source.found():
        data = source.dataset(name)
        if data is None or data.shape is None:
            continue
        with source.reading():
            is_text = data.attrs.get("MATLAB_class") == b"char"
        is_number = data.dtype.kind in "fiu" and not is_text
        shape, read = data.shape[::-1], partial(_mat73_value, source, name)
        frames = partial(source.frames, name, shape, lambda data, a, b: data[:, a:b].T)
        variables[name] = Variable(shape, is_number, read, frames)
    return variables


def _mat73_value(source: Hdf5Source, name: str) -> Any:
    """Reads a variable whole; cells of text are references to arrays of character codes."""
    value = source.small(name)
    with source.reading():
        if isinstance(value, np.ndarray) and value.dtype == h5py.ref_dtype:
            cells: list[Any] = [source.file[cell] for cell in value.T.ravel()[:_MOST_NAMES]]
            return ["".join(map(chr, np.ravel(cell[()].T).tolist())) for cell in cells]
        data: Any = source.file[name]
        if data.attrs.get("MATLAB_class") == b"char":
            rows = np.atleast_2d(value.T)
            return ["".join(map(chr, row)) for row in rows.tolist()]
    return np.transpose(value)


@contextlib.contextmanager
def reading(path: str, layout: str) -> Iterator[None]:
    """Turns any error that a damaged file causes in a reader into a UserError."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except UserError:
        raise
    except Exception as error:
        reason = first_line(error)
        if "allow_pickle" in reason:
            raise UserError(
                f"{path}: holds Python objects, expected numbers; store arrays of numbers"
            ) from error
        raise UserError(
            f"{path}: is a truncated or damaged {layout} ({reason}); copy it again"
        ) from error
