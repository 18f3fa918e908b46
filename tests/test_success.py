"""Success by distances that are given."""

import numpy as np
import pytest

from vnl_mjx.clips.body_size import body_length
from vnl_mjx.evaluation.per_episode import (
    episode_max,
    episode_mean,
    episode_median,
    ratio,
)
from vnl_mjx.evaluation.success import success_metrics

ERRORS = ("root_error_mm", "mpjpe_global_mm", "joint_distance_rad", "root_angle_deg")


def errors(num_steps: int = 4, num_episodes: int = 3, **given) -> dict[str, np.ndarray]:
    zero = np.zeros((num_steps, num_episodes))
    return {name: zero.copy() for name in ERRORS} | given


def test_bodies_have_a_length(rodent, toy_walker):
    # 0.9 of the rodent of dm_control, from the skull's joint to the first vertebra of the tail
    assert body_length(rodent) == pytest.approx(0.1325, abs=1e-3)
    # from the front hip to the back foot, 6 cm behind and 2.4 cm below
    assert body_length(toy_walker) == pytest.approx(np.hypot(0.06, 0.024), abs=1e-6)


def test_one_step_above_a_threshold_fails_it():
    root = np.zeros((4, 3))
    root[2] = [9.9, 10.1, 60.0]
    found = success_metrics(np.ones(3, bool), errors(root_error_mm=root), 0.1)
    assert found["success_root_10mm"].tolist() == [1.0, 0.0, 0.0]
    assert found["success_root_50mm"].tolist() == [1.0, 1.0, 0.0]
    assert found["success_root_100mm"].tolist() == [1.0, 1.0, 1.0]
    # of a body of 10 cm
    assert found["success_root_10_percent"].tolist() == [1.0, 0.0, 0.0]
    assert found["success_root_50_percent"].tolist() == [1.0, 1.0, 0.0]
    assert found["success_bodies_10mm"].tolist() == [1.0] * 3
    longer = success_metrics(np.ones(3, bool), errors(root_error_mm=root), 0.2)
    assert longer["success_root_10_percent"].tolist() == [1.0, 1.0, 0.0]


def test_bodies_joints_and_rotation_have_their_own():
    joints, angle, bodies = (np.zeros((4, 3)) for _ in range(3))
    joints[1, 0], angle[3, 1], bodies[0, 2] = 4.6, 61.0, 21.0
    given = errors(joint_distance_rad=joints, root_angle_deg=angle, mpjpe_global_mm=bodies)
    found = success_metrics(np.ones(3, bool), given, 0.1)
    assert found["success_joints"].tolist() == [0.0, 1.0, 1.0]
    assert found["success_rotation"].tolist() == [1.0, 0.0, 1.0]
    assert found["success"].tolist() == [0.0, 0.0, 1.0]
    assert found["success_bodies_20mm"].tolist() == [1.0, 1.0, 0.0]
    assert found["success_bodies_50mm"].tolist() == [1.0] * 3


def test_who_fails_before_the_end_succeeds_at_nothing():
    root = np.zeros((4, 3))
    root[2:, 0] = np.nan  # was not there
    root[:, 1] = np.nan  # diverged in its first step
    found = success_metrics(np.array([False, False, True]), errors(root_error_mm=root), 0.1)
    for name, value in found.items():
        assert value.tolist() == [0.0, 0.0, 1.0], name


def test_figures_of_an_episode_leave_out_what_is_nan():
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [4.0, np.nan]])
    np.testing.assert_allclose(episode_mean(values), [2.5, np.nan])
    np.testing.assert_allclose(episode_max(values), [4.0, np.nan])
    np.testing.assert_allclose(episode_median(values), [2.5, np.nan])
    where = np.array([[True, True], [True, True], [False, True]])
    np.testing.assert_allclose(episode_mean(values, where), [1.0, np.nan])
    np.testing.assert_allclose(
        ratio(np.array([1.0, 1.0, 2.0]), np.array([0.0, -1.0, 4.0])), [np.nan, np.nan, 0.5]
    )
