"""Reads key points from named arrays: DANNCE's .mat, SLEAP's and sleap-anipose's HDF5, .npz and .npy.

Layouts: DANNCE `dannce/interface.py` (`pred` [frame, 3, point], s-DANNCE: [frame, animal, 3, point], `p_max`,
`sampleID`); SLEAP's analysis HDF5 (`tracks` [track, 2, node, frame], `point_scores` [track, node, frame]);
sleap-anipose `triangulation.py` (`tracks` [frame, track, node, 3]).
"""

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from vnl_mjx.clips.sources.hdf5_source import listing
from vnl_mjx.clips.sources.key_point_files import CONFIDENCES, has_points
from vnl_mjx.clips.sources.pose_variables import stated_rate
from vnl_mjx.clips.sources.variables import Variable, stripped
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.sources.found import TWO_D, Found
from vnl_mjx.keypoints.sources.grid import with_gaps
from vnl_mjx.keypoints.sources.options import UpAxis
from vnl_mjx.keypoints.sources.world import unit_of

_DANNCE = "pred"
_POINTS = (
    *(_DANNCE, "tracks", "keypoints", "positions", "points", "points_3d", "points3d"),
    *("keypoints_3d", "keypoints3d", "joints3d", "xyz", "kp_data"),
)
_NAMES = (
    *("node_names", "keypoint_names", "point_names", "kp_names", "names", "bodyparts"),
    *("joint_names", "nodes"),
)
_ANIMALS = ("track_names", "animal_names", "animals")
_UNITS = ("length_unit", "unit", "units")
_NUMBERS = ("sampleID", "fnum", "frame_numbers")
# f: frame, a: animal, p: point, x: coordinate
_LAYOUTS = ("fpx", "fxp", "fapx", "faxp", "axpf", "fpxa")
_DANNCES = ("fxp", "faxp")
_POSES = ("qpos", "qvel", "root_pos", "dof_pos", "joint_pos", "joint_angles")


def found_in_variables(path: str, variables: Mapping[str, Variable]) -> Found:
    """Returns the key points among the variables of a file.

    Raises:
        UserError: there are none, they are of two dimensions, or their axes are not clear.
    """
    name, notes = _name_of_points(path, variables)
    names = _texts(variables, _NAMES)
    count = None if names is None else len(names)
    layout = _layout(path, name, variables[name].shape, count)
    found = Found(path, _ordered(np.asarray(variables[name].read()), layout), names, notes=notes)
    found.animals = _texts(variables, _ANIMALS) or ()
    found.rate_hz = stated_rate(path, variables)
    found.unit = unit_of((_texts(variables, _UNITS) or ("",))[0])
    up = (_texts(variables, ("up_axis",)) or ("",))[0]
    found.up = next((axis for axis in get_args(UpAxis) if axis == up.lower()), None)
    _add_confidence(found, variables, layout)
    if numbers := _first(variables, _NUMBERS):
        found, _ = with_gaps(found, np.ravel(variables[numbers].read()), numbers)
    return found


def found_in_array(path: str, name: str, points: np.ndarray) -> Found:
    """Returns the key points of a bare array; raises UserError if its shape does not tell its axes."""
    return Found(path, _ordered(points, _layout(path, name, points.shape, None)))


def _name_of_points(path: str, variables: Mapping[str, Variable]) -> tuple[str, list[str]]:
    """Returns the variable of the points, and notes."""
    numbers = {name: v.shape for name, v in variables.items() if v.is_number}
    if poses := next((n for n in _POSES if n in numbers and len(numbers[n]) < 3), None):
        raise poses_instead(path, f"{poses!r}")
    named = [n for n in _POINTS if n in numbers and len(numbers[n]) > 2]
    if named:
        others = [n for n in named[1:] if has_points(numbers[n])]
        return named[0], [f"{named[0]!r} is read, not {listing(tuple(others))}"] * bool(others)
    if "com" in numbers:
        raise UserError(
            f"{path}: holds DANNCE's centre of mass 'com' alone, one point per animal; give the file of "
            "its key points (save_data_AVG.mat)"
        )
    likely = [n for n, shape in numbers.items() if has_points(shape)]
    if len(likely) == 1:
        return likely[0], [f"variable {likely[0]!r} is taken for the key points"]
    shapes = ", ".join(f"{n!r} {v.shape}" for n, v in list(variables.items())[:8]) or "nothing"
    problem = "several such arrays" if likely else "none"
    if not likely and not {*_POINTS} & variables.keys() and _texts(variables, _NAMES):
        problem = f"names alone (to be given as points={path}, beside a file of points)"
    raise UserError(
        f"{path}: expected key points as 'pred', 'tracks', 'keypoints' or 'positions' (frames, points, 3), "
        f"found {problem}: {shapes}"
    )


def poses_instead(path: str, what: str) -> UserError:
    """Returns the refusal of a file of poses, of which `what` tells."""
    return UserError(
        f"{path}: holds poses ({what}), expected key points; poses need no fit: give the file to "
        f"`vnl-mjx preprocess {path} CLIPS.h5`"
    )


def _layout(path: str, name: str, shape: tuple[int, ...], count: int | None) -> str:
    """Returns the axes of the points, a letter each; `count` is the number of points if it is known."""
    known = _DANNCES if name == _DANNCE else ()
    likely = [layout for layout in (*known, *_LAYOUTS) if _fits(layout, shape, 3, count)]
    likely = [layout for layout in likely if _has_more_frames(layout, shape)] or likely
    if likely and (likely[0] in known or len(set(likely)) == 1):
        return likely[0]
    place = f"{path}: {name!r} of shape {shape}"
    if likely:
        raise UserError(
            f"{place} can be read in several ways ({' or '.join(map(_in_words, likely))}); store it as "
            "[frame, point, 3] together with 'names', which tell the number of points"
        )
    if any(_fits(layout, shape, 2, count) for layout in _LAYOUTS):
        raise UserError(f"{place} holds 2-D points, as one camera sees them; {TWO_D}")
    if count is not None and any(_fits(layout, shape, 3, None) for layout in _LAYOUTS):
        raise UserError(
            f"{place} does not have the {count} points that the file names; correct these"
        )
    raise UserError(
        f"{place} expected (frames, points, 3), or with an axis of animals before the points"
    )


def _fits(layout: str, shape: Sequence[int], size: int, count: int | None) -> bool:
    if len(layout) != len(shape) or shape[layout.index("x")] != size:
        return False
    return count is None or shape[layout.index("p")] == count


def _has_more_frames(layout: str, shape: Sequence[int]) -> bool:
    """Returns whether there are more frames than animals, as there are in any recording."""
    return "a" not in layout or shape[layout.index("f")] > shape[layout.index("a")]


def _in_words(layout: str) -> str:
    words = {"f": "frame", "a": "animal", "p": "point", "x": "3"}
    return "[" + ", ".join(words[axis] for axis in layout) + "]"


def _ordered(values: np.ndarray, layout: str) -> np.ndarray:
    """Returns values with axes `layout` as [frame, animal, point(, 3)]."""
    if "a" not in layout:
        values, layout = values[None], f"a{layout}"
    return values.transpose([layout.index(axis) for axis in "fapx" if axis in layout])


def _add_confidence(found: Found, variables: Mapping[str, Variable], layout: str) -> None:
    name = _first(variables, CONFIDENCES)
    if name is None:
        return
    values = np.asarray(variables[name].read())
    axes = layout.replace("x", "")
    shape = found.points.shape[:-1]
    if values.ndim == len(axes) and (ordered := _ordered(values, axes)).shape == shape:
        found.confidence = ordered
    elif values.shape == (shape[0], shape[2]) and shape[1] == 1:
        found.confidence = values[:, None]
    else:
        found.notes.append(
            f"{name!r} of shape {values.shape} does not fit the points and is left out"
        )


def _first(variables: Mapping[str, Variable], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in variables and variables[name].is_number), None)


def _texts(variables: Mapping[str, Variable], names: Sequence[str]) -> tuple[str, ...] | None:
    name = next((name for name in names if name in variables), None)
    if name is None or variables[name].is_number:
        return None
    return stripped(variables[name]) or None
