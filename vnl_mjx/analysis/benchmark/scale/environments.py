"""The environments of a distillation without its student: their floor, in programs of their own.

All go the way of one rollout of the teacher, so they simulate the same states. "teacher" is environment
and teacher, whose actions it gives; "environment" repeats them without any network; "physics" is the
control steps alone, without resets.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx import devices
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.imitation import StepOutcome
from vnl_mjx.tasks.vae_distillation import DistillationState
from vnl_mjx.training.programs import Stage
from vnl_mjx.training.vae_distillation import VaeDistillation


@flax.struct.dataclass
class Tally:
    """Sums over steps and environments, [] each.

    Attributes:
        reward: float.
        resets: environments that ended and started again.
        diverged: steps that met NaN.
        overflowed: steps for whose contacts or constraints there was no room.
        observation: float, of all entries: what nothing reads would not be computed.
    """

    reward: jax.Array
    resets: jax.Array
    diverged: jax.Array
    overflowed: jax.Array
    observation: jax.Array


class Environments:
    """The task of a distillation, stepped without a student.

    Attributes:
        stages: the programs by name, in the order in which they run.
    """

    def __init__(self, trainer: VaeDistillation):
        """Takes the trainer's task, data and number of environments; nothing is compiled yet."""
        self._trainer, self._task = trainer, trainer.task
        whole = devices.replicated(trainer.mesh)
        state, actions = trainer.placement.environments, devices.split(trainer.mesh, axis=1)
        physics = state.imitation.physics
        self.stages = {
            "teacher": Stage(self._with_teacher, (state, whole), (state, actions, whole)),
            "environment": Stage(self._replayed, (state, actions, whole), (state, whole)),
            "physics": Stage(self._physics_alone, (physics, actions), physics),
        }

    def compile_in(self, pool: Executor) -> None:
        """Begins to compile all of them."""
        trainer = self._trainer
        key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
        state = jax.eval_shape(trainer.initial_state, key, trainer.data).environments
        teacher, environment, physics = self.stages.values()
        _, actions, _ = teacher.compile_in(pool, state, trainer.data)
        environment.compile_in(pool, state, actions, trainer.data)
        physics.compile_in(pool, state.imitation.physics, actions)

    def _with_teacher(
        self, state: DistillationState, data: Any
    ) -> tuple[DistillationState, jax.Array, Tally]:
        teacher, clips = data

        def step(state: DistillationState, _: None):
            state, label = self._task.label(state, teacher, clips)
            seen = jnp.sum(label.proprioception) + jnp.sum(label.reference)
            state, tally = self._step(state, label.teacher_action, seen, data)
            return state, (label.teacher_action, tally)

        length = self._trainer.config.unroll_length
        state, (actions, tally) = jax.lax.scan(step, state, length=length)
        return state, actions, _summed(tally)

    def _replayed(
        self, state: DistillationState, actions: jax.Array, data: Any
    ) -> tuple[DistillationState, Tally]:
        _, clips = data
        observe = jax.vmap(lambda s: self._task.imitation.observe(s, clips))

        def step(state: DistillationState, action: jax.Array):
            return self._step(state, action, jnp.sum(observe(state.imitation).flat()), data)

        state, tally = jax.lax.scan(step, state, actions)
        return state, _summed(tally)

    def _physics_alone(self, physics: PhysicsState, actions: jax.Array) -> PhysicsState:
        step: Callable[..., PhysicsState] = jax.vmap(self._task.imitation.physics.step)
        return jax.lax.scan(lambda state, action: (step(state, action), None), physics, actions)[0]

    def _step(
        self, state: DistillationState, action: jax.Array, seen: jax.Array, data: Any
    ) -> tuple[DistillationState, Tally]:
        state, outcome = self._task.step(state, action, data[1])
        tally = _tally(state.imitation.physics, outcome, seen)
        state, _ = self._task.reset_finished(state, outcome, *data)
        return state, tally


def _tally(physics: PhysicsState, outcome: StepOutcome, seen: jax.Array) -> Tally:
    overflowed = jnp.sum(physics.overflowed)
    return Tally(
        reward=jnp.sum(outcome.reward),
        resets=jnp.sum(outcome.terminated | outcome.truncated),
        diverged=jnp.sum(outcome.failures["nan"]),
        overflowed=overflowed,
        observation=seen,
    )


def _summed(tally: Tally) -> Tally:
    return jax.tree.map(jnp.sum, tally)
