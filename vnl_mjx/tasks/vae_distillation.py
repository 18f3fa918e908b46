"""Combines a student and its frozen teacher in one policy: one acts, and the teacher labels each state.

Any frozen policy with `initial_memory`, `normalize`, `split` and `act` can be the teacher.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.policies import Acted

# Observations this many standard deviations from the teacher's mean are rare if the layout is right.
FAR_SIGMA = 10.0
# Entries whose standard deviation is at the floor never varied, so their distance is meaningless.
_FLOOR_STD = 1e-5


@flax.struct.dataclass
class LabelledSteps:
    """Holds visited states as student and teacher see them, [..., num_envs] each.

    Attributes:
        reference: [.., reference_size], normalised by the teacher's frozen statistics.
        proprioception: [.., proprioception_size], likewise.
        teacher_action: [.., nu] the teacher's deterministic action, after tanh.
    """

    reference: jax.Array
    proprioception: jax.Array
    teacher_action: jax.Array


@flax.struct.dataclass
class Visited(LabelledSteps):
    """Holds visited states and the student's outputs.

    Attributes:
        student_action: [.., nu] at the student's latent.
        posterior: the student's posterior.
        prior: the student's prior.
        far_share: share of the observation's entries beyond `FAR_SIGMA` of the teacher's statistics.
    """

    student_action: jax.Array
    posterior: Any
    prior: Any
    far_share: jax.Array


@flax.struct.dataclass
class StudentPolicy:
    """Combines a student with the teacher that labels its states; either of the two acts.

    Attributes:
        params: the student's parameters.
        teacher: the teacher, whose statistics normalise the observations of both.
        teacher_acts: [] or [num_envs] bool; traced, so that rollouts of either are one program.
        student: static; the student's functions.
        sampled: static; the student draws its latent.
        teacher_sampled: static; the teacher draws its action where it acts.
        prior_acts: [num_envs] bool, the student acts by its prior unless the teacher acts; None: nowhere.
    """

    params: Any
    teacher: FrozenPolicy
    teacher_acts: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)
    sampled: bool = flax.struct.field(pytree_node=False, default=False)
    teacher_sampled: bool = flax.struct.field(pytree_node=False, default=False)
    prior_acts: jax.Array | None = None

    def initial_memory(self, num_envs: int) -> Any:
        """See `Policy`; the teacher's memory and the student's."""
        shape = (num_envs,)
        return self.teacher.initial_memory(shape), self.student.initial_memory(shape)

    def act(self, observation: Observation, memory: Any, key: jax.Array) -> Acted:
        """See `Policy`; `extra` is `Visited`."""
        teacher_memory, student_memory = memory
        flat = observation.flat()
        normalized = self.teacher.normalize(flat)
        reference, proprioception = self.teacher.split(normalized)
        output = self.teacher.act(flat, teacher_memory)
        teacher_action = output.action
        if self.teacher_sampled:
            key, teacher_key = jax.random.split(key)
            teacher_action = self.teacher.act(flat, teacher_memory, key=teacher_key).action
        own = self.student.forward(
            self.params,
            proprioception,
            reference,
            key if self.sampled else None,
            student_memory,
            self.prior_acts,
        )
        visited = Visited(
            reference=reference,
            proprioception=proprioception,
            teacher_action=output.action,
            student_action=own.action,
            posterior=own.posterior,
            prior=own.prior,
            far_share=_far_share(normalized, self.teacher),
        )
        where = jnp.asarray(self.teacher_acts)[..., None]
        action = jnp.where(where, teacher_action, own.action)
        return Acted(action, (output.memory, own.memory), visited)


def _far_share(normalized: jax.Array, teacher: FrozenPolicy) -> jax.Array:
    informative = teacher.obs_std > _FLOOR_STD
    far = jnp.sum((jnp.abs(normalized) > FAR_SIGMA) & informative, axis=-1)
    return far / jnp.maximum(jnp.sum(informative), 1)
