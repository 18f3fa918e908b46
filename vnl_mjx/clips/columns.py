"""Converts between qpos and qvel of a walker and the features of clips, and computes qvel from qpos."""

from collections.abc import Mapping, Sequence

import numpy as np

from vnl_mjx.quaternions import rotation_between
from vnl_mjx.walkers.layout import Layout

POSE = ("position", "quaternion", "joints")
VELOCITY = ("velocity", "angular_velocity", "joints_velocity")
LARGEST = (
    1e10  # MuJoCo takes a larger number for a failed simulation, and logs it to the working folder
)


def is_usable(values: np.ndarray) -> np.ndarray:
    """Flags values that are finite and that MuJoCo takes for numbers, of the same shape."""
    return np.abs(values) < LARGEST


def columns_of(names: Sequence[str], free_root: bool) -> Sequence[str]:
    """Returns the features of `POSE` or `VELOCITY` in qpos or qvel; without a free root, the last alone."""
    return names if free_root else names[-1:]


def join_qpos(features: Mapping[str, np.ndarray], layout: Layout) -> np.ndarray:
    """Returns qpos [..., nq] from the features of `POSE`."""
    names = columns_of(POSE, layout.free_root)
    return np.concatenate([features[name] for name in names], axis=-1)


def join_qvel(features: Mapping[str, np.ndarray], layout: Layout) -> np.ndarray:
    """Returns qvel [..., nv] from the features of `VELOCITY`."""
    names = columns_of(VELOCITY, layout.free_root)
    return np.concatenate([features[name] for name in names], axis=-1)


def split_qpos(qpos: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """Splits qpos [..., nq] into its features of `POSE`."""
    columns = {"joints": layout.joint_qpos}
    if root := layout.root:
        columns = {"position": root.position, "quaternion": root.quaternion} | columns
    return {name: qpos[..., own] for name, own in columns.items()}


def split_qvel(qvel: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """Splits qvel [..., nv] into its features of `VELOCITY`."""
    columns = {"joints_velocity": layout.joint_qvel}
    if root := layout.root:
        columns |= {"velocity": root.velocity, "angular_velocity": root.angular_velocity}
    return {name: qvel[..., own] for name, own in columns.items()}


def root_pose(qpos: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Returns the root's position [..., 3] and quaternion [..., 4] of qpos [..., nq].

    Without a free root, the root does not move: these are the origin and the identity.
    """
    if root := layout.root:
        return qpos[..., root.position], qpos[..., root.quaternion]
    leading = qpos.shape[:-1]
    return np.zeros((*leading, 3)), np.tile([1.0, 0.0, 0.0, 0.0], (*leading, 1))


def finite_difference_qvel(
    qpos: np.ndarray, layout: Layout, lengths: np.ndarray, rate_hz: float
) -> np.ndarray:
    """Computes qvel by central differences in each clip, one-sided at its ends, zero for a single frame.

    `qpos` [frame, nq] are clips of `lengths` frames one after another; returns float64 [frame, nv].
    """
    before, after = neighbours(np.asarray(lengths))
    qpos = np.asarray(qpos, np.float64)
    seconds = seconds_between(before, after, rate_hz)
    return difference_qvel(qpos[before], qpos[after], layout, seconds)


def difference_qvel(
    before: np.ndarray, after: np.ndarray, layout: Layout, seconds: np.ndarray
) -> np.ndarray:
    """Returns the constant qvel [frame, nv] that moves poses [frame, nq] to others in `seconds` [frame].

    As MuJoCo's `mj_differentiatePos`: the angular velocity is in the root's own frame.
    """
    qvel = np.empty((len(before), layout.nv))
    if root := layout.root:
        np.subtract(after[:, root.position], before[:, root.position], out=qvel[:, root.velocity])
        turned = rotation_between(before[:, root.quaternion], after[:, root.quaternion])
        qvel[:, root.angular_velocity] = turned
    joints = layout.joint_qpos
    np.subtract(after[:, joints], before[:, joints], out=qvel[:, layout.joint_qvel])
    qvel *= (1.0 / seconds)[:, None]  # as MuJoCo does
    return qvel


def neighbours(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the frames before and after each frame, [frame] each, within its clip."""
    stops = np.cumsum(lengths)
    first, last = np.repeat(stops - lengths, lengths), np.repeat(stops - 1, lengths)
    row = np.arange(len(first))
    return np.maximum(row - 1, first), np.minimum(row + 1, last)


def seconds_between(before: np.ndarray, after: np.ndarray, rate_hz: float) -> np.ndarray:
    """Returns the time between rows `before` and `after`; one frame's where the rows are equal."""
    return np.maximum(after - before, 1) / rate_hz
