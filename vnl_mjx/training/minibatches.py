"""Epochs of gradient steps over shuffled minibatches of what a rollout visited."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from vnl_mjx.training.trainer import LearningStatistics

# At most so many groups of environments are shuffled apart, and on so many devices one can train.
MAX_GROUPS = 64

Learnt = TypeVar("Learnt")


def minibatch_epochs(
    minibatch: Callable[[Learnt, jax.Array, jax.Array], tuple[Learnt, LearningStatistics]],
    learnt: Learnt,
    key: jax.Array,
    num_rows: int,
    num_minibatches: int,
    num_epochs: int,
    groups: int = 1,
) -> tuple[Learnt, LearningStatistics]:
    """Goes `num_epochs` times through `num_rows` rows, each time in another order.

    Args:
        minibatch: a gradient step, from what is learnt, the rows to learn from ([groups, k] as
            `take_steps` and `take_environments` read them) and a key, to what is learnt and the step's
            statistics.
        learnt: parameters, optimiser's state and what else a gradient step changes.
        key: one random key.
        num_rows: of what was visited.
        num_minibatches: gradient steps per epoch; divides `num_rows`.
        num_epochs: passes.
        groups: of consecutive rows, each shuffled on its own and with the same share in every
            minibatch (`num_groups`).

    Returns:
        What is learnt afterwards and the mean of the statistics.
    """

    def epoch(learnt: Learnt, key: jax.Array):
        shuffle_key, noise_key = jax.random.split(key)
        rows = jnp.arange(num_rows // groups)
        rows = jax.vmap(lambda k: jax.random.permutation(k, rows))(
            jax.random.split(shuffle_key, groups)
        )
        rows = rows.reshape(groups, num_minibatches, -1).swapaxes(0, 1)
        keys = jax.random.split(noise_key, num_minibatches)
        return jax.lax.scan(lambda learnt, inputs: minibatch(learnt, *inputs), learnt, (rows, keys))

    learnt, statistics = jax.lax.scan(epoch, learnt, jax.random.split(key, num_epochs))
    return learnt, jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), statistics)


def num_groups(num_envs: int, minibatch_rows: int) -> int:
    """Into how many groups to shuffle rows of `num_envs` environments for minibatches of so many rows.

    A device that holds whole groups finds its share of every minibatch in its own memory: gradients are
    all that devices exchange. The number depends on no device, so that any number of them that divides
    it learns from the same minibatches.
    """
    common = math.gcd(num_envs, minibatch_rows)
    return max(n for n in range(1, min(common, MAX_GROUPS) + 1) if common % n == 0)


def take_environments(x: jax.Array, rows: jax.Array, axis: int = 0) -> jax.Array:
    """Some of the environments along `axis`, numbered within each group of consecutive ones.

    Args:
        x: [..., env, ...].
        rows: [groups, k] int32, each below the number of environments per group.
        axis: of the environments.

    Returns:
        [..., groups * k, ...].
    """
    groups = rows.shape[0]
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    grouped = x.reshape(*before, groups, -1, *after)
    take = jax.vmap(lambda g, r: jnp.take(g, r, axis=axis), in_axes=(axis, 0), out_axes=axis)
    return take(grouped, rows).reshape(*before, -1, *after)


def take_steps(x: jax.Array, rows: jax.Array) -> jax.Array:
    """Some of the steps of a rollout, numbered within each group of consecutive environments.

    Args:
        x: [time, env, ...].
        rows: [groups, k] int32, each below the number of steps of a group: the step at time t of the
            group's environment e of n is t * n + e.

    Returns:
        [groups * k, ...].
    """
    groups = rows.shape[0]
    grouped = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
    n = grouped.shape[2]
    # Indexed as it lies: to sort it by group first costs more than all else here.
    taken = jax.vmap(lambda g, r: g[r // n, r % n], in_axes=(1, 0))(grouped, rows)
    return taken.reshape(-1, *x.shape[2:])


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
