"""Policies that can be viewed, with a latent that is moved by hand. All are pytrees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.prior_rollouts import fallen, prior_modes
from vnl_mjx.evaluation.rollout import EndFunction
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import Acted, Policy, prior_policy


@flax.struct.dataclass
class SteeredTeacher:
    """A teacher that decodes its posterior mean and an offset [episode, latent]; `extra` is the mean."""

    policy: FrozenPolicy
    offset: jax.Array

    def initial_memory(self, num_episodes: int) -> Any:
        """See `Policy`."""
        return self.policy.initial_memory((num_episodes,))

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        flat = observation.flat()
        mean = self.policy.act(flat, memory).latent_mean
        output = self.policy.act(flat, memory, latent=mean + self.offset)
        return Acted(output.action, output.memory, mean)


@flax.struct.dataclass
class SteeredStudent:
    """A student that decodes its posterior mean and an offset [episode, latent]; `extra` is the mean."""

    params: Any
    teacher: FrozenPolicy
    offset: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)

    def initial_memory(self, num_episodes: int) -> Any:
        """See `Policy`."""
        return self.student.initial_memory((num_episodes,))

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`."""
        reference, body = self.teacher.split(self.teacher.normalize(observation.flat()))
        context, memory = self.student.context(self.params, body, memory)
        mean = self.student.encode(self.params, context, reference).mode()
        action = self.student.decode(self.params, context, mean + self.offset)
        return Acted(action, memory, mean)


@dataclass(frozen=True)
class ViewedPolicy:
    """A policy to view.

    Attributes:
        latent_dim: of what it decodes.
        actor_fn: of an offset [episode, latent] to the latent, and of how much noise there is, where 1
            is as much as was learnt; those who follow have none.
        ending: when an episode is over; None: as the task says.
        follows: a clip; else it starts from one and goes where it likes.
    """

    latent_dim: int
    actor_fn: Callable[[jax.Array, float], Policy]
    ending: EndFunction | None
    follows: bool = True

    def actor(self, num_episodes: int = 1, noise: float = 1.0) -> Policy:
        """As it acts by itself."""
        return self.actor_fn(jnp.zeros((num_episodes, self.latent_dim)), noise)


def viewed_teacher(policy: FrozenPolicy) -> ViewedPolicy:
    """A teacher."""
    return ViewedPolicy(
        policy.config.latent_dim, lambda offset, noise: SteeredTeacher(policy, offset), None
    )


def viewed_student_policies(
    task: ImitationTask,
    clips: ReferenceClips,
    student: StudentVAE,
    params: Any,
    teacher: FrozenPolicy,
) -> dict[str, ViewedPolicy]:
    """A student, its teacher, and the student's prior, which falls as `clips` say what standing is."""
    size = student.config.latent_dim
    control_hz = 1.0 / task.config.physics.control_timestep
    correlation = prior_modes()["smooth"].correlation(control_hz) if student.is_gaussian else 0.0

    def prior(offset: jax.Array, noise: float) -> Policy:
        return prior_policy(
            params,
            teacher,
            student,
            len(offset),
            std_scale=noise,
            correlation=correlation,
            offset=offset,
        )

    return {
        "student": ViewedPolicy(
            size, lambda offset, noise: SteeredStudent(params, teacher, offset, student), None
        ),
        "teacher": viewed_teacher(teacher),
        "prior": ViewedPolicy(size, prior, fallen(task.walker, clips), follows=False),
    }
