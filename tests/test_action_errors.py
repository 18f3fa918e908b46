"""Errors of actions that are known."""

import numpy as np
import pytest

from vnl_mjx.evaluation.action_errors import action_errors

NAMES = ("hip", "knee", "still")
GROUPS = {"leg": [0, 1], "tail": [2], "none": []}


def given(seed: int = 0):
    """Teacher and student [time, episode, 3]; the third actuator of the teacher never moves."""
    rng = np.random.default_rng(seed)
    teacher = rng.uniform(-1, 1, (50, 4, 3))
    teacher[..., 2] = 0.25
    student = teacher.copy()
    student[..., 0] += 0.1  # a constant error
    student[..., 1] = 0.5 * teacher[..., 1]
    return student, teacher


def test_known_errors_by_actuator_and_group():
    student, teacher = given()
    found = action_errors(student, teacher, np.ones((50, 4), bool), NAMES, GROUPS)
    hip, knee, still = (found["per_actuator"][name] for name in NAMES)
    variance = teacher.reshape(-1, 3).var(axis=0)
    assert hip["mse"] == pytest.approx(0.01) and hip["mae"] == pytest.approx(0.1)
    assert hip["r2"] == pytest.approx(1.0 - 0.01 / variance[0])
    squared = np.square(teacher[..., 1]).mean()
    assert knee["mse"] == pytest.approx(0.25 * squared)
    assert knee["r2"] == pytest.approx(1.0 - 0.25 * squared / variance[1])
    assert still == {"mse": 0.0, "mae": 0.0, "r2": None}
    assert found["mse"] == pytest.approx((0.01 + 0.25 * squared) / 3)
    assert found["r2"] == pytest.approx(1.0 - 3 * found["mse"] / variance.sum())
    leg = found["per_group"]["leg"]
    assert leg["mse"] == pytest.approx((0.01 + 0.25 * squared) / 2)
    assert leg["r2"] == pytest.approx(1.0 - 2 * leg["mse"] / (variance[0] + variance[1]))
    assert found["per_group"]["tail"]["r2"] is None
    assert found["per_group"]["none"] == {"mse": None, "mae": None, "r2": None}


def test_only_states_of_the_mask_count():
    student, teacher = given()
    mask = np.zeros((50, 4), bool)
    mask[:20, 1:3] = True
    wild = student.copy()
    wild[~mask] = np.nan
    expected = action_errors(
        student[:20, 1:3], teacher[:20, 1:3], np.ones((20, 2), bool), NAMES, GROUPS
    )
    assert action_errors(wild, teacher, mask, NAMES, GROUPS) == expected


def test_the_mean_action_explains_nothing_and_the_same_action_everything():
    _, teacher = given()
    mask = np.ones((50, 4), bool)
    mean = np.broadcast_to(teacher.mean(axis=(0, 1)), teacher.shape)
    found = action_errors(mean, teacher, mask, NAMES, {})
    assert found["r2"] == pytest.approx(0.0, abs=1e-9)
    same = action_errors(teacher, teacher, mask, NAMES, {})
    assert (same["mse"], same["mae"], same["r2"]) == (0.0, 0.0, 1.0)


def test_no_state_has_no_error():
    student, teacher = given()
    found = action_errors(student, teacher, np.zeros((50, 4), bool), NAMES, GROUPS)
    assert found["mse"] is None and found["per_actuator"]["hip"]["r2"] is None


def test_float32_of_a_device_is_taken():
    student, teacher = (a.astype(np.float32) for a in given())
    found = action_errors(student, teacher, np.ones((50, 4), bool), NAMES, GROUPS)
    assert found["per_actuator"]["hip"]["mae"] == pytest.approx(0.1, rel=1e-5)
    assert isinstance(found["mse"], float)


def test_names_are_those_of_the_actuators():
    student, teacher = given()
    with pytest.raises(ValueError, match="one per actuator name"):
        action_errors(student, teacher, np.ones((50, 4), bool), NAMES[:2], {})
