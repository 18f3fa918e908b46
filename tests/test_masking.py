"""Choosing between trees of arrays by a flag of each environment."""

import jax.numpy as jnp
import numpy as np

from vnl_mjx import masking

FLAGS = jnp.array([True, False, True])


def test_rows_are_chosen_by_hand_whatever_follows_them():
    new = {"a": jnp.zeros(3), "b": (jnp.zeros((3, 1, 2)), ())}
    old = {"a": jnp.arange(3.0), "b": (jnp.arange(6.0).reshape(3, 1, 2), ())}
    found = masking.where(FLAGS, new, old)
    np.testing.assert_array_equal(found["a"], [0, 1, 0])
    np.testing.assert_array_equal(found["b"][0][:, 0], [[0, 0], [2, 3], [0, 0]])
    assert found["b"][1] == ()


def test_a_mask_of_several_axes_is_widened_to_those_of_the_array():
    mask = jnp.array([[True, False], [False, True]])
    assert masking.widened(mask, jnp.zeros((2, 2, 4, 5))).shape == (2, 2, 1, 1)
    found = masking.where(mask, jnp.ones((2, 2, 3)), jnp.zeros((2, 2, 3)))
    np.testing.assert_array_equal(found.sum(axis=-1), [[3, 0], [0, 3]])


def test_what_is_the_same_array_in_both_needs_no_row_per_flag():
    shared = jnp.arange(2.0)
    found = masking.where(FLAGS, (jnp.ones(3), shared), (jnp.zeros(3), shared))
    assert found[1] is shared
    np.testing.assert_array_equal(found[0], [1, 0, 1])
