"""Online distillation of a frozen teacher into a VAE student.

One update is a rollout (the student acts, the teacher labels) and some epochs of minibatches over it.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from vnl_mjx import devices
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.schema import TrainingSection
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.tasks.vae_distillation import DistillationState, Label, VaeDistillationTask
from vnl_mjx.training import losses, schedules
from vnl_mjx.training.minibatches import if_finite, minibatch_epochs, num_groups, take_steps
from vnl_mjx.training.rollout import RolloutStatistics, student_rollout
from vnl_mjx.training.trainer import LearningStatistics, Trainer


@flax.struct.dataclass
class TrainState:
    """Everything that a run continues from.

    Attributes:
        params: the student's parameters.
        opt_state: the optimiser's state.
        environments: [num_envs] environments, with the teacher's memory in them.
        key: [2] uint32 random key.
        num_updates: [] int32 updates done; environment steps are a multiple of it.
    """

    params: Any
    opt_state: Any
    environments: DistillationState
    key: jax.Array
    num_updates: jax.Array


@flax.struct.dataclass
class StudentLoss:
    """The objective and what tells how it came about; means over samples.

    Attributes:
        total: [] what is minimised.
        action_mse: [] mean squared action error.
        action_abs_error: [nu] mean absolute action error per actuator.
        kl_per_dim: [latent_dim] KL(posterior || prior), nats.
        posterior_mean: [latent_dim] mean of the posterior means.
        posterior_mean_square: [latent_dim] mean of their squares.
        posterior_std: [] mean standard deviation of the posterior.
        prior_std: [] mean standard deviation of the prior.
    """

    total: jax.Array
    action_mse: jax.Array
    action_abs_error: jax.Array
    kl_per_dim: jax.Array
    posterior_mean: jax.Array
    posterior_mean_square: jax.Array
    posterior_std: jax.Array
    prior_std: jax.Array


class VaeDistillation(Trainer[TrainState]):
    """The trainer. Its teacher is an input of every function and under `stop_gradient`.

    The loss of an update is a `StudentLoss`, its weights are {"kl": []}.
    """

    environments = "environments"

    def __init__(
        self,
        task: VaeDistillationTask,
        student: StudentVAE,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        config: TrainingSection,
        mesh: Mesh | None = None,
    ):
        """Builds the optimiser; nothing is compiled yet.

        Args:
            task: the batched task, whose observations `student` was sized for.
            student: the student's functions.
            teacher: the frozen policy.
            clips: training clips only.
            config: validated training settings.
            mesh: of the devices to train on (`devices`); None: one.
        """
        super().__init__(task, (teacher, clips), config.num_envs, config.steps_per_update, mesh)
        self.teacher, self.clips = self.data
        self.student, self.config = student, config
        if self.steps_per_update % config.batch_size:
            raise ValueError(
                f"{config.batch_size=} must divide {config.num_envs=} * {config.unroll_length=}"
            )
        self.optimizer = optax.chain(
            # Adam of rate 1, scaled by the rate in force
            optax.clip_by_global_norm(config.max_grad_norm),
            optax.adam(1.0),
        )
        decay = config.learning_rate_decay
        self._learning_rate = schedules.constant(config.learning_rate)
        if decay.final is not None:
            self._learning_rate = schedules.linear(
                config.learning_rate, decay.final, decay.start_step, decay.end_step
            )
        self._kl_weight = schedules.weight(config.kl_weight, config.kl_schedule)
        self._teacher_fraction = schedules.linear(
            config.teacher_forcing.fraction_start, 0.0, 0, config.teacher_forcing.decay_steps
        )

    def initial_state(
        self, key: jax.Array, data: tuple[FrozenPolicy, ReferenceClips]
    ) -> TrainState:
        """See `Trainer`."""
        key, params_key, env_key = jax.random.split(key, 3)
        params = self.student.init(params_key)
        return TrainState(
            params=params,
            opt_state=self.optimizer.init(params),
            environments=self.task.reset(env_key, self.config.num_envs, *data),
            key=key,
            num_updates=jnp.int32(0),
        )

    def rollout(
        self, state: TrainState, data: tuple[FrozenPolicy, ReferenceClips], key: jax.Array
    ) -> tuple[TrainState, Label, RolloutStatistics]:
        """See `Trainer`."""
        environments, labels, statistics = student_rollout(
            self.task,
            self.student,
            state.params,
            *data,
            state.environments,
            key,
            self.config.unroll_length,
            self._teacher_fraction(self.scheduled_steps(state)),
        )
        return state.replace(environments=environments), labels, statistics

    def visited_placement(self) -> NamedSharding:
        """See `Trainer`."""
        return devices.split(self.mesh, axis=1)

    def learn(
        self, state: TrainState, visited: Label, key: jax.Array
    ) -> tuple[TrainState, LearningStatistics]:
        """See `Trainer`."""
        config = self.config
        kl_weight = self._kl_weight(self.scheduled_steps(state))
        rate = self._learning_rate(self.scheduled_steps(state))

        def minibatch(learnt, rows: jax.Array, key: jax.Array):
            params, opt_state = learnt
            batch = jax.tree.map(lambda x: take_steps(x, rows), visited)
            (_, parts), grads = jax.value_and_grad(self._loss, has_aux=True)(
                params, batch, key, kl_weight
            )
            updates, opt_state = self.optimizer.update(grads, opt_state, params)
            updates = jax.tree.map(lambda update: rate * update, updates)
            stepped = (optax.apply_updates(params, updates), opt_state)
            learnt, grad_norm, skipped = if_finite(grads, stepped, learnt)
            return learnt, LearningStatistics(parts, grad_norm, skipped, rate, {"kl": kl_weight})

        num_samples = self.steps_per_update
        (params, opt_state), statistics = minibatch_epochs(
            minibatch,
            (state.params, state.opt_state),
            key,
            num_samples,
            num_samples // config.batch_size,
            config.num_epochs,
            num_groups(config.num_envs, config.batch_size),
        )
        return state.replace(params=params, opt_state=opt_state), statistics

    def _loss(
        self, params: Any, batch: Label, key: jax.Array, kl_weight: jax.Array
    ) -> tuple[jax.Array, StudentLoss]:
        output = self.student.forward(params, batch.proprioception, batch.reference, key)
        loss = losses.distillation_loss(
            output.action,
            batch.teacher_action,
            output.posterior,
            output.prior,
            self.config.action_weight,
            kl_weight,
        )
        mean = output.posterior.mean
        return loss.total, StudentLoss(
            total=loss.total,
            action_mse=loss.action_mse,
            action_abs_error=jnp.mean(jnp.abs(output.action - batch.teacher_action), axis=0),
            kl_per_dim=jnp.mean(losses.latent_kl(output.posterior, output.prior), axis=0),
            posterior_mean=jnp.mean(mean, axis=0),
            posterior_mean_square=jnp.mean(jnp.square(mean), axis=0),
            posterior_std=jnp.mean(jnp.exp(0.5 * output.posterior.logvar)),
            prior_std=jnp.mean(jnp.exp(0.5 * output.prior.logvar)),
        )
