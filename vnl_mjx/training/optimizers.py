"""Optimisers of what is learnt: Adam with a clipped gradient, at a rate that comes with each step."""

from typing import Any

import jax
import optax

from vnl_mjx.models.actor_critic import ActorCriticParams


class Adam:
    """Adam; the gradient is clipped to a global norm. Pure functions of its state."""

    def __init__(self, max_grad_norm: float):
        """Takes the largest global norm of a gradient."""
        clip = optax.clip_by_global_norm(max_grad_norm)
        self._transform = optax.chain(clip, optax.scale_by_adam())

    def init(self, params: Any) -> Any:
        """Returns the optimiser's state."""
        return self._transform.init(params)

    def step(self, params: Any, state: Any, grads: Any, rate: jax.Array | float) -> tuple[Any, Any]:
        """Returns parameters and state after one gradient step at the learning rate `rate` []."""
        updates, state = self._transform.update(grads, state)
        return optax.apply_updates(params, jax.tree.map(lambda u: -rate * u, updates)), state


class ActorCriticAdam:
    """Adam for each of two networks, which share nothing: neither gradient norm nor step size."""

    def __init__(self, max_grad_norm: float, value_rate: float):
        """Takes the largest norm of each gradient and the value network's rate."""
        self._adam, self._value_rate = Adam(max_grad_norm), value_rate

    def init(self, params: ActorCriticParams) -> dict[str, Any]:
        """See `Adam`."""
        return {name: self._adam.init(getattr(params, name)) for name in ("policy", "value")}

    def step(
        self,
        params: ActorCriticParams,
        state: dict[str, Any],
        grads: ActorCriticParams,
        rate: jax.Array,
    ) -> tuple[ActorCriticParams, dict[str, Any]]:
        """See `Adam`; `rate` is the policy's."""
        step = self._adam.step
        policy, policy_state = step(params.policy, state["policy"], grads.policy, rate)
        value, value_state = step(params.value, state["value"], grads.value, self._value_rate)
        return ActorCriticParams(policy, value), {"policy": policy_state, "value": value_state}
