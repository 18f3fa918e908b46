"""Opens bare arrays of poses: .npy, .npz and MATLAB files.

A file of several variables has its poses in `qpos` (or in its only table of numbers, or in parts: see
`pose_variables`), and may have `joint_names`, a rate, and `take_lengths` and `take_names`, or LocoMuJoCo's
`split_points`.
"""

import contextlib
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.recording import Recording
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, listing
from vnl_mjx.clips.sources.mat5 import read_mat5
from vnl_mjx.clips.sources.options import SourceOptions, completed
from vnl_mjx.clips.sources.pose_variables import (
    NAMES,
    RATES,
    Variable,
    open_parts,
    set_rate,
    stripped,
)
from vnl_mjx.errors import UserError, first_line

_QPOS = "qpos"
_TAKES = ("take_lengths", "take_names")
_SPLITS = "split_points"  # LocoMuJoCo's: the first frame of each take, and the number of frames
_BESIDES = frozenset((*NAMES, *RATES, *_TAKES, _SPLITS))
_MOST_NAMES = 10_000


def open_npy(path: str, options: SourceOptions) -> Recording:
    """Opens one array, mapped into memory."""
    with _reading(path, "NumPy array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    _refuse_keypoints(path, {Path(path).name: array.shape})
    found = Recording(path, "NumPy array (.npy)", array, qpos_name=Path(path).name)
    return completed(found, options)


def open_npz(path: str, options: SourceOptions) -> Recording:
    """Opens arrays by name; reads those that are used, whole."""
    layout = "NumPy archive (.npz)"

    def read(name: str) -> np.ndarray:
        with _npz(path, layout) as archive:
            return archive[name]

    variables = {}
    with _npz(path, layout) as archive:
        for name in archive.files:
            shape, dtype = _npy_header(archive.zip, name)
            variables[name] = Variable(shape, dtype.kind in "fiu", partial(read, name))
    return open_variables(path, layout, variables, options)


@contextlib.contextmanager
def _npz(path: str, layout: str) -> Iterator[Any]:
    # NumPy leaves a file that it opened itself open where the archive is damaged
    with (
        _reading(path, layout),
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


def open_mat(path: str, options: SourceOptions) -> Recording:
    """Opens a MATLAB file of version 5 to 7.2; reads its poses whole."""
    layout = "MATLAB file"
    with _reading(path, layout):
        found = read_mat5(Path(path))
    variables = {
        name: Variable(array.shape, array.dtype.kind in "fiu", lambda array=array: array)
        for name, array in found.items()
    }
    return open_variables(path, layout, variables, options)


def open_mat73(source: Hdf5Source, options: SourceOptions) -> Recording:
    """Opens a MATLAB file of version 7.3, which is HDF5 with transposed arrays; reads slices on demand."""
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
    return open_variables(source.path, "MATLAB 7.3 file", variables, options)


def open_pickle_of_variables(
    path: str, values: Mapping[str, Any], options: SourceOptions
) -> Recording:
    """Builds the recording of a pickled dictionary, as GMR writes it; it has no variable `qpos`."""
    variables = {}
    for name, value in values.items():
        is_list = isinstance(value, list | tuple)
        is_text = isinstance(value, str) or (is_list and any(isinstance(v, str) for v in value))
        if not is_text and not isinstance(value, np.ndarray | int | float):
            continue
        array = None if is_text else np.asarray(value)
        shape = (len(value),) if array is None else array.shape
        is_number = array is not None and array.dtype.kind in "fiu"
        read = partial(lambda value, array: value if array is None else array, value, array)
        variables[name] = Variable(shape, is_number, read)
    if open_parts(path, "pickle", variables) is None:
        raise UserError(
            f"{path}: the pickle has no 'qpos'; found {listing(tuple(values))}: expected the "
            "output of stac-mjx, or root_pos, root_rot and dof_pos as GMR writes them"
        )
    return open_variables(path, "pickle", variables, options)


def open_variables(
    path: str, layout: str, variables: Mapping[str, Variable], options: SourceOptions
) -> Recording:
    """Builds the recording of a file of several variables."""
    found = None if _QPOS in variables else open_parts(path, layout, variables)
    if found is None:
        name = _qpos_name(path, variables)
        table = variables[name]
        qpos = table.frames() if _is_table(table) else None
        found = Recording(path, layout, np.asarray(table.read()) if qpos is None else qpos, name)
        if name != _QPOS:
            found.notes += (f"variable {name!r} is taken for qpos",)
    if names := next((variables[key] for key in NAMES if key in variables), None):
        found.joint_names = stripped(names)
    set_rate(found, variables)
    if _SPLITS in variables and variables[_SPLITS].is_number:
        found.take_lengths = np.diff(np.ravel(variables[_SPLITS].read()))
    if _TAKES[0] in variables:
        lengths = np.ravel(variables[_TAKES[0]].read())
        if lengths.dtype.kind == "f" and (lengths == np.clip(np.floor(lengths), 0, 2**31)).all():
            lengths = lengths.astype(np.int64)  # MATLAB's numbers are floats
        found.take_lengths = lengths
        if _TAKES[1] in variables:
            found.take_names = stripped(variables[_TAKES[1]])
    return completed(found, options)


def _qpos_name(path: str, variables: Mapping[str, Variable]) -> str:
    if _QPOS in variables:
        if not variables[_QPOS].is_number:
            raise UserError(f"{path}: 'qpos' is no table of real numbers, expected numbers")
        return _QPOS
    tables = [n for n, variable in variables.items() if n not in _BESIDES and _is_table(variable)]
    if len(tables) == 1:
        return tables[0]
    if not tables:
        _refuse_keypoints(path, {n: v.shape for n, v in variables.items() if v.is_number})
    if {"poses", "trans"} <= variables.keys():
        raise UserError(
            f"{path}: holds SMPL's 'poses' and 'trans' (AMASS), expected joint angles of an MJCF; "
            "retarget them to your body first"
        )
    shapes = ", ".join(f"{n!r} {v.shape}" for n, v in list(variables.items())[:8]) or "nothing"
    problem = "several tables of numbers" if tables else "no table of numbers"
    raise UserError(
        f"{path}: expected the poses as variable 'qpos' (frames, columns), found {problem}: {shapes}"
    )


def _is_table(variable: Variable) -> bool:
    return variable.is_number and len(variable.shape) == 2 and min(variable.shape) > 1


def _refuse_keypoints(path: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if len(shape) == 3 and 3 in shape[1:]:
            raise UserError(
                f"{path}: {name!r} of shape {shape} looks like keypoints, expected joint angles "
                "'qpos' (frames, columns); fit the keypoints with stac-mjx first and give its output"
            )


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
def _reading(path: str, layout: str) -> Iterator[None]:
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
