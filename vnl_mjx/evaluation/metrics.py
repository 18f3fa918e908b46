"""Summary of student and teacher that an evaluation during training writes and logs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.evaluation.action_errors import action_errors
from vnl_mjx.evaluation.bootstrap import median_of_clips
from vnl_mjx.evaluation.episode_metrics import (
    outcome_metrics,
    reward_ratio_by_clip,
    reward_ratio_of_means,
)
from vnl_mjx.evaluation.latent.statistics import latent_statistics
from vnl_mjx.evaluation.protocol import STUDENT, TEACHER
from vnl_mjx.evaluation.rollout import Rollout


def summarize(
    rollouts: Mapping[str, Rollout],
    actuator_names: Sequence[str],
    groups: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Returns all numbers of one evaluation during a distillation.

    Args:
        rollouts: `STUDENT` and `TEACHER` in the same episodes (`student_and_teacher`).
        actuator_names: [nu] names, in the action's order.
        groups: named actuator indices, for errors per group.

    Returns:
        Nested dict: `student` and `teacher` (means over episodes of `outcome_metrics`, and
        `episode_steps`), `reward_ratio` (`reward_ratio_of_means`), `reward_ratio_median_of_clips`,
        `action` (errors on student-visited states; squared tanh units), `action_on_teacher_states`,
        `latent` (nats), `num_episodes`, `nan_steps` (of the student).
    """
    student, teacher = rollouts[STUDENT], rollouts[TEACHER]
    own, others = outcome_metrics(student), outcome_metrics(teacher)
    by_clip = reward_ratio_by_clip(
        own["episode_reward"], others["episode_reward"], student.episodes.clip
    )
    return {
        "num_episodes": student.num_episodes,
        STUDENT: _means(student, own),
        TEACHER: _means(teacher, others),
        "reward_ratio": reward_ratio_of_means(own["episode_reward"], others["episode_reward"]),
        "reward_ratio_median_of_clips": median_of_clips(by_clip).as_dict("median")["median"],
        "action": seen_action_errors(student, actuator_names, groups),
        "action_on_teacher_states": seen_action_errors(teacher, actuator_names, groups),
        "latent": seen_latent_statistics(student),
        "nan_steps": int(own["diverged"].sum()),  # an episode ends where it diverges
    }


def seen_action_errors(
    rollout: Rollout, actuator_names: Sequence[str], groups: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Returns `action_errors` over the valid steps of a rollout of a `StudentPolicy`."""
    seen = rollout.steps.extra
    return action_errors(
        seen.student_action, seen.teacher_action, rollout.valid, actuator_names, groups
    )


def seen_latent_statistics(rollout: Rollout) -> dict[str, Any]:
    """Returns `latent_statistics` of the valid steps of a rollout of a `StudentPolicy`."""
    seen = rollout.steps.extra
    return latent_statistics(
        seen.posterior, seen.prior, rollout.valid, rollout.episodes.clip, rollout.control_hz
    )


def _means(rollout: Rollout, metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    steps = {"episode_steps": float(rollout.steps.alive.sum(axis=0).mean())}
    return steps | {name: float(value.mean()) for name, value in metrics.items()}


def headline(summary: dict[str, Any]) -> dict[str, float]:
    """Returns the few numbers that a training log holds."""
    values = {
        "student_reward": summary["student"]["episode_reward"],
        "teacher_reward": summary["teacher"]["episode_reward"],
        "reward_ratio": summary["reward_ratio"],
        "student_steps": summary["student"]["episode_steps"],
        "teacher_steps": summary["teacher"]["episode_steps"],
        "student_survival": summary["student"]["survival"],
        "teacher_survival": summary["teacher"]["survival"],
        "action_mse": summary["action"]["mse"],
        "action_mae": summary["action"]["mae"],
        "action_r2": summary["action"]["r2"],
        "kl": summary["latent"]["kl"],
        "active_units": summary["latent"]["active_units"],
    }
    return {name: value for name, value in values.items() if value is not None}
