"""The trainings that `gpu.py` measures: the rodent's as configured, and the toy walker's of the tests."""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.commands.train.experiment import (
    Experiment,
    build_actor_critic,
    build_experiment,
    build_student,
    build_teacher_experiment,
)
from vnl_mjx.config.loading import load_distillation_config, load_teacher_config
from vnl_mjx.config.schema import DistillationConfig, TrainingSection
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.training.ppo import Ppo
from vnl_mjx.training.vae_distillation import VaeDistillation
from vnl_mjx.walkers.walker import Walker, build_walker

# What a short PPO of the toy walker earns per step where it learns, less some tenths: the best is 1.2.
PASSING_REWARD = 0.9
ELSEWHERE = "mujoco"  # the back end on which a student is judged once more
_FOR_EVERY_TRAINING = ("physics_config.", "device=", "matmul_precision=")


@dataclass(frozen=True)
class Learning:
    """A PPO that learns within seconds."""

    trainer: Ppo
    num_updates: int
    passing_reward: float


@dataclass(frozen=True)
class Distillation:
    """A student's training, the clips to judge it on, and its task on the back end `ELSEWHERE`."""

    trainer: VaeDistillation
    held_out: ReferenceClips
    elsewhere: Callable[[], ImitationTask]


class Rodent:
    """The bundled teacher, or the one that overrides name, and a PPO with track-mjx's sizes."""

    default_widths = (512, 1024, 2048, 4096, 8192, 16384)
    max_train_seconds = 150.0  # of "ratio"

    def __init__(self, overrides: Sequence[str] = ()):
        """Takes overrides of the distillation; those of the simulation hold for the PPO too."""
        self._overrides = tuple(overrides)
        self._shared = [text for text in overrides if text.startswith(_FOR_EVERY_TRAINING)]
        self.default_envs = self._config(ELSEWHERE).training_config.num_envs

    def distillation(self, backend: str, num_envs: int) -> Distillation:
        """With so many minibatches per update as configured, each the larger."""
        config = self._config(backend)
        training = with_envs(config.training_config, num_envs)
        experiment = build_experiment(replace(config, training_config=training))
        student = build_student(experiment.env, config.vae_config)
        parts = (experiment.env, student, experiment.teacher.policy, experiment.clips_of("train"))
        trainer = VaeDistillation(*parts, training)
        held_out = experiment.clips_of(config.eval_config.clips)
        return Distillation(trainer, held_out, lambda: self._elsewhere().evaluation_task)

    def ppo(self, backend: str, num_envs: int) -> Ppo:
        """The networks and the update of the preset gpu."""
        overrides = [*self._shared, f"physics_config.backend={backend}"]
        config = load_teacher_config(overrides, preset="gpu")
        num_minibatches = math.gcd(num_envs, config.ppo.num_minibatches)
        ppo = replace(config.ppo, num_envs=num_envs, num_minibatches=num_minibatches)
        experiment = build_teacher_experiment(replace(config, ppo=ppo))
        model = build_actor_critic(experiment.env, config.network)
        return Ppo(experiment.env, model, experiment.clips_of("train"), ppo)

    def learning(self, backend: str) -> Learning:
        """The toy walker's."""
        return Toy().learning(backend)

    def _config(self, backend: str) -> DistillationConfig:
        return load_distillation_config([*self._overrides, f"physics_config.backend={backend}"])

    def _elsewhere(self) -> Experiment:
        return build_experiment(self._config(ELSEWHERE))


class Toy:
    """The toy walker and its trainers, which the tests have: seconds in place of minutes."""

    default_widths = (16, 32)
    default_envs = 16
    max_train_seconds = 2.0

    def __init__(self, overrides: Sequence[str] = ()):
        """Builds nothing yet.

        Raises:
            UserError: there are overrides.
        """
        if overrides:
            raise UserError(
                f"--walker toy: expected no key=value, for it has no configuration, found {overrides[0]}"
            )

    @cached_property
    def _trainers(self) -> ModuleType:
        """The tests' module; nothing is built before it is asked for, which is in a job's process."""
        return _of_the_tests("toy_trainers")

    @cached_property
    def _walker(self) -> Walker:
        return build_walker(_of_the_tests("on_devices").TOY)

    @cached_property
    def _clips(self) -> ReferenceClips:
        return self._trainers.sine_clips(self._walker, [1.0, 1.0, 2.0, 2.0], [0.0, 3.0, 1.5, 4.5])

    def distillation(self, backend: str, num_envs: int) -> Distillation:
        """From an untrained teacher."""
        parts = self._trainers.toy_distillation(self._walker, self._clips, backend)
        task, teacher, student, clips = parts
        config = with_envs(self._trainers.TRAINING, num_envs)
        trainer = VaeDistillation(task, student, teacher, clips, config)
        elsewhere = self._trainers.toy_distillation
        return Distillation(
            trainer, clips, lambda: elsewhere(self._walker, clips, ELSEWHERE)[0].task
        )

    def ppo(self, backend: str, num_envs: int) -> Ppo:
        """Of the sines."""
        config = replace(self._trainers.SINE_PPO, num_envs=num_envs)
        return self._trainers.sine_ppo(self._walker, self._clips, backend, config=config)

    def learning(self, backend: str) -> Learning:
        """Of the sines, as long as it takes to learn them."""
        trainer = self._trainers.sine_ppo(self._walker, self._clips, backend)
        return Learning(trainer, self._trainers.NUM_UPDATES, PASSING_REWARD)


def _of_the_tests(module: str) -> ModuleType:
    tests = str(Path(__file__).parent.parent / "tests")
    if tests not in sys.path:
        sys.path.insert(0, tests)
    return importlib.import_module(module)


SUBJECTS = {"rodent": Rodent, "toy": Toy}


def with_envs(training: TrainingSection, num_envs: int) -> TrainingSection:
    """As many minibatches per update with another number of environments."""
    num_batches = training.steps_per_update // training.batch_size
    steps = num_envs * training.unroll_length
    return replace(training, num_envs=num_envs, batch_size=steps // math.gcd(steps, num_batches))
