"""The optimiser of policy and value network, and how its learning rate changes."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from vnl_mjx.config.ppo import LearningRateSection, PpoSection
from vnl_mjx.models.actor_critic import ActorCriticParams
from vnl_mjx.training import schedules

# How an adaptive rate reacts: beyond twice or below half the target it changes by half (as the penalty
# in Schulman et al. 2017, "Proximal Policy Optimization Algorithms", section 4).
KL_TOLERANCE, RATE_FACTOR = 2.0, 1.5


class ActorCriticOptimizer:
    """Adam for each of the two networks, which share nothing: neither gradient norm nor step size."""

    def __init__(self, config: PpoSection):
        """Takes norms and rates; the policy's rate comes with each step."""
        clip = optax.clip_by_global_norm(config.max_grad_norm)
        self._transform = optax.chain(clip, optax.scale_by_adam())
        self._value_rate = config.value_learning_rate

    def init(self, params: ActorCriticParams) -> dict[str, Any]:
        """The optimiser's state."""
        return {
            "policy": self._transform.init(params.policy),
            "value": self._transform.init(params.value),
        }

    def step(
        self,
        params: ActorCriticParams,
        state: dict[str, Any],
        grads: ActorCriticParams,
        policy_rate: jax.Array,
    ) -> tuple[ActorCriticParams, dict[str, Any]]:
        """Parameters and state after one gradient step."""
        stepped, new_state = {}, {}
        for name, rate in (("policy", policy_rate), ("value", self._value_rate)):
            updates, new_state[name] = self._transform.update(getattr(grads, name), state[name])
            scaled = jax.tree.map(lambda u, r=rate: -r * u, updates)
            stepped[name] = optax.apply_updates(getattr(params, name), scaled)
        return ActorCriticParams(**stepped), new_state


class LearningRate:
    """The policy's learning rate: constant, linear over the run, or adapted to the policy's KL."""

    def __init__(self, config: LearningRateSection, num_steps: int):
        """Takes the settings and the environment steps of the run."""
        self._config = config
        self._linear = schedules.linear(config.initial, config.final, 0, num_steps)

    def at(self, env_steps: jax.Array, rate: jax.Array) -> jax.Array:
        """The rate at the start of an update, [], given the one of the update before."""
        return self._linear(env_steps) if self._config.schedule == "linear" else rate

    def adapted(self, rate: jax.Array, kl: jax.Array) -> jax.Array:
        """The rate after a minibatch that began at `kl` [] nats from the policy that acted."""
        config = self._config
        if config.schedule != "adaptive":
            return rate
        too_far = kl > config.target_kl * KL_TOLERANCE
        too_near = kl < config.target_kl / KL_TOLERANCE
        factor = jnp.where(too_far, 1.0 / RATE_FACTOR, jnp.where(too_near, RATE_FACTOR, 1.0))
        return jnp.clip(rate * factor, config.lowest, config.highest)
