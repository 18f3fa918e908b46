"""Computes errors of a student's action against its teacher's in the same states."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.evaluation.protocol import STUDENT, TEACHER
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.walkers.walker import Walker

_LEAST_VARIANCE = 1e-12  # below this, an action never changed: there is nothing to explain


def action_errors(
    student_action: np.ndarray,
    teacher_action: np.ndarray,
    mask: np.ndarray,
    actuator_names: Sequence[str],
    groups: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    """Computes the difference of student's and teacher's action after tanh, over the states of `mask`.

    Actions of the same states are [..., nu] in [-1, 1], `actuator_names` in their order; `mask`, bool [...],
    says which states count; `groups` are named actuator indices.

    Returns:
        JSON-able `mse`, `mae`, `r2` over all actuators, and by name in `per_actuator` and `per_group`; None
        if no state counts. `r2` is 1 - mean squared error / variance of the teacher's action, both averaged
        over the actuators first; None if that action never changes.
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


def action_section(rollouts: Mapping[str, Rollout], walker: Walker) -> dict[str, Any]:
    """Returns `action_errors` in the valid steps of `STUDENT` and of `TEACHER`, JSON-able.

    Both rollouts come from a `StudentPolicy`, which records both actions.
    """
    found = {}
    for name in (STUDENT, TEACHER):
        seen, valid = rollouts[name].steps.extra, rollouts[name].valid
        actions = seen.student_action, seen.teacher_action
        names, groups = walker.actuator_names, walker.actuator_groups
        found[f"on_{name}_states"] = action_errors(*actions, valid, names, groups)
    return found
