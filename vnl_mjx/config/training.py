"""Names the configurations of every kind of training."""

from collections.abc import Mapping
from typing import Any

from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.config.task import TaskTrainingConfig
from vnl_mjx.config.teacher import TeacherTrainingConfig

TrainingConfig = DistillationConfig | TeacherTrainingConfig | TaskTrainingConfig


def kind_of(config: Mapping[str, Any]) -> type[TrainingConfig]:
    """Returns the configuration class of a run's recorded sections."""
    if "cloning" in config:
        return TaskTrainingConfig
    return TeacherTrainingConfig if "ppo" in config else DistillationConfig
