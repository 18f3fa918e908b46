"""An untrained student of the toy walker, and the teacher whose statistics it reads."""

from typing import Any, NamedTuple

import jax
from policy_helpers import untrained_policy

from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE, VaeConfig
from vnl_mjx.tasks.imitation import ImitationTask


class ToyStudent(NamedTuple):
    """Parts that an actor is made of."""

    params: Any
    teacher: FrozenPolicy
    student: StudentVAE


def untrained_student(task: ImitationTask, seed: int = 0) -> ToyStudent:
    """Parameters as drawn; prior and posterior differ from each other and from state to state."""
    config = VaeConfig(
        reference_size=task.layout.reference_size,
        proprioception_size=task.layout.proprioception_size,
        action_size=task.action_size,
        activation="silu",
        latent_dim=3,
        encoder_hidden_sizes=(16,),
        decoder_hidden_sizes=(16,),
        prior_hidden_sizes=(8,),
    )
    student = StudentVAE(config)
    return ToyStudent(jax.jit(student.init)(jax.random.key(seed)), untrained_policy(task), student)
