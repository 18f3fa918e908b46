"""Distils a frozen teacher into a VAE student, online.

One update is a rollout (the student acts, the teacher labels) and some epochs of minibatches over it.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.schema import TrainingSection
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.environment import Environment
from vnl_mjx.tasks.vae_distillation import LabelledSteps, StudentPolicy
from vnl_mjx.training.latent_terms import GAUSSIAN_TERMS, STUDENT_TERMS
from vnl_mjx.training.learner import Learner, LossFunction
from vnl_mjx.training.losses import distillation_loss, further_terms
from vnl_mjx.training.optimizers import Adam, Averaged, AveragedState
from vnl_mjx.training.rollout import Step
from vnl_mjx.training.schedules import LearningRate, constant, held_kl_weight, schedule
from vnl_mjx.training.trainer import Trainer, TrainState


class VaeDistillation(Trainer):
    """Implements the trainer. The teacher is an input of every function, under `stop_gradient`."""

    def __init__(
        self,
        env: Environment,
        student: StudentVAE,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        config: TrainingSection,
        mesh: Mesh | None = None,
    ):
        """Builds the optimiser; nothing is compiled yet.

        Args:
            env: the teacher's task; its observations fit `student`.
            student: the student's functions.
            teacher: the frozen policy.
            clips: training clips only.
            config: validated training settings.
            mesh: mesh of the devices to train on (`devices`); None: one device.

        Raises:
            UserError: a function of `config.loss_terms` cannot be found, or does not fit this latent; or a
                controlled KL weight starts outside its bounds.
        """
        steps = config.steps_per_update
        if steps % config.batch_size or config.batch_size % config.segment_length:
            raise ValueError(
                f"{config.batch_size=} must divide {config.num_envs=} * {config.unroll_length=} and be a "
                f"multiple of {config.segment_length=}"
            )
        self.student, self.config = student, config
        num_steps, action, kl = config.num_steps, config.action_loss, config.kl_loss
        kl.validate("training_config.kl_loss", config.kl_weight, student.config.latent_dim)
        kl_weight = kl.summed_weight(config.kl_weight, student.config.latent_dim)
        weights = {
            action.term: constant(config.action_weight),
            kl.term: schedule(kl_weight, num_steps),
        }
        _check_latent(student, config)
        key, taken = "training_config.loss_terms", {"action_mse", "kl", *weights}
        terms, extra = further_terms(config.loss_terms, key, taken, num_steps, STUDENT_TERMS)
        weights |= extra
        held = {}
        if kl.target is not None:
            held[kl.term] = held_kl_weight(kl_weight, num_steps, kl)
        self._loss = distillation_loss(student, terms, action, kl)
        self._teacher_fraction = schedule(config.teacher_fraction, num_steps)
        adam = Adam(config.max_grad_norm)
        learner = Learner(
            weights,
            Averaged(adam, config.averaging) if config.averaging else adam,
            LearningRate(config.learning_rate, num_steps),
            num_envs=config.num_envs,
            unroll_length=config.unroll_length,
            segment_length=config.segment_length,
            minibatch_size=config.batch_size // config.segment_length,
            num_epochs=config.num_epochs,
            held_weights=held,
        )
        super().__init__(env, (teacher, clips), learner, steps, mesh)
        self.teacher, self.clips = self.data

    def learnt_student(self, state: TrainState) -> Any:
        """Returns the student's parameters to evaluate and save: their average, if one is kept."""
        is_averaged = isinstance(state.opt_state, AveragedState)
        return state.opt_state.average if is_averaged else state.params

    def initial_params(
        self, key: jax.Array, data: tuple[FrozenPolicy, ReferenceClips]
    ) -> tuple[Any, tuple[()]]:
        """See `Trainer`."""
        return self.student.init(key, data[0]), ()

    def env_data(self, data: tuple[FrozenPolicy, ReferenceClips]) -> ReferenceClips:
        """See `Trainer`."""
        return data[1]

    def policy(
        self,
        params: Any,
        extra: Any,
        data: tuple[FrozenPolicy, ReferenceClips],
        env_steps: jax.Array,
    ) -> StudentPolicy:
        """Returns the student's policy; the teacher, or the student's prior, acts in some environments."""
        num_envs = self.config.num_envs
        row = jnp.arange(num_envs)
        teacher_acts = row < self._teacher_fraction(env_steps) * num_envs
        prior_acts = None
        if self.config.prior_fraction:
            prior_acts = row >= (1.0 - self.config.prior_fraction) * num_envs
        return StudentPolicy(
            params, data[0], teacher_acts, self.student, sampled=True, prior_acts=prior_acts
        )

    def record(self, step: Step, data: Any, env_steps: jax.Array) -> LabelledSteps:
        """See `Trainer`."""
        visited = step.acted.extra
        return LabelledSteps(
            visited.reference,
            visited.proprioception,
            jax.lax.stop_gradient(visited.teacher_action),
        )

    def memory(self, step: Step) -> Any:
        """See `Trainer`; leaves out the teacher's memory."""
        return step.memory[1]

    def loss(self, extra: Any) -> LossFunction:
        """See `Trainer`."""
        return self._loss


def _check_latent(student: StudentVAE, config: TrainingSection) -> None:
    for name, section in config.loss_terms.items():
        if (section.function or name) in GAUSSIAN_TERMS and not student.is_gaussian:
            raise UserError(
                f"training_config.loss_terms.{name}: expected a Gaussian latent, found vae_config.latent="
                f"{student.config.latent}"
            )
