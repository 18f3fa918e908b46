"""Frames that are not poses: found, and filled where the gap is short."""

from typing import NamedTuple

import numpy as np

from vnl_mjx.quaternions import slerp, unit_quaternions
from vnl_mjx.walkers.layout import Layout


class GapResult(NamedTuple):
    """Poses with their short gaps filled.

    Attributes:
        qpos: float64 [frame, nq]; good frames as given, bit for bit; missing ones all NaN.
        filled: bool [frame], interpolated from the good frames around.
        missing: bool [frame], not a pose.
    """

    qpos: np.ndarray
    filled: np.ndarray
    missing: np.ndarray


def bad_frames(qpos: np.ndarray, layout: Layout) -> np.ndarray:
    """Frames [frame] of `qpos` [frame, nq] with NaN, infinity or a root quaternion near zero."""
    bad = np.logical_not(np.isfinite(qpos).all(axis=1))
    if root := layout.root:
        unit, _ = unit_quaternions(qpos[:, root.quaternion])
        bad |= ~np.isfinite(unit).all(axis=1)
    return bad


def fill_gaps(qpos: np.ndarray, layout: Layout, max_gap_frames: int) -> GapResult:
    """Fills runs of at most `max_gap_frames` bad frames between good ones of one take.

    Positions and joints are filled linearly, the root's orientation by spherical linear
    interpolation. A bad frame is replaced whole: where one number is lost the rest is seldom right.
    Longer gaps, and gaps at either end, stay missing. In a longer recording that is read in blocks,
    `max_gap_frames` frames more on either side give what the whole recording gives.

    Args:
        qpos: [frame, nq].
        layout: of qpos.
        max_gap_frames: 0 fills nothing.
    """
    result = np.array(qpos, np.float64)
    bad = bad_frames(result, layout)
    count = len(result)
    rows = np.arange(count)
    before = np.maximum.accumulate(np.where(bad, -1, rows))
    after = np.minimum.accumulate(np.where(bad, count, rows)[::-1])[::-1]
    inside = (before >= 0) & (after < count)
    filled = bad & inside & (after - before - 1 <= max_gap_frames)
    missing = bad & ~filled
    result[missing] = np.nan
    start, stop = before[filled], after[filled]
    fraction = (rows[filled] - start) / (stop - start)
    a, b = result[start], result[stop]
    between = a + fraction[:, None] * (b - a)
    if root := layout.root:
        ends = [unit_quaternions(end[:, root.quaternion])[0] for end in (a, b)]
        between[:, root.quaternion] = slerp(ends[0], ends[1], fraction)
    result[filled] = between
    return GapResult(result, filled, missing)
