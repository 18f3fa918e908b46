"""The networks of a teacher's training on their own, for `benchmark.subjects`."""

from dataclasses import fields
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.analysis.benchmark.subjects import Recording, play, timed
from vnl_mjx.models.actor_critic import ActorCriticParams, forget
from vnl_mjx.training.brax_parts import NormalTanhDistribution
from vnl_mjx.training.normalizer import normalize
from vnl_mjx.training.ppo import Ppo, PpoState
from vnl_mjx.training.ppo_acting import ActingState, Actor
from vnl_mjx.training.ppo_losses import LossWeights, Segment, Steps, ppo_loss


@flax.struct.dataclass
class SegmentRecording(Recording):
    """A rollout of the policy.

    Attributes:
        segment: what the update learns from.
    """

    segment: Segment


def prepare(trainer: Ppo, state: PpoState) -> tuple[SegmentRecording, "PpoNetworks"]:
    """What `subjects.measure` asks for."""
    recording = record(trainer, state)
    return recording, PpoNetworks(trainer, state, recording.segment)


def record(trainer: Ppo, state: PpoState) -> SegmentRecording:
    """The rollout that `trainer.update(state)` will make."""
    actor = Actor(trainer.task, trainer.model, trainer.config)

    @jax.jit
    def control_step(params, normalizer, data, acting: ActingState, key):
        acting, (steps, _) = actor.control_step(params, normalizer, acting, data, key)
        return acting, steps

    _, rollout_key, _ = jax.random.split(state.key, 3)
    steps: Steps
    last, simulations, steps = play(
        partial(control_step, state.params, state.normalizer, trainer.data),
        state.acting,
        jax.random.split(rollout_key, trainer.config.unroll_length),
        lambda acting: acting.environments.imitation.physics,
    )
    last_observation = jax.jit(trainer.task.observe)(last.environments, trainer.data)
    return SegmentRecording(
        simulations=simulations,
        actions=np.tanh(np.asarray(steps.raw_action)),
        finished=np.asarray(steps.terminated | steps.truncated),
        segment=Segment(steps, state.acting.memory, last_observation),
    )


class PpoNetworks:
    """The policy on recorded observations, and the gradient steps on the recorded rollout."""

    def __init__(self, trainer: Ppo, state: PpoState, segment: Segment):
        self._trainer, self._state, self._segment = trainer, state, segment
        # Traced, so that a weight of 0 leaves no arithmetic out.
        self._weights = LossWeights(
            **{
                field.name: jnp.float32(getattr(trainer.config, field.name).weight)
                for field in fields(LossWeights)
            }
        )
        self._act, self._learn = jax.jit(self._act_impl), jax.jit(self._learn_impl)

    def seconds(self) -> dict[str, float]:
        """Seconds of both parts for one update."""
        state, key = self._state, jax.random.PRNGKey(0)
        act = partial(self._act, state.params, state.normalizer, self._segment, key)
        learn = partial(self._learn, state, self._segment, self._weights, key)
        return {"rollout networks": timed(act), "update networks": timed(learn)}

    def _act_impl(self, params: ActorCriticParams, normalizer, segment: Segment, key):
        model, num_envs = self._trainer.model, self._trainer.config.num_envs
        distribution = NormalTanhDistribution(event_size=model.policy_config.action_size)

        def step(memory, inputs):
            observation, starts, key = inputs
            latent_key, action_key = jax.random.split(key)
            memory = forget(memory, model.initial_memory((num_envs,)), starts)
            noise = jax.random.normal(latent_key, (num_envs, model.policy_config.latent_dim))
            output = model.act(params, normalize(normalizer, observation), memory, noise)
            return output.memory, (noise, distribution.sample(output.logits, action_key))

        steps = segment.steps
        keys = jax.random.split(key, len(steps.observation))
        return jax.lax.scan(step, segment.memory, (steps.observation, steps.starts, keys))

    def _learn_impl(self, state: PpoState, segment: Segment, weights: LossWeights, key):
        trainer, config = self._trainer, self._trainer.config
        rows = jnp.arange(config.num_envs).reshape(config.num_minibatches, 1, -1)

        def loss(params, batch: Segment, key):
            scaled = partial(normalize, state.normalizer)
            return ppo_loss(params, trainer.model, batch, scaled, key, weights, config).total

        def minibatch(carry, inputs):
            params, opt_state = carry
            rows, key = inputs
            grads = jax.grad(loss)(params, segment.environments(rows), key)
            return trainer.optimizer.step(params, opt_state, grads, state.learning_rate), None

        def epoch(carry, key):
            keys = jax.random.split(key, config.num_minibatches)
            return jax.lax.scan(minibatch, carry, (rows, keys))

        keys = jax.random.split(key, config.num_epochs)
        return jax.lax.scan(epoch, (state.params, state.opt_state), keys)[0]
