"""Resamples poses to another frame rate.

Positions and joints are interpolated linearly or by a cubic spline, the root's orientation by
spherical linear interpolation in both cases. Nothing is filtered: smooth first
(`smoothing.smooth_poses`) where a slower rate would alias tracking noise.
"""

from typing import Literal

import numpy as np
import scipy.interpolate

from vnl_mjx.clips.conditioning.segments import stretches
from vnl_mjx.quaternions import slerp
from vnl_mjx.walkers.layout import Layout

Interpolation = Literal["linear", "cubic"]

_SNAP_FRAMES = 1e-6  # times this near to an input frame count as that frame


def num_resampled(num_in: int, rate_in: float, rate_out: float) -> int:
    """Returns how many output frames at k / rate_out seconds the input [0, (F - 1) / rate_in] covers."""
    if num_in < 1:
        return 0
    snap = 0.5 * _SNAP_FRAMES * min(1.0, rate_out / rate_in)
    return int(np.floor((num_in - 1) * rate_out / rate_in + snap)) + 1


def resample(
    qpos: np.ndarray,
    layout: Layout,
    rate_in: float,
    rate_out: float,
    interpolation: Interpolation = "linear",
) -> np.ndarray:
    """Resamples one take [frame, nq] to another rate (Hz); the same rate gives identical numbers.

    Output frames are at k / rate_out seconds, from the first input frame on to the last one or
    just before. An output frame next to a NaN input frame (a gap) is NaN. "cubic" is a
    not-a-knot spline of positions and joints, which do not wrap, in each stretch without gaps.

    Returns:
        float64 [`num_resampled(frame, rate_in, rate_out)`, nq].
    """
    if interpolation not in ("linear", "cubic"):
        raise ValueError(f"{interpolation=} must be 'linear' or 'cubic'")
    qpos = np.asarray(qpos, np.float64)
    if rate_in == rate_out:
        return qpos.copy()
    before, fraction = _places(len(qpos), rate_in, rate_out)
    a, result = qpos[before], qpos[before + (fraction > 0.0)]
    rotation = layout.root.quaternion if layout.root else slice(0)
    turned = slerp(a[:, rotation], result[:, rotation], fraction)
    # a + fraction * (b - a) in place, as long recordings are large
    result -= a
    result *= fraction[:, None]
    result += a
    if interpolation == "cubic":
        _cubic(qpos, layout, before, fraction, result)
    result[:, rotation] = turned
    exact = fraction == 0.0
    result[exact] = a[exact]
    return result


def resample_flags(flags: np.ndarray, rate_in: float, rate_out: float) -> np.ndarray:
    """Resamples flags, bool [frame], to the frames of `resample`; set where an input frame beside is."""
    before, fraction = _places(len(flags), rate_in, rate_out)
    return flags[before] | flags[before + (fraction > 0.0)]


def _places(num_in: int, rate_in: float, rate_out: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the input frame at or before each output frame, and the fraction of a frame after it."""
    if not (rate_in > 0 and rate_out > 0 and np.isfinite(rate_in / rate_out)):
        raise ValueError(f"{rate_in=} and {rate_out=} must be positive and finite")
    frames_out = np.arange(num_resampled(num_in, rate_in, rate_out))
    place = np.asarray(frames_out * rate_in / rate_out, np.float64)
    nearest = np.rint(place)
    on_frame = np.abs(place - nearest) <= _SNAP_FRAMES
    base = np.where(on_frame, nearest, np.floor(place))
    fraction = np.where(on_frame, 0.0, place - base)
    return base.astype(np.int64), fraction


def _cubic(
    qpos: np.ndarray, layout: Layout, before: np.ndarray, fraction: np.ndarray, result: np.ndarray
) -> None:
    """Puts spline values into the positions and joints of `result`, stretch by stretch."""
    good = np.isfinite(qpos).all(axis=1)
    columns = np.arange(layout.nq)
    if root := layout.root:
        columns = np.delete(columns, root.quaternion)
    for start, stop in stretches(good):
        rows = slice(*np.searchsorted(before, [start, stop - 1]))  # with both neighbours inside
        if stop - start < 2 or rows.start == rows.stop:
            continue
        spline = scipy.interpolate.CubicSpline(np.arange(stop - start), qpos[start:stop, columns])
        result[rows, columns] = spline(before[rows] - start + fraction[rows])
