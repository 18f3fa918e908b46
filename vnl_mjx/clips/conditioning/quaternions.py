"""Orientations over time, in NumPy and float64: w x y z, as MuJoCo stores them."""

import numpy as np

_ZERO_NORM = 1e-3
_NORM_TOLERANCE = 1e-5  # unit to float32 round-off; left as stored, so that copies are exact
_SMALL_ANGLE = 1e-6  # radians; below it the chord is the arc to the last bit


def unit_quaternions(quaternion: np.ndarray) -> tuple[np.ndarray, int]:
    """Quaternions of norm 1, and how many had another.

    Args:
        quaternion: [frame, 4].

    Returns:
        [frame, 4], as stored where unit to 1e-5, NaN where the norm is below 1e-3 or not finite
        (a gap, see `gaps.fill_gaps`), and the number of those that were normalised.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(quaternion, axis=-1)
    bad = ~(np.isfinite(norms) & (norms >= _ZERO_NORM))
    off = ~bad & (np.abs(norms - 1.0) > _NORM_TOLERANCE)
    unit = np.array(quaternion, np.float64)
    unit[off] /= norms[off, None]
    unit[bad] = np.nan
    return unit, int(off.sum())


def continuous_signs(quaternion: np.ndarray) -> np.ndarray:
    """The same orientations with the sign that is nearer to the frame before.

    The first good frame keeps its sign; frames with NaN stay as they are and are stepped over.

    Args:
        quaternion: [frame, 4], unit.
    """
    result = np.array(quaternion, np.float64)
    good = np.flatnonzero(np.isfinite(result).all(axis=-1))
    series = result[good]
    flips = np.where(np.sum(series[1:] * series[:-1], axis=-1) < 0.0, -1.0, 1.0)
    result[good[1:]] *= np.cumprod(flips)[:, None]
    return result


def slerp(a: np.ndarray, b: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Orientations on the shorter arc from `a` to `b` (Shoemake, 1985, great-arc interpolation).

    Args:
        a: [..., 4], unit.
        b: [..., 4], unit; its sign does not matter.
        fraction: [...], 0 at `a`, 1 at `b`.

    Returns:
        [..., 4], unit, with the sign of `a` near it.
    """
    cosine = np.sum(a * b, axis=-1)
    b = np.where(cosine[..., None] < 0.0, -b, b)
    # half the chord is exact for small angles, where the arc cosine is not
    angle = 2.0 * np.arcsin(np.minimum(0.5 * np.linalg.norm(b - a, axis=-1), 1.0))
    sine = np.sin(angle)
    near = ~(angle > _SMALL_ANGLE)
    safe = np.where(near, 1.0, sine)
    weight_a = np.where(near, 1.0 - fraction, np.sin((1.0 - fraction) * angle) / safe)
    weight_b = np.where(near, fraction, np.sin(fraction * angle) / safe)
    result = weight_a[..., None] * a + weight_b[..., None] * b
    return result / np.linalg.norm(result, axis=-1, keepdims=True)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product a * b of [..., 4] quaternions; leading axes broadcast."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def rotate(vector: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """Rotates [..., 3] vectors by unit [..., 4] quaternions; leading axes broadcast."""
    u = quaternion[..., 1:]
    twice = 2.0 * np.cross(u, vector)
    return vector + quaternion[..., :1] * twice + np.cross(u, twice)


def conjugate(quaternion: np.ndarray) -> np.ndarray:
    """The inverse of a unit quaternion [..., 4]."""
    return quaternion * np.array([1.0, -1.0, -1.0, -1.0], quaternion.dtype)
