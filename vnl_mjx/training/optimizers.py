"""Defines optimisers: Adam with a clipped gradient, at a learning rate that each step receives."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from vnl_mjx.models.actor_critic import ActorCriticParams


class Adam:
    """Implements Adam with a gradient clipped to a global norm, as pure functions of its state."""

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


@flax.struct.dataclass
class AveragedState:
    """Holds the state of an `Averaged` optimiser.

    Attributes:
        inner: state of the optimiser that makes the steps.
        average: average of the parameters.
        num_steps: [] int32, number of gradient steps.
    """

    inner: Any
    average: Any
    num_steps: jax.Array


class Averaged:
    """Adds an exponential moving average of the parameters to an optimiser.

    The decay starts small, so that the initial parameters soon lose weight: after n steps it is at most (1
    + n) / (10 + n) (Tensorflow's ExponentialMovingAverage).
    """

    def __init__(self, optimizer: Adam, decay: float):
        """Takes the optimiser and the decay per gradient step."""
        self._optimizer, self._decay = optimizer, decay

    def init(self, params: Any) -> AveragedState:
        """See `Adam`."""
        average = jax.tree.map(jnp.copy, params)
        return AveragedState(self._optimizer.init(params), average, jnp.int32(0))

    def step(
        self, params: Any, state: AveragedState, grads: Any, rate: jax.Array
    ) -> tuple[Any, AveragedState]:
        """See `Adam`."""
        params, inner = self._optimizer.step(params, state.inner, grads, rate)
        n = state.num_steps + 1
        decay = jnp.minimum(self._decay, (1 + n) / (10 + n))
        average = jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), state.average, params)
        return params, AveragedState(inner, average, n)


class ActorCriticAdam:
    """Applies Adam to two networks separately, without a common gradient norm or step size."""

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
