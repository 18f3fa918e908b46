"""Opens trajectories of dm_control's locomotion tasks.

Layout: dm_control/locomotion/mocap/loader.py (`HDF5TrajectoryLoader`): one group per trajectory with the
attribute `dt`, and features [column, frame] in `walkers/walker_0`. Joints have no names there; they are in
the order of the walker's `mocap_joints`.
"""

from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.columns import POSE
from vnl_mjx.clips.recording import LazyFrames, Recording, checked_rate
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, listing
from vnl_mjx.clips.sources.options import SourceOptions, completed
from vnl_mjx.errors import UserError

_WALKER = "walkers/walker_0"
# `dm_control/locomotion/walkers/cmu_humanoid.py: _CMU_MOCAP_JOINTS`, whose import needs a display
_HUMANOID_JOINTS = """
    lfemurrz lfemurry lfemurrx ltibiarx lfootrz lfootrx ltoesrx rfemurrz rfemurry rfemurrx rtibiarx
    rfootrz rfootrx rtoesrx lowerbackrz lowerbackry lowerbackrx upperbackrz upperbackry upperbackrx
    thoraxrz thoraxry thoraxrx lowerneckrz lowerneckry lowerneckrx upperneckrz upperneckry
    upperneckrx headrz headry headrx lclaviclerz lclaviclery lhumerusrz lhumerusry lhumerusrx
    lradiusrx lwristry lhandrz lhandrx lfingersrx lthumbrz lthumbrx rclaviclerz rclaviclery
    rhumerusrz rhumerusry rhumerusrx rradiusrx rwristry rhandrz rhandrx rfingersrx rthumbrz
    rthumbrx
"""
_HUMANOIDS = (1, 4)  # values of `mocap_pb2.Walker.Model`: CMU_2019 and CMU_2020


def is_dm_control(source: Hdf5Source) -> bool:
    """Returns whether the file's first group is a trajectory."""
    with source.reading():
        first = next(iter(source.file.values()), None)
        return isinstance(first, h5py.Group) and f"{_WALKER}/joints" in first


def open_dm_control(source: Hdf5Source, options: SourceOptions) -> Recording:
    """Opens the first walker of every trajectory of a file, as one take each."""
    names = source.found()
    parts = [_poses(source, name) for name in names]
    with source.reading():
        groups: list[Any] = [source.file[name] for name in names]
        rates = {round(1.0 / float(group.attrs["dt"]), 6) for group in groups}
        model = int(groups[0][_WALKER].attrs.get("model", 0))
        others = sum(len(group["walkers"]) - 1 for group in groups)
    if len({part.shape[1] for part in parts}) > 1 or len(rates) > 1:
        raise UserError(
            f"{source.path}: expected trajectories of one body at one rate, found several; give a "
            f"file for each; found {listing(names)}"
        )
    found = Recording(source.path, "trajectories of dm_control", _joined(parts), has_root=True)
    found.qpos_name, found.take_names = f"{_WALKER}/joints", names
    found.take_lengths = np.array([len(part) for part in parts])
    found.rate_hz = checked_rate(rates.pop(), f"{source.path}: 1 / attribute 'dt'")
    found.conventions = {"quaternion_order": "wxyz", "length_unit": "m", "up_axis": "z"}
    found.conventions = {**found.conventions, "angle_unit": "radians"}
    if model in _HUMANOIDS:
        found.joint_names = tuple(_HUMANOID_JOINTS.split())
    if others:
        found.notes += (f"{others} further walkers of the trajectories were not read",)
    return completed(found, options)


def _poses(source: Hdf5Source, name: str) -> LazyFrames:
    """Returns the poses [frame, column] of one trajectory."""
    given: dict[str, h5py.Dataset] = {}
    for part in POSE:
        data = source.dataset(f"{name}/{_WALKER}/{part}")
        if data is None or data.ndim != 2:
            raise UserError(
                f"{source.path}: {name}/{_WALKER}/{part} missing, expected (columns, frames)"
            )
        given[part] = data
    sizes = {part: int(data.shape[0]) for part, data in given.items()}
    frames = {int(data.shape[1]) for data in given.values()}
    if len(frames) > 1 or (sizes["position"], sizes["quaternion"]) != (3, 4):
        shapes = {part: data.shape for part, data in given.items()}
        raise UserError(
            f"{source.path}: trajectory {name!r} has shapes {shapes}, expected position (3, frames), "
            "quaternion (4, frames) and joints (joints, frames)"
        )

    def read(first: int, stop: int) -> np.ndarray:
        with source.reading():
            return np.concatenate([given[part][:, first:stop] for part in POSE]).T

    return LazyFrames((frames.pop(), sum(sizes.values())), np.dtype(np.float64), read)


def _joined(parts: list[LazyFrames]) -> LazyFrames:
    """Returns the frames of all trajectories, one after another."""
    stops = np.cumsum([len(part) for part in parts])

    def read(first: int, stop: int) -> np.ndarray:
        pieces = [
            part[max(first - end + len(part), 0) : max(stop - end + len(part), 0)]
            for part, end in zip(parts, stops.tolist(), strict=True)
        ]
        return np.concatenate(pieces)

    return LazyFrames((int(stops[-1]), parts[0].shape[1]), np.dtype(np.float64), read)
