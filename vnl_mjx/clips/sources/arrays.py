"""Opens bare arrays of poses: .npy, .npz and MATLAB files.

A file of several variables has its poses in `qpos` (or in its only table of numbers, or in parts: see
`pose_variables`), and may have `joint_names`, a rate, and `take_lengths` and `take_names`, or LocoMuJoCo's
`split_points`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.clips.recording import Recording
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, listing
from vnl_mjx.clips.sources.key_point_files import CONFIDENCES, POINTS, fit_first, has_points
from vnl_mjx.clips.sources.options import SourceOptions, completed
from vnl_mjx.clips.sources.pose_variables import NAMES, RATES, open_parts, stated_rate
from vnl_mjx.clips.sources.variables import (
    Variable,
    mat5_variables,
    mat73_variables,
    npz_variables,
    reading,
    stripped,
)
from vnl_mjx.errors import UserError

_QPOS = "qpos"
_TAKES = ("take_lengths", "take_names")
_SPLITS = "split_points"  # LocoMuJoCo's: the first frame of each take, and the number of frames
_BESIDES = frozenset((*NAMES, *RATES, *_TAKES, _SPLITS, *CONFIDENCES))


def open_npy(path: str, options: SourceOptions) -> Recording:
    """Opens one array, mapped into memory."""
    with reading(path, "NumPy array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    _refuse_keypoints(path, {Path(path).name: array.shape})
    found = Recording(path, "NumPy array (.npy)", array, qpos_name=Path(path).name)
    return completed(found, options)


def open_npz(path: str, options: SourceOptions) -> Recording:
    """Opens arrays by name; reads those that are used, whole."""
    return open_variables(path, "NumPy archive (.npz)", npz_variables(path), options)


def open_mat(path: str, options: SourceOptions) -> Recording:
    """Opens a MATLAB file of version 5 to 7.2; reads its poses whole."""
    return open_variables(path, "MATLAB file", mat5_variables(path), options)


def open_mat73(source: Hdf5Source, options: SourceOptions) -> Recording:
    """Opens a MATLAB file of version 7.3; reads slices on demand."""
    return open_variables(source.path, "MATLAB 7.3 file", mat73_variables(source), options)


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
    found.rate_hz = stated_rate(path, variables)
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
    _refuse_keypoints(path, {n: v.shape for n, v in variables.items() if n in POINTS})
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
        if has_points(shape):
            raise UserError(
                f"{path}: {name!r} of shape {shape} looks like key points, expected joint angles "
                f"'qpos' (frames, columns); {fit_first(path)}"
            )
