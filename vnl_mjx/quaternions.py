"""Unit quaternions (w, x, y, z), as MuJoCo stores them. All functions broadcast over leading axes."""

import jax
import jax.numpy as jnp


def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
    """Hamilton product a * b of [..., 4] quaternions."""
    aw, ax, ay, az = jnp.moveaxis(a, -1, 0)
    bw, bx, by, bz = jnp.moveaxis(b, -1, 0)
    return jnp.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def conjugate(q: jax.Array) -> jax.Array:
    """The inverse of a unit quaternion [..., 4]."""
    return q * jnp.asarray([1.0, -1.0, -1.0, -1.0], q.dtype)


def rotate(vector: jax.Array, q: jax.Array) -> jax.Array:
    """Rotates [..., 3] vectors by [..., 4] quaternions: body frame to world for a body's own `q`.

    The expression 2 u (u.v) + (s^2 - u.u) v + 2 s (u x v) with q = (s, u) is also brax's
    (`brax/math.py: rotate`), so that a quaternion that is slightly off unit length scales alike.
    """
    s, u = q[..., :1], q[..., 1:]
    u, vector = jnp.broadcast_arrays(u, vector)
    along = 2 * jnp.sum(u * vector, axis=-1, keepdims=True) * u
    kept = (s * s - jnp.sum(u * u, axis=-1, keepdims=True)) * vector
    return along + kept + 2 * s * jnp.cross(u, vector)


def matrix(q: jax.Array) -> jax.Array:
    """Rotation matrices [..., 3, 3] of [..., 4] quaternions: `matrix(q) @ v` is `rotate(v, q)`."""
    w, x, y, z = jnp.moveaxis(q, -1, 0)
    elements = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in elements], axis=-2)


def half_angle(a: jax.Array, b: jax.Array) -> jax.Array:
    """Half the rotation angle between [..., 4] quaternions, radians in [0, pi/2]; q and -q agree.

    dm_control's bounded quaternion distance (`locomotion/tasks/reference_pose/rewards.py`), which
    track-mjx uses. The squared cosine keeps its float32 noise: 1e-7 in it is 2e-4 rad near zero.
    """
    a = a / jnp.linalg.norm(a, axis=-1, keepdims=True)
    b = b / jnp.linalg.norm(b, axis=-1, keepdims=True)
    cosine = 2 * jnp.sum(a * b, axis=-1) ** 2 - 1
    return 0.5 * jnp.arccos(jnp.minimum(cosine, 1.0))
