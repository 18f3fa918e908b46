"""The networks of a distillation on their own, for `benchmark.subjects`."""

from functools import partial
from typing import Any

import flax.struct
import jax
import numpy as np
import optax

from vnl_mjx.analysis.benchmark.subjects import Recording, play, timed
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.tasks.vae_distillation import DistillationState, Label
from vnl_mjx.training import losses
from vnl_mjx.training.vae_distillation import TrainState, VaeDistillation


@flax.struct.dataclass
class LabelledRecording(Recording):
    """A rollout of the student, and what its networks saw.

    Attributes:
        labels: [T, N, ...] what the update learns from.
        observations: [T, N, observation] raw, in the teacher's order.
        memory: the teacher's memory before the first step.
    """

    labels: Label
    observations: jax.Array
    memory: Any


def prepare(
    trainer: VaeDistillation, state: TrainState
) -> tuple[LabelledRecording, "DistillationNetworks"]:
    """What `subjects.measure` asks for."""
    recording = record(trainer, state)
    return recording, DistillationNetworks(trainer, state, recording)


def record(trainer: VaeDistillation, state: TrainState) -> LabelledRecording:
    """The rollout that `trainer.update(state)` will make, the student acting everywhere."""
    task, student = trainer.task, trainer.student

    @jax.jit
    def control_step(params, teacher, clips, environments: DistillationState, key):
        before = environments.imitation
        observe = jax.vmap(lambda s: task.imitation.observe(s, clips))
        observation = observe(before).flat()
        environments, label = task.label(environments, teacher, clips)
        action = student.act(params, label.proprioception, label.reference, key)
        environments, outcome = task.step(environments, action, clips)
        environments, end = task.reset_finished(environments, outcome, teacher, clips)
        return environments, (observation, label, action, end.ended)

    _, rollout_key, _ = jax.random.split(state.key, 3)
    _, simulations, (observations, labels, actions, finished) = play(
        partial(control_step, state.params, trainer.teacher, trainer.clips),
        state.environments,
        jax.random.split(rollout_key, trainer.config.unroll_length),
        lambda environments: environments.imitation.physics,
    )
    return LabelledRecording(
        simulations=simulations,
        actions=np.asarray(actions),
        finished=np.asarray(finished),
        labels=labels,
        observations=observations,
        memory=state.environments.memory,
    )


class DistillationNetworks:
    """Teacher and student on recorded observations, and the gradient steps on recorded labels."""

    def __init__(self, trainer: VaeDistillation, state: TrainState, recording: LabelledRecording):
        self._trainer, self._recording = trainer, recording
        self._params, self._opt_state = state.params, state.opt_state
        self._act, self._learn = jax.jit(self._act_impl), jax.jit(self._learn_impl)

    def seconds(self) -> dict[str, float]:
        """Seconds of both parts for one update."""
        recording, key = self._recording, jax.random.PRNGKey(0)
        teacher = self._trainer.teacher
        observed = (teacher, recording.observations, recording.memory)
        return {
            "rollout networks": timed(partial(self._act, self._params, *observed, key)),
            "update networks": timed(
                partial(self._learn, self._params, self._opt_state, recording.labels, key)
            ),
        }

    def _act_impl(self, params, teacher: FrozenPolicy, observations, memory, key):
        student = self._trainer.student

        def step(memory, inputs):
            observation, key = inputs
            output = teacher.act(observation, memory)
            reference, own = teacher.split(teacher.normalize(observation))
            return output.memory, (output.action, student.act(params, own, reference, key))

        keys = jax.random.split(key, len(observations))
        return jax.lax.scan(step, memory, (observations, keys))

    def _learn_impl(self, params, opt_state, labels: Label, key):
        config, optimizer = self._trainer.config, self._trainer.optimizer
        batches = jax.tree.map(lambda x: x.reshape(-1, config.batch_size, x.shape[-1]), labels)

        def minibatch(carry, inputs):
            params, opt_state = carry
            grads = jax.grad(self._loss)(params, *inputs)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        def epoch(carry, key):
            keys = jax.random.split(key, len(batches.teacher_action))
            return jax.lax.scan(minibatch, carry, (batches, keys))

        return jax.lax.scan(epoch, (params, opt_state), jax.random.split(key, config.num_epochs))[0]

    def _loss(self, params, batch: Label, key):
        output = self._trainer.student.forward(params, batch.proprioception, batch.reference, key)
        parts = (output.action, batch.teacher_action, output.posterior, output.prior)
        config = self._trainer.config
        return losses.distillation_loss(*parts, config.action_weight, config.kl_weight).total
