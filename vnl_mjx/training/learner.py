"""Runs epochs of gradient steps over minibatches of segments, for any loss of named terms."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from vnl_mjx.training.optimizers import ActorCriticAdam, Adam, Averaged
from vnl_mjx.training.schedules import Controlled, Schedule
from vnl_mjx.training.segments import Segment, num_groups, take_segments

# Function of parameters, a segment and a key; returns named, unreduced terms: [time, env], or [time, env,
# ...] and [] for terms that are only logged.
LossFunction = Callable[[Any, Segment, jax.Array], Mapping[str, jax.Array]]


@flax.struct.dataclass
class LearningStatistics:
    """Holds means over the minibatches of one update.

    Attributes:
        loss: unweighted mean of every named term over steps, and "total", the objective.
        weights: weights in force of the terms in the objective.
        grad_norm: [] global norm before clipping.
        skipped: [] share of minibatches whose gradient was not finite and was not applied.
        learning_rate: [] learning rate in force.
    """

    loss: dict[str, jax.Array]
    weights: dict[str, jax.Array]
    grad_norm: jax.Array
    skipped: jax.Array
    learning_rate: jax.Array


class Learner:
    """Learns from the steps of a rollout."""

    def __init__(
        self,
        weights: Mapping[str, Schedule],
        optimizer: Adam | Averaged | ActorCriticAdam,
        learning_rate: Controlled,
        num_envs: int,
        unroll_length: int,
        segment_length: int,
        minibatch_size: int,
        num_epochs: int,
        held_weights: Mapping[str, Controlled] | None = None,
        first_step: int = 0,
    ):
        """Takes the constants of training.

        Args:
            weights: weights of the terms in the objective; other terms are only logged.
            optimizer: the optimiser.
            learning_rate: learning rate of each gradient step.
            num_envs: environments of a rollout.
            unroll_length: steps of each environment.
            segment_length: consecutive steps that stay together; divides `unroll_length`.
            minibatch_size: segments per gradient step; divides the number of segments.
            num_epochs: passes over each rollout, each in a new order.
            held_weights: controlled weights of terms, in place of their schedules.
            first_step: environment steps before which the learning rate is 0 and does not adapt.

        Raises:
            ValueError: the numbers do not divide each other.
        """
        if unroll_length % segment_length:
            raise ValueError(f"{segment_length=} must divide {unroll_length=}")
        self.num_envs, self.unroll_length = num_envs, unroll_length
        self._num_segments = num_envs * (unroll_length // segment_length)
        if self._num_segments % minibatch_size:
            raise ValueError(f"{minibatch_size=} must divide {self._num_segments} segments")
        self.weights, self.optimizer, self.learning_rate = dict(weights), optimizer, learning_rate
        self.held_weights, self.segment_length = dict(held_weights or {}), segment_length
        self._num_minibatches = self._num_segments // minibatch_size
        self._num_epochs, self._first_step = num_epochs, first_step
        self._groups = num_groups(num_envs, minibatch_size)

    def learn(
        self,
        loss_fn: LossFunction,
        params: Any,
        opt_state: Any,
        rate: jax.Array,
        visited: Segment,
        env_steps: jax.Array,
        key: jax.Array,
        held: Mapping[str, jax.Array] | None = None,
    ) -> tuple[Any, Any, jax.Array, dict[str, jax.Array], LearningStatistics]:
        """Makes all gradient steps of one update.

        Args:
            loss_fn: the loss.
            params: the learnt parameters.
            opt_state: the optimiser's state.
            rate: [] learning rate of the previous update.
            visited: visited steps, in the form of `take_segments`.
            env_steps: [] environment steps so far.
            key: one random key.
            held: [] controlled weights of the previous update.

        Returns:
            Parameters, the optimiser's state, the learning rate, the controlled weights and means over the
            minibatches.
        """
        scheduled = {name: weight(env_steps) for name, weight in self.weights.items()}
        learns = env_steps >= self._first_step

        def objective(params: Any, segment: Segment, key: jax.Array, weights: Mapping[str, Any]):
            means = reduced(loss_fn(params, segment, key), segment, weights)
            return means["total"], means

        def minibatch(learnt, inputs):
            params, opt_state, rate, held = learnt
            rows, key = inputs
            segment = take_segments(visited, rows, self.segment_length)
            weights = scheduled | held
            differentiated = jax.value_and_grad(objective, has_aux=True)
            (_, means), grads = differentiated(params, segment, key, weights)
            rate = jnp.where(learns, self.learning_rate.adapted(rate, means), rate)
            held = {name: self.held_weights[name].adapted(x, means) for name, x in held.items()}
            step = jnp.where(learns, rate, 0.0)
            stepped = (*self.optimizer.step(params, opt_state, grads, step), rate, held)
            learnt, grad_norm, skipped = if_finite(grads, stepped, learnt)
            return learnt, LearningStatistics(means, weights, grad_norm, skipped, rate)

        def epoch(learnt, key: jax.Array):
            shuffle_key, noise_key = jax.random.split(key)
            rows = jnp.arange(self._num_segments // self._groups)
            rows = jax.vmap(lambda k: jax.random.permutation(k, rows))(
                jax.random.split(shuffle_key, self._groups)
            )
            rows = rows.reshape(self._groups, self._num_minibatches, -1).swapaxes(0, 1)
            keys = jax.random.split(noise_key, self._num_minibatches)
            return jax.lax.scan(minibatch, learnt, (rows, keys))

        learnt = (params, opt_state, self.learning_rate.at(env_steps, rate), dict(held or {}))
        learnt, statistics = jax.lax.scan(epoch, learnt, jax.random.split(key, self._num_epochs))
        return *learnt, jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), statistics)


def reduced(
    terms: Mapping[str, jax.Array], segment: Segment, weights: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """Returns the mean of every term over the valid steps, and their weighted sum as "total".

    Args:
        terms: result of a `LossFunction`.
        segment: segment of the terms.
        weights: [] weights of the terms in the total.

    Raises:
        ValueError: one of these terms is not [time, env].
    """
    expected = segment.valid.shape
    for name in weights:
        if terms[name].shape != expected:
            raise ValueError(f"loss {name!r}: {terms[name].shape} must be {expected}")
    means = {
        name: segment.mean(term) if term.shape[:2] == expected else term
        for name, term in terms.items()
    }
    total = sum((weight * means[name] for name, weight in weights.items()), jnp.float32(0))
    return means | {"total": total}


def if_finite(grads: Any, stepped: Any, learnt: Any) -> tuple[Any, jax.Array, jax.Array]:
    """Returns `stepped` if its gradient is finite, otherwise `learnt` unchanged.

    A gradient that is not finite is counted and skipped, and never enters the optimiser's state.

    Returns:
        The parameters and optimiser's state, the gradient's global norm [], and 1 if it was skipped, else
        0, [] float.
    """
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(grad_norm)
    learnt = jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, learnt)
    return learnt, grad_norm, 1.0 - finite
