"""Reads key points from Neurodata Without Borders (NWB) with the extension ndx-pose.

Layout: ndx-pose (PoseEstimation: `nodes`, or those of its skeleton; one PoseEstimationSeries per point: data
[frame, 2 or 3], confidence, rate or timestamps). Its classes come from the file itself where the extension is
not installed.
"""

import warnings
from importlib import import_module
from typing import Any

import numpy as np

from vnl_mjx.clips.sources.hdf5_source import listing
from vnl_mjx.clips.sources.nwb import KEY_POINTS
from vnl_mjx.clips.sources.options import checked_rate
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.keypoints.sources.arrays import poses_instead
from vnl_mjx.keypoints.sources.found import TWO_D, Found
from vnl_mjx.keypoints.sources.grid import with_gaps
from vnl_mjx.versions import how_to_install

_SERIES = "PoseEstimationSeries"
_UNITS = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), "cm"),
    **dict.fromkeys(("mm", "millimeter", "millimeters"), "mm"),
}


def find_in_nwb(path: str) -> Found:
    """Returns the key points of an NWB file, one animal per PoseEstimation.

    Raises:
        UserError: pynwb is not installed, or the file has no 3-D key points.
    """
    try:
        pynwb: Any = import_module("pynwb")
    except ImportError as error:
        raise UserError(
            f"{path}: is an NWB file, which needs pynwb; run {how_to_install('nwb')}"
        ) from error
    try:
        with warnings.catch_warnings(action="ignore"), pynwb.NWBHDF5IO(path, "r") as io:
            return _find(path, io.read(), pynwb.TimeSeries)
    except UserError:
        raise
    except Exception as error:  # of HDF5, of the schema, of values
        raise UserError(
            f"{path}: cannot be read as NWB ({first_line(error)}); check it with `pynwb-validate`"
        ) from error


def _find(path: str, file: Any, series_type: type) -> Found:
    objects = list(file.objects.values())
    groups = [o for o in objects if getattr(o, "neurodata_type", "") == KEY_POINTS]
    if not groups:
        others = tuple(str(o.name) for o in objects if isinstance(o, series_type))
        if {"qpos", "joint_angles"} & {*others}:
            raise poses_instead(path, "a series of joint angles")
        raise UserError(
            f"{path}: expected a {KEY_POINTS} of ndx-pose, found series {listing(others)}"
        )
    parts = [_one(path, group) for group in groups]
    names = parts[0].names
    if any({*(part.names or ())} != {*(names or ())} for part in parts):
        raise UserError(
            f"{path}: its {len(parts)} {KEY_POINTS} have different points; give one of them"
        )
    if len({len(part.points) for part in parts}) > 1:
        raise UserError(
            f"{path}: its {len(parts)} {KEY_POINTS} have different frames; give one of them"
        )
    orders = [[(part.names or ()).index(name) for name in names or ()] for part in parts]
    paired = list(zip(parts, orders, strict=True))
    found = parts[0]
    found.points = np.concatenate([part.points[:, :, order] for part, order in paired], axis=1)
    found.confidence = np.concatenate(
        [
            np.ones(part.points.shape[:-1])[:, :, order]
            if part.confidence is None
            else part.confidence[:, :, order]
            for part, order in paired
        ],
        axis=1,
    )
    found.animals = tuple(str(group.name) for group in groups)
    return found


def _one(path: str, group: Any) -> Found:
    """Returns the points of one PoseEstimation."""
    series = {s.name: s for s in group.children if getattr(s, "neurodata_type", "") == _SERIES}
    nodes = getattr(group, "nodes", None)
    nodes = getattr(getattr(group, "skeleton", None), "nodes", None) if nodes is None else nodes
    names = tuple(map(str, nodes[:])) if nodes is not None and len(nodes) else ()
    if {*names} != {*series}:
        names = tuple(series)
    if not names:
        raise UserError(f"{path}: {group.name!r} has no points")
    arrays = {name: np.asarray(series[name].data[:], np.float64) for name in names}
    shapes = sorted({array.shape for array in arrays.values()})
    if any(shape[1:] == (2,) for shape in shapes):
        raise UserError(
            f"{path}: {group.name!r} holds 2-D points, as one camera sees them; {TWO_D}"
        )
    if len(shapes) > 1 or shapes[0][1:] != (3,):
        raise UserError(
            f"{path}: points of {group.name!r} have shapes {shapes[:3]}, expected (frames, 3) for each"
        )
    scaled = [arrays[name] * float(series[name].conversion) for name in names]
    found = Found(path, np.stack(scaled, axis=1)[:, None], names)
    found.confidence = _confidence([series[name] for name in names], len(scaled[0]))
    first = series[names[0]]
    found.unit = _UNITS.get(str(first.unit).strip().lower())
    if first.rate is not None:
        found.rate_hz = checked_rate(first.rate, f"{path}: rate of {first.name!r}")
    elif first.timestamps is not None:
        times = f"timestamps of {first.name}"
        found, step = with_gaps(found, np.asarray(first.timestamps[:]), times)
        found.rate_hz = 1.0 / step
    return found


def _confidence(series: list[Any], frames: int) -> np.ndarray | None:
    """Returns [frame, 1, point], 1 for points without; None if the file has no confidence."""
    columns = [getattr(one, "confidence", None) for one in series]
    if all(column is None for column in columns):
        return None
    stored = [np.ones(frames) if c is None else np.asarray(c[:], np.float64) for c in columns]
    return np.stack(stored, axis=1)[:, None]
