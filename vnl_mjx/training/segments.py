"""Cuts the steps of a rollout, in the order of time, into segments and minibatches."""

import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking

# Largest number of separately shuffled groups of environments, and so of devices.
MAX_GROUPS = 64


@flax.struct.dataclass
class Segment:
    """Holds consecutive control steps of some environments.

    Attributes:
        steps: recorded arrays of [time, env, ...].
        starts: [time, env] bool, the first step of an episode.
        valid: [time, env] bool, steps to learn from.
        memory: [env, ...] the policy's memory before the first step; () without one.
        last: [env, ...] value after the last step, such as an observation; () if not needed.
    """

    steps: Any
    starts: jax.Array
    valid: jax.Array
    memory: Any = ()
    last: Any = ()

    def mean(self, x: jax.Array) -> jax.Array:
        """Averages `x` [time, env, ...] over valid steps; ignores non-finite values elsewhere."""
        valid = self.valid
        total = jnp.sum(jnp.where(masking.widened(valid, x), x, 0.0), axis=(0, 1))
        return total / jnp.maximum(jnp.sum(valid), 1)

    def contained(self) -> "Segment":
        """Returns the segment with non-finite values in invalid steps replaced by 0.

        A mask in the loss would be too late, because its zero gradient times NaN is NaN.
        """

        def contain(valid: jax.Array, x: jax.Array) -> jax.Array:
            keep = masking.widened(valid, x) | jnp.isfinite(x)
            return jnp.where(keep, x, jnp.zeros_like(x))

        return self.replace(
            steps=jax.tree.map(lambda x: contain(self.valid, x), self.steps),
            memory=jax.tree.map(lambda x: contain(self.valid[0], x), self.memory),
            last=jax.tree.map(lambda x: contain(self.valid[-1], x), self.last),
        )


def take_segments(visited: Segment, rows: jax.Array, length: int) -> Segment:
    """Selects segments of a rollout, numbered within each group of consecutive environments.

    Args:
        visited: [time, env, ...]; `memory` and `last` are [time / length, env, ...], one per segment.
        rows: [groups, k] int32, each below the number of segments of a group: the p-th segment of the
            group's environment e of n is p * n + e.
        length: control steps of a segment; divides time.

    Returns:
        The segment [length, groups * k, ...].
    """
    groups = rows.shape[0]

    def per_segment(x: jax.Array) -> jax.Array:
        grouped = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
        n = grouped.shape[2]
        # Indexed in place, because sorting by group first costs more than all else here.
        taken = jax.vmap(lambda g, r: g[r // n, r % n], in_axes=(1, 0))(grouped, rows)
        return taken.reshape(-1, *x.shape[2:])

    def per_step(x: jax.Array) -> jax.Array:
        if length == 1:
            return per_segment(x)[None]
        if length == x.shape[0]:
            return take_environments(x, rows)
        pieces = x.reshape(-1, length, *x.shape[1:]).swapaxes(1, 2)
        return per_segment(pieces).swapaxes(0, 1)

    return Segment(
        steps=jax.tree.map(per_step, visited.steps),
        starts=per_step(visited.starts),
        valid=per_step(visited.valid),
        memory=jax.tree.map(per_segment, visited.memory),
        last=jax.tree.map(per_segment, visited.last),
    )


def take_environments(x: jax.Array, rows: jax.Array) -> jax.Array:
    """Selects whole environments [time, groups * k, ...] of `x` [time, env, ...] by `rows` [groups, k]."""
    groups = rows.shape[0]
    grouped = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
    take = jax.vmap(lambda g, r: jnp.take(g, r, axis=1), in_axes=(1, 0), out_axes=1)
    return take(grouped, rows).reshape(x.shape[0], -1, *x.shape[2:])


def num_groups(num_envs: int, minibatch_rows: int) -> int:
    """Returns the number of groups in which to shuffle `num_envs` environments for minibatches.

    A device that holds whole groups has its share of every minibatch in its own memory, so devices exchange
    only gradients. The number does not depend on the devices, so any number of devices that divides it
    learns from the same minibatches.
    """
    common = math.gcd(num_envs, minibatch_rows)
    return max(n for n in range(1, min(common, MAX_GROUPS) + 1) if common % n == 0)
