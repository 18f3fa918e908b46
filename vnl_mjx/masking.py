"""Selects between arrays by a mask of their leading axes."""

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def widened(mask: jax.Array, x: jax.Array) -> jax.Array:
    """Returns `mask` [...] with trailing axes of 1, to broadcast against `x` [..., *]."""
    return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def where(mask: jax.Array, new: Tree, old: Tree) -> Tree:
    """Returns `new` where `mask` is true and `old` elsewhere, for two trees of arrays.

    Args:
        mask: [...] bool, such as one flag per environment.
        new: arrays [..., *]; an array that is the same object in `old` may have any shape.
        old: likewise.
    """

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return old if new is old else jnp.where(widened(mask, old), new, old)

    return jax.tree.map(choose, new, old)
