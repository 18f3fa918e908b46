"""Finds frames that hold no pose, and fills short gaps."""

import numpy as np

from vnl_mjx.clips.columns import is_usable
from vnl_mjx.quaternions import slerp, unit_quaternions
from vnl_mjx.walkers.layout import Layout


def bad_frames(qpos: np.ndarray, layout: Layout) -> np.ndarray:
    """Flags frames [frame] of `qpos` [frame, nq] with unusable numbers or a root quaternion near 0."""
    bad = np.logical_not(is_usable(qpos).all(axis=1))
    if root := layout.root:
        unit, _ = unit_quaternions(qpos[:, root.quaternion])
        bad |= ~np.isfinite(unit).all(axis=1)
    return bad


def fill_gaps(
    qpos: np.ndarray, layout: Layout, max_gap_frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fills runs of at most `max_gap_frames` bad frames between good ones of one take [frame, nq].

    Positions and joints are filled linearly, the root's orientation by spherical linear
    interpolation. A bad frame is replaced whole: if one number is lost, the others are rarely right.
    Longer gaps, and gaps at either end, stay missing.

    Returns:
        qpos, float64 [frame, nq]: good frames as given, bit for bit, missing ones all NaN; which frames
        were filled, and which are missing, bool [frame] each.
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
    return result, filled, missing
