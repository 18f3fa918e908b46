"""Who acts in a rollout: a teacher, or a student beside its teacher. All of them are pytrees."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.evaluation.rollout import Acted
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import Gaussian, StudentVAE

# Observations this many standard deviations from the teacher's mean are rare where the layout is right.
FAR_SIGMA = 10.0
# Entries whose standard deviation is at the floor never varied: their distance says nothing.
_FLOOR_STD = 1e-5


@flax.struct.dataclass
class PolicyActor:
    """A teacher alone.

    Attributes:
        policy: who acts.
        sampled: static; draw latents and actions, else act at the modes.
    """

    policy: FrozenPolicy
    sampled: bool = flax.struct.field(pytree_node=False, default=False)

    def initial_memory(self, num_episodes: int) -> Any:
        """See `Actor`."""
        return self.policy.initial_memory((num_episodes,))

    def act(self, observation: jax.Array, memory: Any, key: jax.Array) -> Acted:
        """See `Actor`."""
        output = self.policy.act(observation, memory, key=key if self.sampled else None)
        return Acted(output.action, output.memory, ())


@flax.struct.dataclass
class Seen:
    """A visited state as student and teacher see it, [..., episode] each.

    Attributes:
        student_action: [.., nu] at the latent that it acts with.
        teacher_action: [.., nu] deterministic.
        posterior: of the student.
        prior: of the student.
        far_share: share of the observation beyond `FAR_SIGMA` of the teacher's statistics.
    """

    student_action: jax.Array
    teacher_action: jax.Array
    posterior: Gaussian
    prior: Gaussian
    far_share: jax.Array


@flax.struct.dataclass
class StudentActor:
    """A student and the teacher that labels what it visits; either of the two acts.

    Attributes:
        params: the student's.
        teacher: whose statistics normalise what both see.
        teacher_acts: [] bool; traced, so that both rollouts are one program.
        student: static; the student's functions.
        sampled: static; draw the latent (and the teacher's action, where it acts).
    """

    params: Any
    teacher: FrozenPolicy
    teacher_acts: jax.Array
    student: StudentVAE = flax.struct.field(pytree_node=False)
    sampled: bool = flax.struct.field(pytree_node=False, default=False)

    def initial_memory(self, num_episodes: int) -> Any:
        """See `Actor`."""
        return self.teacher.initial_memory((num_episodes,))

    def act(self, observation: jax.Array, memory: Any, key: jax.Array) -> Acted:
        """See `Actor`."""
        student, params, teacher = self.student, self.params, self.teacher
        normalized = teacher.normalize(observation)
        reference, proprioception = teacher.split(normalized)
        posterior = student.encode(params, proprioception, reference)
        latent_key, teacher_key = jax.random.split(key)
        latent = posterior.sample(latent_key) if self.sampled else posterior.mean
        output = teacher.act(observation, memory)
        drawn = teacher.act(observation, memory, key=teacher_key) if self.sampled else output
        seen = Seen(
            student_action=student.decode(params, proprioception, latent),
            teacher_action=output.action,
            posterior=posterior,
            prior=student.prior(params, proprioception),
            far_share=_far_share(normalized, teacher),
        )
        action = jnp.where(self.teacher_acts, drawn.action, seen.student_action)
        return Acted(action, output.memory, seen)


def _far_share(normalized: jax.Array, teacher: FrozenPolicy) -> jax.Array:
    informative = teacher.obs_std > _FLOOR_STD
    far = jnp.sum((jnp.abs(normalized) > FAR_SIGMA) & informative, axis=-1)
    return far / jnp.maximum(jnp.sum(informative), 1)
