"""Velocities of poses by finite differences, over all frames at once."""

import numpy as np

from vnl_mjx.quaternions import rotation_between
from vnl_mjx.walkers.layout import Layout


def finite_difference_qvel(
    qpos: np.ndarray, layout: Layout, lengths: np.ndarray, rate_hz: float
) -> np.ndarray:
    """Central differences inside each clip, one-sided at its ends, zero for a single frame.

    `qpos` [frame, nq] are clips of `lengths` frames one after another; returns float64 [frame, nv].
    """
    before, after = neighbours(np.asarray(lengths))
    qpos = np.asarray(qpos, np.float64)
    seconds = seconds_between(before, after, rate_hz)
    return difference_qvel(qpos[before], qpos[after], layout, seconds)


def difference_qvel(
    before: np.ndarray, after: np.ndarray, layout: Layout, seconds: np.ndarray
) -> np.ndarray:
    """The constant qvel [frame, nv] that moves poses [frame, nq] to others in `seconds` [frame].

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
    """Rows of the frame before and after each frame, [frame] each, within its clip."""
    stops = np.cumsum(lengths)
    first, last = np.repeat(stops - lengths, lengths), np.repeat(stops - 1, lengths)
    row = np.arange(len(first))
    return np.maximum(row - 1, first), np.minimum(row + 1, last)


def seconds_between(before: np.ndarray, after: np.ndarray, rate_hz: float) -> np.ndarray:
    """Time between rows `before` and `after`; that of one frame where they are the same."""
    return np.maximum(after - before, 1) / rate_hz
