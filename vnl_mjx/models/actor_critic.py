"""Defines a stochastic intention policy and a value network as pure functions of their parameters."""

from typing import Any, cast

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import masking
from vnl_mjx.models.intention import (
    IntentionConfig,
    IntentionNetwork,
    IntentionOutput,
    Memory,
    raw_scale,
)
from vnl_mjx.models.layers import as_batch, as_segment
from vnl_mjx.models.value import ValueConfig, ValueNetwork

FIRST_OUTPUT_SCALE = 0.01


@flax.struct.dataclass
class ActorCriticParams:
    """Holds the variables of the two networks, {"params": ...} each, as track-mjx nests them."""

    policy: Any
    value: Any


class ActorCritic:
    """Applies both networks to normalised observations [..., observation]; the reference comes first."""

    def __init__(
        self, policy: IntentionConfig, value: ValueConfig, initial_action_std: float | None = None
    ):
        """Takes the sizes; parameters come from `init`.

        Args:
            policy: sizes of the policy.
            value: sizes of the value network.
            initial_action_std: standard deviation of a fresh policy's exploration, before tanh, around
                actions near 0; None: as fresh weights give it, about 0.7, around actions of size about 1.
        """
        self.policy_config, self.value_config = policy, value
        self._initial_action_std = initial_action_std
        self._policy, self._value = IntentionNetwork(policy), ValueNetwork(value)

    def init(self, key: jax.Array) -> ActorCriticParams:
        """Returns fresh parameters."""
        policy_key, value_key = jax.random.split(key)
        obs = jnp.zeros((1, self.policy_config.observation_size))
        policy = self._policy.init(policy_key, obs, self.initial_memory((1,)))
        if self._initial_action_std is not None:
            policy = _with_first_output(policy, self.policy_config, self._initial_action_std)
        return ActorCriticParams(policy, self._value.init(value_key, obs))

    def initial_memory(self, batch_shape: tuple[int, ...] = ()) -> Memory:
        """Returns the memory at the start of an episode; () for a feed-forward policy."""
        return self.policy_config.initial_memory(batch_shape)

    def act(
        self,
        params: ActorCriticParams,
        obs: jax.Array,
        memory: Memory = (),
        noise: jax.Array | None = None,
    ) -> IntentionOutput:
        """Runs one step of the policy at the latent mean + std * `noise` [..., latent] (none: the mean)."""
        output = self._policy.apply(params.policy, obs, memory, noise=noise)
        return cast(IntentionOutput, output)

    def unroll(
        self,
        params: ActorCriticParams,
        obs: jax.Array,
        memory: Memory,
        starts: jax.Array,
        noise: jax.Array,
    ) -> IntentionOutput:
        """Runs the policy over a segment, as it acted.

        Args:
            params: of both networks.
            obs: [time, env, observation].
            memory: [env, ...] before the first step.
            starts: [time, env] bool, the first step of an episode, which resets the memory.
            noise: [time, env, latent] standard normal noise of the latents.
        """
        if not self.policy_config.is_recurrent:
            output = self.act(params, as_batch(obs), (), as_batch(noise))
            return jax.tree.map(lambda x: as_segment(x, starts), output)

        def step(memory, inputs):
            obs, starts, noise = inputs
            memory = masking.where(starts, self.initial_memory(starts.shape), memory)
            output = self.act(params, obs, memory, noise)
            return output.memory, output

        _, output = jax.lax.scan(step, memory, (obs, starts, noise))
        return output

    def value(self, params: ActorCriticParams, obs: jax.Array) -> jax.Array:
        """Returns the expected return [...]."""
        if obs.ndim == 3:  # [time, env, observation]
            value = self._value.apply(params.value, as_batch(obs))
            return as_segment(cast(jax.Array, value), obs[..., 0])
        return cast(jax.Array, self._value.apply(params.value, obs))


def _with_first_output(policy: Any, config: IntentionConfig, std: float) -> Any:
    """Scales the last layer down and sets its bias, so that a fresh policy acts near 0 with `std`."""
    decoder, name = config.decoder_name, config.last_layer_name
    layer = policy["params"][decoder][name]
    layer = {
        "kernel": FIRST_OUTPUT_SCALE * layer["kernel"],
        "bias": layer["bias"].at[config.action_size :].set(raw_scale(std)),
    }
    return {"params": {**policy["params"], decoder: {**policy["params"][decoder], name: layer}}}
