"""Wraps policies so that they see or act late, or do not see a part of their observation."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.policies import Acted, Policy


@flax.struct.dataclass
class BlindPolicy:
    """Hides entries of the observation: they always have the same values.

    Attributes:
        policy: the policy.
        hidden: [observation] bool, of the flat observation.
        values: [observation] what the policy sees there; the mean of its training is zero once normalised.
    """

    policy: Policy
    hidden: jax.Array
    values: jax.Array

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`."""
        return self.policy.initial_memory(num_envs)

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        flat = jnp.where(self.hidden, self.values, observation.flat())
        return self.policy.act(_observation(flat, observation), memory, key)


@flax.struct.dataclass
class Delay:
    """Holds the last values of [num_envs, size], oldest first; all are the first until there are enough.

    Attributes:
        kept: [num_envs, steps, size].
        filled: [num_envs] bool, false before the first.
    """

    kept: jax.Array
    filled: jax.Array

    @classmethod
    def empty(cls, num_envs: int, steps: int, size: int) -> "Delay":
        """Begins without a value."""
        return cls(jnp.zeros((num_envs, steps, size)), jnp.zeros(num_envs, bool))

    def push(self, values: jax.Array) -> tuple[jax.Array, "Delay"]:
        """Returns the values of `steps` ago, [num_envs, size], and the delay with new ones."""
        first = jnp.broadcast_to(values[:, None], self.kept.shape)
        kept = masking.where(self.filled, self.kept, first)
        kept = jnp.concatenate([kept, values[:, None]], axis=1)
        return kept[:, 0], Delay(kept[:, 1:], jnp.ones_like(self.filled))


@flax.struct.dataclass
class DelayedPolicy:
    """Delays what a policy sees and does; `extra` is that of the step in which it decides.

    Attributes:
        policy: the policy.
        sizes: static; of observation and action.
        steps: static; control steps of either delay; 0: none.
    """

    policy: Policy
    sizes: tuple[int, int] = flax.struct.field(pytree_node=False)
    steps: tuple[int, int] = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`; the two delays and the policy's own memory."""
        seen, done = (
            Delay.empty(num_envs, steps, size)
            for steps, size in zip(self.steps, self.sizes, strict=True)
        )
        return seen, done, self.policy.initial_memory(num_envs)

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        seen, done, own = memory
        flat, seen = seen.push(observation.flat())
        acted = self.policy.act(_observation(flat, observation), own, key)
        action, done = done.push(acted.action)
        return Acted(action, (seen, done, acted.memory), acted.extra)


def _observation(flat: jax.Array, like: Observation) -> Observation:
    """Returns a flat observation in the parts of another."""
    parts, start = {}, 0
    for name in like.order:
        stop = start + like.parts[name].shape[-1]
        parts[name] = flat[..., start:stop]
        start = stop
    return Observation(parts, like.order)
