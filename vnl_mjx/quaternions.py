"""Computes with unit quaternions (w, x, y, z), as MuJoCo stores them, in NumPy or JAX arrays.

All functions broadcast over leading axes. They use JAX if one of their arguments is a JAX array, else NumPy
in the precision of the arrays.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Array = TypeVar("Array", np.ndarray, jax.Array)

_ZERO_NORM = 1e-3
_NORM_TOLERANCE = 1e-5  # unit to float32 round-off; left as stored, so that copies are exact
_SMALL_ANGLE = 1e-6  # radians; below it the chord is the arc to the last bit


def _arrays(*arrays: Any) -> tuple[Any, ...]:
    """Returns the library (JAX or NumPy), then the arrays converted to it."""
    xp = jnp if any(isinstance(array, jax.Array) for array in arrays) else np
    return xp, *map(xp.asarray, arrays)


def multiply(a: Array, b: Array) -> Array:
    """Returns the Hamilton product a * b of [..., 4] quaternions."""
    xp, a, b = _arrays(a, b)
    aw, ax, ay, az = xp.moveaxis(a, -1, 0)
    bw, bx, by, bz = xp.moveaxis(b, -1, 0)
    return xp.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(q: Array) -> Array:
    """Returns the inverse of a unit quaternion [..., 4]."""
    xp, q = _arrays(q)
    return q * xp.asarray([1.0, -1.0, -1.0, -1.0], q.dtype)


def rotate(vector: Array, q: Array) -> Array:
    """Rotates [..., 3] vectors by [..., 4] quaternions: body frame to world for a body's own `q`.

    The expression 2 u (u.v) + (s^2 - u.u) v + 2 s (u x v) with q = (s, u) is also brax's
    (`brax/math.py: rotate`), so that a quaternion that is slightly off unit length scales alike.
    """
    xp, vector, q = _arrays(vector, q)
    s, u = q[..., :1], q[..., 1:]
    u, vector = xp.broadcast_arrays(u, vector)
    along = 2 * xp.sum(u * vector, axis=-1, keepdims=True) * u
    kept = (s * s - xp.sum(u * u, axis=-1, keepdims=True)) * vector
    return along + kept + 2 * s * xp.cross(u, vector)


def into_frame(vector_w: Array, q: Array) -> Array:
    """Rotates world vectors [..., 3] into the frame of orientations [..., 4]."""
    return rotate(vector_w, conjugate(q))


def points_in_frame(origin_w: np.ndarray, q: np.ndarray, points_w: np.ndarray) -> np.ndarray:
    """Transforms world points [frame, point, 3] into frames at `origin_w` [frame, 3], `q` [frame, 4]."""
    # component by component, [point, frame]: many small matrix products would take ten times as long
    x, y, z = points_w.T - origin_w.T[:, None]
    qw, qx, qy, qz = q.T
    ww, xx, yy, zz = qw * qw, qx * qx, qy * qy, qz * qz
    xy, xz, yz = 2 * qx * qy, 2 * qx * qz, 2 * qy * qz
    wx, wy, wz = 2 * qw * qx, 2 * qw * qy, 2 * qw * qz
    seen = np.empty_like(points_w)
    seen[..., 0] = (x * (ww + xx - yy - zz) + y * (xy + wz) + z * (xz - wy)).T
    seen[..., 1] = (x * (xy - wz) + y * (ww - xx + yy - zz) + z * (yz + wx)).T
    seen[..., 2] = (x * (xz + wy) + y * (yz - wx) + z * (ww - xx - yy + zz)).T
    return seen


def matrix(q: Array) -> Array:
    """Returns rotation matrices [..., 3, 3] of quaternions [..., 4]: `matrix(q) @ v` is `rotate(v, q)`."""
    xp, q = _arrays(q)
    w, x, y, z = xp.moveaxis(q, -1, 0)
    elements = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in elements], axis=-2)


def matrix_quaternion(matrix: Array) -> Array:
    """Returns one of the two unit quaternions [..., 4] of rotation matrices [..., 3, 3].

    Each row of the symmetric 4 q q^T is q up to a factor; the row with the largest diagonal entry is well
    conditioned (Shepperd 1978, "Quaternion from rotation matrix").
    """
    xp, matrix = _arrays(matrix)
    m = xp.moveaxis(matrix, (-2, -1), (0, 1))
    x, y, z = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    xy, xz, yz = m[1, 0] + m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2]
    signs = xp.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], matrix.dtype)
    w2, x2, y2, z2 = 1.0 + xp.tensordot(signs, xp.stack([m[0, 0], m[1, 1], m[2, 2]]), axes=1)
    rows = [[w2, x, y, z], [x, x2, xy, xz], [y, xy, y2, yz], [z, xz, yz, z2]]
    products = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    best = xp.argmax(xp.diagonal(products, axis1=-2, axis2=-1), axis=-1)
    row = xp.take_along_axis(products, best[..., None, None], axis=-2)[..., 0, :]
    return row / xp.linalg.norm(row, axis=-1, keepdims=True)


def rotation_vector(q: Array) -> Array:
    """Returns axis times angle [..., 3] of unit quaternions [..., 4], the shorter way round, radians."""
    xp, q = _arrays(q)
    q = xp.where(q[..., :1] < 0, -q, q)
    real, imaginary = q[..., :1], q[..., 1:]
    sine2 = xp.sum(imaginary * imaginary, axis=-1, keepdims=True)
    is_small = sine2 < (1e-24 if q.dtype == np.float64 else 1e-12)
    sine = xp.sqrt(xp.where(is_small, 1.0, sine2))
    # sin(x / 2) ~ x / 2: the limit of angle / sine is 2
    return imaginary * xp.where(is_small, 2.0, 2.0 * xp.arctan2(sine, real) / sine)


def rotation_quaternion(vector: Array) -> Array:
    """Returns unit quaternions [..., 4] of rotation vectors [..., 3], axis times angle, radians."""
    xp, vector = _arrays(vector)
    half = 0.5 * xp.linalg.norm(vector, axis=-1, keepdims=True)
    # sin(h) / h; xp.sinc is of pi h
    imaginary = 0.5 * vector * xp.sinc(half / xp.pi)
    return xp.concatenate([xp.cos(half), imaginary], axis=-1)


def rotation_between(a: Array, b: Array) -> Array:
    """Returns the shortest rotation vector [..., 3], in a's frame, that turns `a` into `b`, unit [..., 4]."""
    return rotation_vector(multiply(conjugate(a), b))


def half_angle(a: Array, b: Array) -> Array:
    """Returns half the rotation angle between quaternions [..., 4], radians in [0, pi/2]; q and -q agree.

    dm_control's bounded quaternion distance (`locomotion/tasks/reference_pose/rewards.py`), which
    track-mjx uses. The squared cosine keeps its float32 noise: 1e-7 in it is 2e-4 rad near zero.
    """
    xp, a, b = _arrays(a, b)
    a = a / xp.linalg.norm(a, axis=-1, keepdims=True)
    b = b / xp.linalg.norm(b, axis=-1, keepdims=True)
    cosine = 2 * xp.sum(a * b, axis=-1) ** 2 - 1
    return 0.5 * xp.arccos(xp.minimum(cosine, 1.0))


def slerp(a: np.ndarray, b: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Interpolates on the shorter arc from `a` to `b` (Shoemake, 1985, great-arc interpolation).

    `a` and `b` [..., 4] are unit, the sign of `b` does not matter; `fraction` [...] is 0 at `a`, 1 at
    `b`. Returns [..., 4], unit, with the sign of `a` near it.
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


def unit_quaternions(q: np.ndarray) -> tuple[np.ndarray, int]:
    """Normalises quaternions [..., 4] and counts those that were not unit.

    Returns float64: as stored if unit to 1e-5, NaN if the norm is below 1e-3 or not finite; and the number
    of normalised quaternions.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(q, axis=-1)
    bad = ~(np.isfinite(norms) & (norms >= _ZERO_NORM))
    off = ~bad & (np.abs(norms - 1.0) > _NORM_TOLERANCE)
    unit = np.array(q, np.float64)
    unit[off] /= norms[off, None]
    unit[bad] = np.nan
    return unit, int(off.sum())


def continuous_signs(q: np.ndarray) -> np.ndarray:
    """Returns the same orientations [frame, 4], each with the sign nearer to the previous frame's.

    The first good frame keeps its sign; frames with NaN stay as they are and are skipped.
    """
    result = np.array(q, np.float64)
    good = np.flatnonzero(np.isfinite(result).all(axis=-1))
    series = result[good]
    flips = np.where(np.sum(series[1:] * series[:-1], axis=-1) < 0.0, -1.0, 1.0)
    result[good[1:]] *= np.cumprod(flips)[:, None]
    return result
