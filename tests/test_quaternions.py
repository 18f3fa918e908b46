"""Quaternions against SciPy."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vnl_mjx import quaternions


def random_pair(seed: int):
    a, b = Rotation.random(2, rng=np.random.default_rng(seed))
    vector = np.random.default_rng(seed + 1).normal(size=3)
    return a, b, vector


def wxyz(rotation: Rotation) -> np.ndarray:
    return rotation.as_quat(scalar_first=True).astype(np.float32)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_product_rotation_and_angle(seed):
    a, b, vector = random_pair(seed)
    qa, qb = wxyz(a), wxyz(b)
    np.testing.assert_allclose(quaternions.rotate(vector, qa), a.apply(vector), atol=1e-5)
    product = quaternions.multiply(qa, qb)
    np.testing.assert_allclose(
        quaternions.rotate(vector, product), (a * b).apply(vector), atol=1e-5
    )
    back = quaternions.rotate(quaternions.rotate(vector, qa), quaternions.conjugate(qa))
    np.testing.assert_allclose(back, vector, atol=1e-5)
    angle = (a.inv() * b).magnitude()
    np.testing.assert_allclose(quaternions.half_angle(qa, qb), angle / 2, atol=2e-3)
    np.testing.assert_allclose(
        quaternions.half_angle(qa, -qb), quaternions.half_angle(qa, qb), atol=1e-6
    )


def test_broadcasting():
    q = np.broadcast_to(np.float32([1, 0, 0, 0]), (4, 1, 4))
    v = np.ones((4, 6, 3), np.float32)
    np.testing.assert_array_equal(quaternions.rotate(v, q), v)
    assert jax.eval_shape(quaternions.half_angle, q, q).shape == (4, 1)
