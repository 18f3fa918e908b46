"""Epochs of gradient steps over shuffled minibatches of what a rollout visited."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from vnl_mjx.training.trainer import LearningStatistics

Learnt = TypeVar("Learnt")


def minibatch_epochs(
    minibatch: Callable[[Learnt, jax.Array, jax.Array], tuple[Learnt, LearningStatistics]],
    learnt: Learnt,
    key: jax.Array,
    num_rows: int,
    num_minibatches: int,
    num_epochs: int,
) -> tuple[Learnt, LearningStatistics]:
    """Goes `num_epochs` times through `num_rows` rows, each time in another order.

    Args:
        minibatch: a gradient step, from what is learnt, the rows [num_rows / num_minibatches] to learn
            from and a key, to what is learnt and the step's statistics.
        learnt: parameters, optimiser's state and what else a gradient step changes.
        key: one random key.
        num_rows: of what was visited.
        num_minibatches: gradient steps per epoch; divides `num_rows`.
        num_epochs: passes.

    Returns:
        What is learnt afterwards and the mean of the statistics.
    """

    def epoch(learnt: Learnt, key: jax.Array):
        shuffle_key, noise_key = jax.random.split(key)
        rows = jax.random.permutation(shuffle_key, num_rows).reshape(num_minibatches, -1)
        keys = jax.random.split(noise_key, num_minibatches)
        return jax.lax.scan(lambda learnt, inputs: minibatch(learnt, *inputs), learnt, (rows, keys))

    learnt, statistics = jax.lax.scan(epoch, learnt, jax.random.split(key, num_epochs))
    return learnt, jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), statistics)


def if_finite(grads: Any, stepped: Learnt, learnt: Learnt) -> tuple[Learnt, jax.Array, jax.Array]:
    """`stepped` if the gradient that led there is finite, else `learnt` as it was.

    A gradient that is not finite is counted and left out; the optimiser's state never holds it.

    Returns:
        What is learnt, the gradient's global norm [] and whether it was left out [] float, 1 or 0.
    """
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(grad_norm)
    learnt = jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, learnt)
    return learnt, grad_norm, 1.0 - finite
