"""Student against teacher: errors of the action, and what an evaluation during training logs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.evaluation.bootstrap import ratio_of_means
from vnl_mjx.evaluation.episode_metrics import outcome_metrics
from vnl_mjx.evaluation.latent.statistics import latent_statistics
from vnl_mjx.evaluation.protocol import STUDENT, TEACHER
from vnl_mjx.evaluation.rollout import Rollout

_LEAST_VARIANCE = 1e-12  # of an action that never changed: there is nothing to explain


def summarize(
    rollouts: Mapping[str, Rollout],
    actuator_names: Sequence[str],
    groups: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Returns all numbers of an evaluation of `STUDENT` and `TEACHER` in the same episodes of a distillation.

    Means are over episodes; `action` (on the student's states) and `action_on_teacher_states` are in squared
    tanh units, `latent` in nats. `groups` are named actuator indices, for errors per group.
    """
    student, teacher = rollouts[STUDENT], rollouts[TEACHER]
    own, others = outcome_metrics(student), outcome_metrics(teacher)
    ratio = ratio_of_means(own["episode_reward"], others["episode_reward"], student.episodes.clip)
    return {
        "num_episodes": student.num_episodes,
        STUDENT: _means(student, own),
        TEACHER: _means(teacher, others),
        "reward_ratio": ratio.as_dict()["mean"],
        "action": seen_action_errors(student, actuator_names, groups),
        "action_on_teacher_states": seen_action_errors(teacher, actuator_names, groups),
        "latent": seen_latent_statistics(student),
        "nan_steps": int(own["diverged"].sum()),  # an episode ends where it diverges
    }


def action_errors(
    student_action: np.ndarray,
    teacher_action: np.ndarray,
    mask: np.ndarray,
    actuator_names: Sequence[str],
    groups: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Difference of the student's from the teacher's action after tanh, over the states of `mask`.

    Actions of the same states are [..., nu] in [-1, 1], `actuator_names` in their order; `mask`, bool [...],
    says which states count; `groups` are named actuator indices.

    Returns:
        JSON-able `mse`, `mae`, `r2` over all actuators, and by name in `per_actuator` and `per_group`;
        None where no state counts. `r2` is 1 - mean squared error / variance of the teacher's action,
        both averaged over the actuators first; None where that never changes.
    """
    mask = np.asarray(mask, bool)
    target = np.asarray(teacher_action)[mask]
    error = np.asarray(student_action)[mask] - target
    names, count = list(actuator_names), len(target)
    if error.shape != (count, len(names)):
        raise ValueError(f"{error.shape=}, expected {(count, len(names))}: one per actuator name")
    target, error = np.asarray(target, np.float64), np.asarray(error, np.float64)
    mse = mae = variance = np.full(len(names), np.nan)
    if count:
        mse, mae = np.square(error).mean(axis=0), np.abs(error).mean(axis=0)
        variance = np.square(target - target.mean(axis=0)).mean(axis=0)

    def figures(rows: Sequence[int]) -> dict[str, float | None]:
        own = list(rows)
        if not count or not own:
            return {"mse": None, "mae": None, "r2": None}
        known, unexplained = variance[own].mean(), mse[own].mean()
        varies = known > _LEAST_VARIANCE
        return {
            "mse": float(unexplained),
            "mae": float(mae[own].mean()),
            "r2": float(1.0 - unexplained / known) if varies else None,
        }

    return figures(range(len(names))) | {
        "per_actuator": {name: figures([i]) for i, name in enumerate(names)},
        "per_group": {name: figures(rows) for name, rows in groups.items()},
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
