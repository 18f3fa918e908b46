"""The two trainings that `vnl-mjx bench` measures, and what differs between them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from vnl_mjx.analysis.benchmark import distillation as distillation_benchmark
from vnl_mjx.analysis.benchmark import ppo as ppo_benchmark
from vnl_mjx.analysis.benchmark.subjects import Networks, Recording
from vnl_mjx.commands.train.training_run import Training, build_training
from vnl_mjx.config.computing import PhysicsSection
from vnl_mjx.config.schema import (
    CheckpointSection,
    DistillationConfig,
    WandbSection,
)
from vnl_mjx.config.teacher import TeacherTrainingConfig


class Subject(ABC):
    """A training to measure.

    Attributes:
        command: of `vnl-mjx`, and of `commands.first_updates`.
        name: in tables.
        rollout_networks: whose networks act in a rollout, in tables.
        targets: by name: the ratio to the floor and, where there is one, of start and memory.
        prepare: see `analysis.benchmark.subjects.measure`.
        config: of the training.
    """

    command: ClassVar[str]
    name: ClassVar[str]
    rollout_networks: ClassVar[str]
    targets: ClassVar[Mapping[str, float]]
    prepare: ClassVar[Callable[[Any, Any], tuple[Recording, Networks]]]

    def __init__(self, config: Any):
        """Takes the configuration; nothing is loaded yet."""
        self.config = config

    @property
    def physics(self) -> PhysicsSection:
        """Where the simulation runs."""
        return self.config.physics_config

    @property
    @abstractmethod
    def num_envs(self) -> int:
        """Environments stepped together."""

    @abstractmethod
    def settings(self) -> dict[str, int]:
        """What a report says of the training."""

    @abstractmethod
    def with_envs(self, num_envs: int) -> "Subject":
        """The same with another width; minibatches shrink where they would not divide the rollout."""

    @abstractmethod
    def brief(self, num_updates: int) -> Any:
        """The configuration of a run of somewhat more updates, without anything besides training."""

    def build_training(self) -> Training:
        """Loads and builds the training on one device; writes nothing.

        Raises:
            UserError: a file is missing, damaged or does not fit the others.
        """
        return build_training(replace(self.config, num_devices=1), Path())

    def _without_extras(self, config: Any) -> Any:
        return replace(
            config,
            run_dir=None,
            eval_config=replace(config.eval_config, interval_steps=0),
            checkpoint_config=CheckpointSection(interval_steps=0),
            wandb_config=WandbSection(),
        )


class DistillationSubject(Subject):
    """A student learning from a teacher."""

    config: DistillationConfig
    command = "distill"
    name = "distillation"
    rollout_networks = "teacher and student, forward"
    targets = MappingProxyType({"ratio": 0.9, "start_s": 30.0, "memory_mb_at_1024": 2000.0})
    prepare = staticmethod(distillation_benchmark.prepare)

    @property
    def num_envs(self) -> int:
        """See `Subject`."""
        return self.config.training_config.num_envs

    def settings(self) -> dict[str, int]:
        """See `Subject`."""
        training = self.config.training_config
        names = ("num_envs", "unroll_length", "batch_size", "num_epochs")
        return {name: getattr(training, name) for name in names}

    def with_envs(self, num_envs: int) -> "DistillationSubject":
        """See `Subject`."""
        training = self.config.training_config
        batch_size = math.gcd(num_envs * training.unroll_length, training.batch_size)
        training = replace(training, num_envs=num_envs, batch_size=batch_size)
        return DistillationSubject(replace(self.config, training_config=training))

    def brief(self, num_updates: int) -> DistillationConfig:
        """See `Subject`."""
        training = self.config.training_config
        training = replace(training, num_steps=(num_updates + 1) * training.steps_per_update)
        return self._without_extras(replace(self.config, training_config=training))


class TeacherSubject(Subject):
    """A teacher learning by PPO."""

    config: TeacherTrainingConfig
    command = "train-teacher"
    name = "training of a teacher"
    rollout_networks = "policy, forward"
    targets = MappingProxyType({"ratio": 0.9})
    prepare = staticmethod(ppo_benchmark.prepare)

    @property
    def num_envs(self) -> int:
        """See `Subject`."""
        return self.config.ppo.num_envs

    def settings(self) -> dict[str, int]:
        """See `Subject`."""
        names = ("num_envs", "unroll_length", "num_minibatches", "num_epochs")
        return {name: getattr(self.config.ppo, name) for name in names}

    def with_envs(self, num_envs: int) -> "TeacherSubject":
        """See `Subject`."""
        ppo = self.config.ppo
        num_minibatches = math.gcd(num_envs, ppo.num_minibatches)
        ppo = replace(ppo, num_envs=num_envs, num_minibatches=num_minibatches)
        return TeacherSubject(replace(self.config, ppo=ppo))

    def brief(self, num_updates: int) -> TeacherTrainingConfig:
        """See `Subject`."""
        ppo = self.config.ppo
        ppo = replace(ppo, num_steps=(num_updates + 1) * ppo.steps_per_update)
        return self._without_extras(replace(self.config, ppo=ppo))
