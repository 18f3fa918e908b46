"""Choosing between arrays by a mask of their leading axes."""

from typing import TypeVar

import jax
import jax.numpy as jnp

Tree = TypeVar("Tree")


def widened(mask: jax.Array, x: jax.Array) -> jax.Array:
    """`mask` [...] with as many further axes of 1 as `x` [..., *] has more, to broadcast against it."""
    return mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))


def where(mask: jax.Array, new: Tree, old: Tree) -> Tree:
    """`new` where `mask` is true, `old` elsewhere, for two trees of arrays.

    Args:
        mask: [...] bool, such as one flag per environment.
        new: arrays [..., *]; one that is the very object that `old` has may be of any shape, since there
            is nothing to choose.
        old: likewise.
    """

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return old if new is old else jnp.where(widened(mask, old), new, old)

    return jax.tree.map(choose, new, old)
