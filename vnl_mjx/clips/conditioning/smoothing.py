"""Smooths with Savitzky-Golay filters."""

from collections.abc import Sequence

import numpy as np
import scipy.signal

from vnl_mjx.quaternions import continuous_signs
from vnl_mjx.walkers.layout import Layout

POLYNOMIAL_ORDER = 2


def window_frames(window_s: float, rate_hz: float) -> int:
    """Returns the odd number of frames nearest to `window_s` seconds; below 3, nothing is smoothed."""
    return 2 * int(np.rint((window_s * rate_hz - 1.0) / 2.0)) + 1


def smooth(
    values: np.ndarray, lengths: Sequence[int] | np.ndarray, window_s: float, rate_hz: float
) -> np.ndarray:
    """Fits a parabola to the window around each frame of [frame, dim] and takes its value there.

    Stretches have `lengths` [stretch] frames, and no window crosses their ends: near an end, the parabola
    of the last full window is evaluated off-centre. A stretch shorter than the window uses the widest odd
    window that fits; one under five frames is left as it is, because a parabola through three points
    smooths nothing.
    """
    result = np.array(values, np.float64)
    window = window_frames(window_s, rate_hz)
    stop = 0
    for length in np.asarray(lengths).tolist():
        start, stop = stop, stop + length
        fitting = min(window, length - 1 + length % 2)
        if fitting > POLYNOMIAL_ORDER + 1:
            result[start:stop] = scipy.signal.savgol_filter(
                result[start:stop], fitting, POLYNOMIAL_ORDER, axis=0
            )
    if stop != len(result):
        raise ValueError(f"{lengths=} must sum to {len(result)}")
    return result


def smooth_poses(
    qpos: np.ndarray,
    layout: Layout,
    lengths: Sequence[int] | np.ndarray,
    window_s: float,
    rate_hz: float,
) -> np.ndarray:
    """Smooths poses [frame, nq]; quaternions get continuous signs first and unit norm afterwards."""
    result = np.array(qpos, np.float64)
    if (root := layout.root) is None:
        return smooth(result, lengths, window_s, rate_hz)
    result[:, root.quaternion] = continuous_signs(result[:, root.quaternion])
    result = smooth(result, lengths, window_s, rate_hz)
    result[:, root.quaternion] /= np.linalg.norm(result[:, root.quaternion], axis=1, keepdims=True)
    return result


def limit_velocity(velocity: np.ndarray, max_qvel: float) -> tuple[np.ndarray, np.ndarray]:
    """Clips velocities [frame, joint] to +-max_qvel (rad/s), and counts the clipped ones [frame].

    dm_control's trajectories and STAC's are limited so (`max_qvel`, 20 rad/s).
    """
    clamped = np.sum(np.abs(velocity) > max_qvel, axis=1)
    return np.clip(velocity, -max_qvel, max_qvel), clamped


def smooth_step(x: np.ndarray) -> np.ndarray:
    """Rises from 0 at 0 to 1 at 1 as a polynomial with no slope or curvature at its ends."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)
