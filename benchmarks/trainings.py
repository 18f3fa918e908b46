"""The trainings that benchmarks measure. What benchmarks know of the package's core stands here."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console

from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.commands.train.training_run import TrainingRun
from vnl_mjx.config.loading import load_distillation_config, load_task_config, load_teacher_config
from vnl_mjx.physics.backends import resolve_backend
from vnl_mjx.physics.base import PhysicsState


class Training(ABC):
    """A training as its command would run it.

    Attributes:
        command: of `vnl-mjx`.
        name: in tables.
        section: of the configuration, that holds its sizes.
        sizes: names of that section, for reports.
        overrides: "key=value", as the command takes them.
        config: what they come to.
    """

    command: str
    name: str
    section: str
    sizes: tuple[str, ...]
    load: Callable[..., Any]

    def __init__(
        self,
        overrides: Sequence[str] = (),
        num_envs: int | None = None,
        config_file: Path | None = None,
    ):
        """Reads the configuration; nothing is built yet.

        Args:
            overrides: see above.
            num_envs: another number of environments, with as many minibatches per update as configured.
            config_file: YAML under the overrides.

        Raises:
            UserError: an unknown key, or a value that does not fit.
        """
        self.config = type(self).load(overrides, config_file)
        self.overrides = list(overrides)
        if num_envs is not None:
            self.overrides += self.with_envs(num_envs)
            self.config = type(self).load(self.overrides, config_file)

    @property
    def numbers(self) -> dict[str, int]:
        """The sizes of the training."""
        section = getattr(self.config, self.section)
        return {name: getattr(section, name) for name in self.sizes}

    @property
    def backend(self) -> str:
        """Where the simulation runs: "mujoco", "mjx" or "warp"."""
        return resolve_backend(self.config.physics_config.backend)

    def open(self, folder: Path = Path()) -> Any:
        """Prepares JAX, loads and builds the run; nothing is written.

        Raises:
            UserError: a file is missing, damaged or does not fit the others.
        """
        prepare_jax(self.config.device, self.config.matmul_precision)
        return TrainingRun(self.config, folder, Console(quiet=True))

    @abstractmethod
    def with_envs(self, num_envs: int) -> list[str]:
        """Overrides for another number of environments."""

    @abstractmethod
    def controls(self, visited: Any) -> jax.Array:
        """Controls [time, env, nu] that a rollout applied, or would apply were the teacher acting."""

    @abstractmethod
    def networks(self, trainer: Any, state: Any, visited: Any) -> Callable[[], Any]:
        """The networks' arithmetic of a rollout: step by step on the observations in `visited`."""


class Distillation(Training):
    """A student learns from a teacher."""

    command, name = "distill", "distillation"
    section, sizes = "training_config", ("num_envs", "unroll_length", "batch_size", "num_epochs")
    load = staticmethod(load_distillation_config)

    def with_envs(self, num_envs: int) -> list[str]:
        """See `Training`."""
        training = self.config.training_config
        num_batches = training.steps_per_update // training.batch_size
        steps = num_envs * training.unroll_length
        batch_size = steps // math.gcd(steps, num_batches)
        return [f"training_config.num_envs={num_envs}", f"training_config.batch_size={batch_size}"]

    def controls(self, visited: Any) -> jax.Array:
        """See `Training`."""
        return visited.steps.teacher_action

    def networks(self, trainer: Any, state: Any, visited: Any) -> Callable[[], Any]:
        """See `Training`; teacher and student."""

        @jax.jit
        def act(params, teacher, visited, key):
            def step(memory, inputs):
                seen, key = inputs
                observation = jnp.concatenate([seen.reference, seen.proprioception], axis=-1)
                output = teacher.act(observation, memory)
                own = trainer.student.forward(params, seen.proprioception, seen.reference, key)
                return output.memory, (output.action, own.action)

            length, num_envs = visited.steps.teacher_action.shape[:2]
            keys = jax.random.split(key, length)
            return jax.lax.scan(step, teacher.initial_memory((num_envs,)), (visited.steps, keys))

        return lambda: act(state.params, trainer.teacher, visited, jax.random.PRNGKey(0))


class TeacherTraining(Training):
    """A teacher learns by PPO."""

    command, name = "train-teacher", "training of a teacher"
    section, sizes = "ppo", ("num_envs", "unroll_length", "num_minibatches", "num_epochs")
    load = staticmethod(load_teacher_config)

    def with_envs(self, num_envs: int) -> list[str]:
        """See `Training`."""
        num_minibatches = math.gcd(num_envs, self.config.ppo.num_minibatches)
        return [f"ppo.num_envs={num_envs}", f"ppo.num_minibatches={num_minibatches}"]

    def controls(self, visited: Any) -> jax.Array:
        """See `Training`."""
        return jnp.tanh(visited.steps.raw_action)

    def networks(self, trainer: Any, state: Any, visited: Any) -> Callable[[], Any]:
        """See `Training`; the policy with its draws of latent and action."""

        @jax.jit
        def act(policy, observations, key):
            def step(memory, inputs):
                observation, key = inputs
                output = policy.act(observation, memory, key=key)
                return output.memory, output.action

            keys = jax.random.split(key, len(observations))
            memory = policy.initial_memory(observations.shape[1:2])
            return jax.lax.scan(step, memory, (observations, keys))

        policy = trainer.frozen_policy(state)
        return lambda: act(policy, visited.steps.observation, jax.random.PRNGKey(0))


class TaskTraining(TeacherTraining):
    """A policy learns a task on top of a student."""

    command, name = "train-task", "training of a task"
    load = staticmethod(load_task_config)

    def networks(self, trainer: Any, state: Any, visited: Any) -> Callable[[], Any]:
        """See `Training`; the policy once for each action, prior and decoder in each control step of it."""
        goal_size, repeats = trainer.env.observation_sizes["goal"], self.config.ppo.action_repeat

        @jax.jit
        def act(policy, low_level, observations, key):
            def step(_, inputs):
                observation, key = inputs
                action, body = policy.act(observation, key=key).action, observation[:, goal_size:]

                def hold(last, _):  # reads the one before, so that all are computed
                    control, _ = low_level.control(body + 0.0 * last, action)
                    return control[:, :1], ()

                last, _ = jax.lax.scan(hold, jnp.zeros((len(body), 1)), length=repeats)
                return (), (action, last)

            return jax.lax.scan(step, (), (observations, jax.random.split(key, len(observations))))

        policy, low_level = trainer.frozen_policy(state), trainer.data.low_level
        return lambda: act(policy, low_level, visited.steps.observation, jax.random.PRNGKey(0))


TRAININGS = {
    training.command: training for training in (Distillation, TeacherTraining, TaskTraining)
}


def task_of(trainer: Any) -> Any:
    """The task of one environment, which has `physics`."""
    return trainer.env.task


def clips_of(trainer: Any) -> Any:
    """The reference clips that a training draws from."""
    return trainer.data[1] if isinstance(trainer.data, tuple) else trainer.data


def simulations(state: Any) -> PhysicsState:
    """The physics states [env, ...] within a training's state."""
    is_physics = lambda node: isinstance(node, PhysicsState)  # noqa: E731
    (found,) = filter(is_physics, jax.tree.leaves(state, is_leaf=is_physics))
    return found


def functions(trainer: Any) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """What a training compiles: by name a function and the shapes of its arguments."""
    key = jax.eval_shape(lambda: jax.random.PRNGKey(0))
    state = jax.eval_shape(trainer.initial_state, key, trainer.data)
    rollout = (state, trainer.data, key)
    _, visited, *_ = jax.eval_shape(trainer.rollout, *rollout)
    return {
        "first states": (trainer.initial_state, (key, trainer.data)),
        "rollout": (trainer.rollout, rollout),
        "update": (trainer.learn, (state, visited, key)),
    }
