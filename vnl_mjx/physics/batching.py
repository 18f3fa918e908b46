"""Lets functions of many simulations be called like those of one, and `vmap`ped for many."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def batched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function of one simulation from `function` of any number of them.

    At any depth of `vmap`, including none, `function` is traced once with all simulations of the call, so
    it can size shared resources by their number.

    Args:
        function: takes and returns pytrees of arrays [simulation, ...].
    """

    @jax.custom_batching.custom_vmap
    def rows(*args):
        return function(*args)

    @rows.def_vmap
    def _(axis_size, in_batched, *args):
        def flat(x, is_batched):
            x = x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))
            return x.reshape(-1, *x.shape[2:])

        results = rows(*jax.tree.map(flat, args, tuple(in_batched)))
        results = jax.tree.map(lambda x: x.reshape(axis_size, -1, *x.shape[1:]), results)
        return results, jax.tree.map(lambda _: True, results)

    def one(*args):
        results = rows(*jax.tree.map(lambda x: jnp.asarray(x)[None], args))
        return jax.tree.map(lambda x: x[0], results)

    return one
