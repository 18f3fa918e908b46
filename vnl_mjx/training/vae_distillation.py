"""Online distillation of a frozen teacher into a VAE student.

One update is a rollout (the student acts, the teacher labels) and some epochs of minibatches over it. The
trainer holds no state of its own: `TrainState` in, `TrainState` out, so a saved state resumes exactly.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from vnl_mjx.config.schema import TrainingSection
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.models.vae import StudentVAE
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.tasks.vae_distillation import DistillationState, Label, VaeDistillationTask
from vnl_mjx.training import losses, schedules
from vnl_mjx.training.rollout import RolloutStatistics, student_rollout


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
class LearningStatistics:
    """Means over the minibatches of one update.

    Attributes:
        loss: [] weighted total.
        action_mse: [] mean squared action error.
        action_abs_error: [nu] mean absolute action error per actuator.
        kl_per_dim: [latent_dim] KL(posterior || prior), nats.
        posterior_mean: [latent_dim] mean of the posterior means.
        posterior_mean_square: [latent_dim] mean of their squares.
        posterior_std: [] mean standard deviation of the posterior.
        prior_std: [] mean standard deviation of the prior.
        grad_norm: [] global norm before clipping.
        skipped: [] share of minibatches whose gradient was not finite and was not applied.
        kl_weight: [] weight in force.
    """

    loss: jax.Array
    action_mse: jax.Array
    action_abs_error: jax.Array
    kl_per_dim: jax.Array
    posterior_mean: jax.Array
    posterior_mean_square: jax.Array
    posterior_std: jax.Array
    prior_std: jax.Array
    grad_norm: jax.Array
    skipped: jax.Array
    kl_weight: jax.Array


@flax.struct.dataclass
class UpdateResult:
    """Statistics of one update (on the device) and where its wall-clock seconds went (host).

    Attributes:
        rollout: sums over the rollout.
        learning: means over the minibatches.
        seconds: static dict of "rollout", "update" and, of the rollout, "physics".
    """

    rollout: RolloutStatistics
    learning: LearningStatistics
    seconds: dict[str, float] = flax.struct.field(pytree_node=False)


class VaeDistillation:
    """The trainer. Its teacher is an input of every function and under `stop_gradient`."""

    def __init__(
        self,
        task: VaeDistillationTask,
        student: StudentVAE,
        teacher: FrozenPolicy,
        clips: ReferenceClips,
        config: TrainingSection,
    ):
        """Builds the optimiser and the two compiled functions; nothing is compiled yet.

        Args:
            task: the batched task, whose observations `student` was sized for.
            student: the student's functions.
            teacher: the frozen policy.
            clips: training clips only.
            config: validated training settings.
        """
        self.task, self.student, self.config = task, student, config
        self.teacher, self.clips = jax.device_put((teacher, clips))
        self.steps_per_update = config.steps_per_update
        if self.steps_per_update % config.batch_size:
            raise ValueError(
                f"{config.batch_size=} must divide {config.num_envs=} * {config.unroll_length=}"
            )
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm), optax.adam(config.learning_rate)
        )
        self._kl_weight = _kl_schedule(config)
        self._teacher_fraction = schedules.linear(
            config.teacher_forcing.fraction_start, 0.0, 0, config.teacher_forcing.decay_steps
        )
        self._rollout = jax.jit(self._rollout_impl, donate_argnames="environments")
        self._learn = jax.jit(self._learn_impl, donate_argnames=("params", "opt_state"))
        self._rollout_ready: Future | None = None
        self._learn_ready: Future | None = None

    def init(self, seed: int) -> TrainState:
        """Fresh parameters and environments."""
        return jax.jit(self._init_impl)(jax.random.PRNGKey(seed), self.teacher, self.clips)

    def start_compiling(self) -> None:
        """Compiles both functions in the background, while the caller does something else."""
        state = jax.eval_shape(self._init_impl, jax.random.PRNGKey(0), self.teacher, self.clips)
        # One thread: the caller compiles too, and each compilation takes some 200 MB.
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")
        rollout = self._rollout.lower(**self._rollout_arguments(state, state.key))
        self._rollout_ready = pool.submit(rollout.compile)
        _, labels, _ = rollout.out_info
        learn = self._learn.lower(**self._learn_arguments(state, labels, state.key))
        self._learn_ready = pool.submit(learn.compile)
        pool.shutdown(wait=False)

    def env_steps(self, state: TrainState) -> int:
        """Control steps so far, summed over environments."""
        return int(state.num_updates) * self.steps_per_update

    def update(self, state: TrainState) -> tuple[TrainState, UpdateResult]:
        """One rollout and its minibatches. `state` is consumed (its buffers are donated)."""
        key, rollout_key, learn_key = jax.random.split(state.key, 3)
        physics_before = self._physics_seconds()
        started = time.perf_counter()
        rollout_fn = self._rollout_ready.result() if self._rollout_ready else self._rollout
        environments, labels, rollout = jax.block_until_ready(
            rollout_fn(**self._rollout_arguments(state, rollout_key))
        )
        rolled_out = time.perf_counter()
        learn_fn = self._learn_ready.result() if self._learn_ready else self._learn
        params, opt_state, learning = jax.block_until_ready(
            learn_fn(**self._learn_arguments(state, labels, learn_key))
        )
        seconds = {
            "rollout": rolled_out - started,
            "update": time.perf_counter() - rolled_out,
            "physics": self._physics_seconds() - physics_before,
        }
        state = TrainState(params, opt_state, environments, key, state.num_updates + 1)
        return state, UpdateResult(rollout, learning, seconds)

    def train(
        self,
        state: TrainState,
        num_steps: int,
        on_update: Callable[[TrainState, int, UpdateResult], bool],
    ) -> TrainState:
        """Updates until `num_steps` environment steps are done or `on_update` returns True.

        Args:
            state: a fresh or restored state.
            num_steps: total environment steps of the run, rounded up to whole updates.
            on_update: called after every update with the state (valid until the next update), the
                environment steps so far and the update's statistics.
        """
        env_steps = self.env_steps(state)
        while env_steps < num_steps:
            state, result = self.update(state)
            env_steps += self.steps_per_update
            if on_update(state, env_steps, result):
                break
        return state

    def _physics_seconds(self) -> float:
        # Only the C back end can tell: its work is done in a callback.
        return getattr(self.task.imitation.physics, "busy_seconds", 0.0)

    def _steps_so_far(self, num_updates: jax.Array) -> jax.Array:
        return num_updates.astype(jnp.float32) * self.steps_per_update

    def _rollout_arguments(self, state: TrainState, key: jax.Array) -> dict[str, Any]:
        return {
            "params": state.params,
            "teacher": self.teacher,
            "clips": self.clips,
            "environments": state.environments,
            "key": key,
            "num_updates": state.num_updates,
        }

    def _learn_arguments(self, state: TrainState, labels: Label, key: jax.Array) -> dict[str, Any]:
        return {
            "params": state.params,
            "opt_state": state.opt_state,
            "labels": labels,
            "key": key,
            "num_updates": state.num_updates,
        }

    def _init_impl(
        self, key: jax.Array, teacher: FrozenPolicy, clips: ReferenceClips
    ) -> TrainState:
        key, params_key, env_key = jax.random.split(key, 3)
        params = self.student.init(params_key)
        return TrainState(
            params=params,
            opt_state=self.optimizer.init(params),
            environments=self.task.reset(env_key, self.config.num_envs, teacher, clips),
            key=key,
            num_updates=jnp.int32(0),
        )

    def _rollout_impl(self, params, teacher, clips, environments, key, num_updates):
        fraction = self._teacher_fraction(self._steps_so_far(num_updates))
        return student_rollout(
            self.task,
            self.student,
            params,
            teacher,
            clips,
            environments,
            key,
            self.config.unroll_length,
            fraction,
        )

    def _learn_impl(self, params, opt_state, labels: Label, key, num_updates):
        samples = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), labels)
        kl_weight = self._kl_weight(self._steps_so_far(num_updates))
        num_minibatches = self.steps_per_update // self.config.batch_size

        def minibatch(carry, inputs):
            params, opt_state = carry
            rows, key = inputs
            batch = jax.tree.map(lambda x: x[rows], samples)
            (_, statistics), grads = jax.value_and_grad(self._loss, has_aux=True)(
                params, batch, key, kl_weight
            )
            grad_norm = optax.tree.norm(grads)
            finite = jnp.isfinite(grad_norm)
            updates, new_opt_state = self.optimizer.update(grads, opt_state, params)
            updated = (optax.apply_updates(params, updates), new_opt_state)
            # A gradient that is not finite is counted and left out; the optimiser never sees it.
            carry = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, carry)
            return carry, statistics.replace(
                grad_norm=grad_norm, skipped=1.0 - finite, kl_weight=kl_weight
            )

        def epoch(carry, key):
            shuffle_key, noise_key = jax.random.split(key)
            rows = jax.random.permutation(shuffle_key, self.steps_per_update)
            rows = rows.reshape(num_minibatches, self.config.batch_size)
            return jax.lax.scan(
                minibatch, carry, (rows, jax.random.split(noise_key, num_minibatches))
            )

        keys = jax.random.split(key, self.config.num_epochs)
        (params, opt_state), statistics = jax.lax.scan(epoch, (params, opt_state), keys)
        return params, opt_state, jax.tree.map(lambda x: jnp.mean(x, axis=(0, 1)), statistics)

    def _loss(self, params, batch: Label, key, kl_weight):
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
        statistics = LearningStatistics(
            loss=loss.total,
            action_mse=loss.action_mse,
            action_abs_error=jnp.mean(jnp.abs(output.action - batch.teacher_action), axis=0),
            kl_per_dim=jnp.mean(losses.latent_kl(output.posterior, output.prior), axis=0),
            posterior_mean=jnp.mean(mean, axis=0),
            posterior_mean_square=jnp.mean(jnp.square(mean), axis=0),
            posterior_std=jnp.mean(jnp.exp(0.5 * output.posterior.logvar)),
            prior_std=jnp.mean(jnp.exp(0.5 * output.prior.logvar)),
            grad_norm=jnp.float32(0),
            skipped=jnp.float32(0),
            kl_weight=jnp.float32(0),
        )
        return loss.total, statistics


def _kl_schedule(config: TrainingSection) -> schedules.Schedule:
    schedule = config.kl_schedule
    if schedule.start_weight is None:
        return schedules.constant(config.kl_weight)
    return schedules.linear(
        schedule.start_weight, config.kl_weight, schedule.start_step, schedule.end_step
    )
