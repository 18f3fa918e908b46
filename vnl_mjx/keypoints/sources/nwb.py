"""Reads key points from Neurodata Without Borders (NWB) with the extension ndx-pose.

Layout: ndx-pose (group of type PoseEstimation: `nodes`, or those of its skeleton; one group of type
PoseEstimationSeries per point: `data` [frame, 2 or 3], `confidence`, `timestamps` or `starting_time`). The
reader uses HDF5 alone: pynwb 4 refuses public files of ndx-pose 0.1 for their empty list of edges.
"""

from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.recording import checked_rate
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, texts
from vnl_mjx.clips.sources.key_point_files import pose_estimations
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.sources.arrays import poses_instead
from vnl_mjx.keypoints.sources.found import TWO_D, Found
from vnl_mjx.keypoints.sources.grid import with_gaps
from vnl_mjx.keypoints.sources.world import unit_of


def find_in_nwb(source: Hdf5Source) -> Found:
    """Returns the key points of an NWB file, one animal per PoseEstimation.

    Raises:
        UserError: the file has no key points, or they are of two dimensions or do not fit together.
    """
    path, file = source.path, source.file
    with source.reading():
        places = pose_estimations(file)
        others = [name for name in ("qpos", "joint_angles") if _holds(file, name)]
        if not places and others:
            raise poses_instead(path, f"{others[0]!r}")
        if not places:
            raise UserError(
                f"{path}: is NWB without key points, expected a PoseEstimation of ndx-pose; store the points "
                "so, or give them as .csv or .npz"
            )
        parts = [_one(path, file, place) for place in places]
    found = parts[0]
    if any({*(p.names or ())} != {*(found.names or ())} for p in parts):
        raise UserError(
            f"{path}: its {len(parts)} PoseEstimation have other points each; store them apart"
        )
    if len({len(part.points) for part in parts}) > 1:
        raise UserError(
            f"{path}: its {len(parts)} PoseEstimation have other frames each; store them apart"
        )
    own = found.names or ()
    orders = [[(part.names or ()).index(name) for name in own] for part in parts]
    both = list(zip(parts, orders, strict=True))
    found.points = np.concatenate([part.points[:, :, order] for part, order in both], axis=1)
    confidences = [part.confidence[:, :, o] for part, o in both if part.confidence is not None]
    found.confidence = (
        np.concatenate(confidences, axis=1) if len(confidences) == len(parts) else None
    )
    found.animals = tuple(place.rsplit("/", 1)[-1] for place in places)
    return found


def _holds(file: h5py.File, name: str) -> bool:
    return file.visit(lambda place: True if place.rsplit("/", 1)[-1] == name else None) is True


def _one(path: str, file: h5py.File, place: str) -> Found:
    """Returns the points of one PoseEstimation."""
    group: Any = file[place]
    series = {name: item for name, item in group.items() if _is_series(item)}
    nodes = next((group[key] for key in ("nodes", "skeleton/nodes") if key in group), None)
    names = (texts(nodes[()]) if nodes is not None else None) or ()
    names = names if {*names} == {*series} else tuple(series)
    if not names:
        raise UserError(
            f"{path}: {place!r} has no points, expected a PoseEstimationSeries for each"
        )
    shapes = sorted({series[name]["data"].shape for name in names})
    if any(shape[1:] == (2,) for shape in shapes):
        raise UserError(f"{path}: {place!r} holds 2-D points, as one camera sees them; {TWO_D}")
    if len(shapes) > 1 or shapes[0][1:] != (3,):
        raise UserError(
            f"{path}: points of {place!r} have shapes {shapes[:3]}, expected (frames, 3) for each"
        )
    points = [_scaled(series[name]["data"]) for name in names]
    found = Found(path, np.stack(points, axis=1)[:, None], names)
    if all("confidence" in series[name] for name in names):
        stored = [np.asarray(series[name]["confidence"][()]) for name in names]
        found.confidence = np.stack(stored, axis=1)[:, None]
    first = series[names[0]]
    found.unit = unit_of((texts(first["data"].attrs.get("unit")) or ("",))[0])
    if "starting_time" in first:
        rate = first["starting_time"].attrs.get("rate")
        found.rate_hz = checked_rate(rate, f"{path}: rate of {place!r}")
    elif "timestamps" in first:
        found, step = with_gaps(found, first["timestamps"][()], f"timestamps of {names[0]}")
        found.rate_hz = 1.0 / step if step else None
    return found


def _is_series(item: object) -> bool:
    return (
        isinstance(item, h5py.Group)
        and "data" in item
        and "PoseEstimationSeries" in str(item.attrs.get("neurodata_type"))
    )


def _scaled(data: Any) -> np.ndarray:
    """Returns the values of a series in its unit."""
    values = np.asarray(data[()], np.float64)
    return values * float(data.attrs.get("conversion", 1.0)) + float(data.attrs.get("offset", 0.0))
