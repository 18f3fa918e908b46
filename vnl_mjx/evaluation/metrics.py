"""Numbers made of evaluation trajectories. NumPy in, JSON-able values out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.evaluation.action_errors import action_errors
from vnl_mjx.evaluation.comparison import Comparison
from vnl_mjx.evaluation.latent.statistics import latent_statistics
from vnl_mjx.evaluation.rollout import Rollout


def summarize(
    comparison: Comparison, actuator_names: Sequence[str], groups: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """All figures of one evaluation.

    Args:
        comparison: the two rollouts.
        actuator_names: [nu] names, in the action's order.
        groups: named actuator indices, for errors per group.

    Returns:
        Nested dict: `student` and `teacher` (reward, length, survival), `reward_ratio` (student over teacher,
        of episode rewards), `action` (errors on student-visited states; squared tanh units),
        `action_on_teacher_states`, `latent` (nats), `num_episodes`.
    """
    student = episode_statistics(comparison.student)
    teacher = episode_statistics(comparison.teacher)
    return {
        "num_episodes": len(student["episode_reward"]),
        "student": _means(student),
        "teacher": _means(teacher),
        "reward_ratio": _ratio(student["episode_reward"].mean(), teacher["episode_reward"].mean()),
        "action": seen_action_errors(comparison.student, actuator_names, groups),
        "action_on_teacher_states": seen_action_errors(comparison.teacher, actuator_names, groups),
        "latent": seen_latent_statistics(comparison.student),
        "nan_steps": int(
            np.sum(comparison.student.steps.diverged & comparison.student.steps.alive)
        ),
    }


def episode_statistics(rollout: Rollout) -> dict[str, np.ndarray]:
    """Per episode [episode]: reward sum, control steps, survival, and the mean of each reward term."""
    steps, alive = rollout.steps, rollout.steps.alive
    num_steps = alive.sum(axis=0)
    per_episode = {
        "episode_reward": np.where(alive, steps.reward, 0.0).sum(axis=0),
        "episode_steps": num_steps,
        "survival": rollout.survived.astype(float),
    }
    for name, term in steps.terms.items():
        per_episode[f"mean_{name}"] = np.where(alive, term, 0.0).sum(axis=0) / num_steps
    per_episode["reward_per_step"] = per_episode["episode_reward"] / num_steps
    return per_episode


def seen_action_errors(
    rollout: Rollout, actuator_names: Sequence[str], groups: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """`action_errors` over the valid steps of a rollout of an `StudentPolicy`."""
    seen = rollout.steps.extra
    return action_errors(
        seen.student_action, seen.teacher_action, rollout.valid, actuator_names, groups
    )


def seen_latent_statistics(rollout: Rollout) -> dict[str, Any]:
    """`latent_statistics` of the valid steps of a rollout of an `StudentPolicy`."""
    seen = rollout.steps.extra
    return latent_statistics(
        seen.posterior, seen.prior, rollout.valid, rollout.episodes.clip, rollout.control_hz
    )


def _means(statistics: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(value.mean()) for name, value in statistics.items()}


def _ratio(a: float, b: float) -> float | None:
    # Below zero a ratio says nothing about which is better.
    return float(a / b) if b > 0 else None


def headline(summary: dict[str, Any]) -> dict[str, float]:
    """The few figures worth a line in a training log."""
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
