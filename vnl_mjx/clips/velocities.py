"""Velocities of poses by finite differences, over all frames at once."""

import numpy as np

from vnl_mjx.quaternions import rotation_between


def finite_difference_qvel(qpos: np.ndarray, lengths: np.ndarray, rate_hz: float) -> np.ndarray:
    """Central differences inside each clip, one-sided at its ends, zero for a single frame.

    Args:
        qpos: [frame, 7 + joints] of a free root joint and scalar joints, clips one after another.
        lengths: [clip], frames per clip.
        rate_hz: frames per second.

    Returns:
        float64 [frame, 6 + joints].
    """
    before, after = neighbours(np.asarray(lengths))
    qpos = np.asarray(qpos, np.float64)
    return difference_qvel(qpos[before], qpos[after], seconds_between(before, after, rate_hz))


def difference_qvel(before: np.ndarray, after: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The constant qvel that moves one pose to another, as MuJoCo's `mj_differentiatePos`.

    The angular velocity is in the root's own frame, as in the qvel of a free joint.

    Args:
        before: [frame, 7 + joints] poses.
        after: [frame, 7 + joints] poses.
        seconds: [frame], between them.
    """
    qvel = np.empty((len(before), before.shape[1] - 1))
    qvel[:, :3] = after[:, :3] - before[:, :3]
    qvel[:, 3:6] = rotation_between(before[:, 3:7], after[:, 3:7])
    np.subtract(after[:, 7:], before[:, 7:], out=qvel[:, 6:])
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
