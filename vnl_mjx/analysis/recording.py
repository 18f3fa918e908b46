"""A rollout of a trainer, kept step by step, for measurements that repeat it."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.vae_distillation import DistillationState, Label
from vnl_mjx.training.vae_distillation import TrainState, VaeDistillation


@flax.struct.dataclass
class Recording:
    """One rollout of a trainer, T control steps of N environments.

    Attributes:
        simulations: [T + 1, N, ...] before each step and after the last (resets included), NumPy.
        actions: [T, N, nu] what the student applied, NumPy.
        finished: [T, N] bool, environments reset after the step, NumPy.
        labels: [T, N, ...] what the update learns from.
        observations: [T, N, observation] raw, in the teacher's order.
        memory: the teacher's memory before the first step.
    """

    simulations: PhysicsState
    actions: np.ndarray
    finished: np.ndarray
    labels: Label
    observations: jax.Array
    memory: Any


def record(trainer: VaeDistillation, state: TrainState) -> Recording:
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
    environments, steps = state.environments, []
    simulations = [jax.device_get(environments.imitation.physics)]
    for key in jax.random.split(rollout_key, trainer.config.unroll_length):
        arguments = (state.params, trainer.teacher, trainer.clips, environments, key)
        environments, step = control_step(*arguments)
        simulations.append(jax.device_get(environments.imitation.physics))
        steps.append(step)
    observations, labels, actions, finished = jax.tree.map(lambda *x: jnp.stack(x), *steps)
    return Recording(
        simulations=jax.tree.map(lambda *x: np.stack(x), *simulations),
        actions=np.asarray(actions),
        finished=np.asarray(finished),
        labels=labels,
        observations=observations,
        memory=state.environments.memory,
    )
