"""The configurations of all that is trained."""

from collections.abc import Mapping
from typing import Any

from vnl_mjx.config.schema import DistillationConfig
from vnl_mjx.config.task import TaskTrainingConfig
from vnl_mjx.config.teacher import TeacherTrainingConfig

TrainingConfig = DistillationConfig | TeacherTrainingConfig | TaskTrainingConfig


def kind_of(config: Mapping[str, Any]) -> type[TrainingConfig]:
    """Returns of which class the sections are that a run recorded."""
    if "cloning" in config:
        return TaskTrainingConfig
    return TeacherTrainingConfig if "ppo" in config else DistillationConfig
