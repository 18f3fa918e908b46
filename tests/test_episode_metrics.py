"""All figures of an episode together."""

import numpy as np
import pytest
from dm_control_tasks import walking_about
from rollouts_on_clips import made_rollout

from vnl_mjx.config.rewards import RewardConfig
from vnl_mjx.evaluation import episode_metrics as module
from vnl_mjx.evaluation.episode_metrics import episode_metrics, reward_ratio_by_clip
from vnl_mjx.evaluation.metrics import EPISODE_GROUPS, METRICS, metric

STEPS = 30
ONLY_POSITION = RewardConfig(
    pos_weight=2.0, quat_weight=0.0, joint_weight=0.0, endeff_weight=0.0, ctrl_cost_weight=0.0
)


@pytest.fixture(scope="module")
def clips(toy_walker):
    return walking_about(toy_walker, [40, 36])


def off(millimetres: float):
    def move(qpos: np.ndarray) -> np.ndarray:
        return qpos + 1e-3 * millimetres * (np.arange(qpos.shape[-1]) == 1)

    return move


def test_every_figure_is_named_and_none_is_missing(toy_walker, clips):
    found = episode_metrics(made_rollout(clips, STEPS), clips, toy_walker, ONLY_POSITION)
    expected = {name for name, known in METRICS.items() if known.group in EPISODE_GROUPS}
    assert set(found) == expected | {"term_pos_reward"}
    for name, values in found.items():
        assert values.shape == (1,) and values.dtype == np.float64, name
    assert "pos_reward" in metric("term_pos_reward").label
    with pytest.raises(KeyError):
        metric("no_such_figure")


def test_a_perfect_episode(toy_walker, clips):
    rollout = made_rollout(clips, STEPS, reward=np.full((STEPS, 1), 2.0))
    rollout = rollout.replace(
        steps=rollout.steps.replace(terms={"pos_reward": np.full((STEPS, 1), 2.0)})
    )
    found = {k: v[0] for k, v in episode_metrics(rollout, clips, toy_walker, ONLY_POSITION).items()}
    assert found["episode_reward"] == pytest.approx(2.0 * STEPS)
    assert found["reward_fraction"] == found["completed_fraction"] == pytest.approx(1.0)
    assert found["survival"] == found["success"] == found["success_bodies_5_percent"] == 1.0
    assert found["episode_seconds"] == pytest.approx(STEPS / 50.0)
    assert found["speed_ratio"] == pytest.approx(1.0, rel=1e-4)
    assert found["contact_agreement"] == 1.0
    assert found["mpjpe_global_mm_successes"] == pytest.approx(0.0, abs=1e-3)


def test_nothing_counts_after_the_first_end(toy_walker, clips):
    """Two episodes: one fails after ten steps, then everything would be wild."""
    reward = np.ones((STEPS, 2))
    reward[10:, 0] = 1000.0
    rollout = made_rollout(
        clips, STEPS, (0, 1), (0, 2), move=off(12.0), lived=(10, STEPS), reward=reward
    )
    steps = rollout.steps
    steps.qpos[10:, 0] += 5.0
    steps.action[10:, 0], steps.power[10:, 0] = 50.0, 1e6
    ended = steps.replace(
        terminated=steps.terminated & [True, False], truncated=steps.terminated & [False, True]
    )
    found = episode_metrics(rollout.replace(steps=ended), clips, toy_walker, ONLY_POSITION)
    np.testing.assert_allclose(found["episode_reward"], [10.0, STEPS])
    np.testing.assert_allclose(found["reward_per_step"], 1.0)
    np.testing.assert_allclose(found["reward_fraction"], 0.5)
    np.testing.assert_allclose(found["completed_fraction"], [0.5 * 10 / STEPS, 0.5])
    np.testing.assert_allclose(found["survival"], [0.0, 1.0])
    np.testing.assert_allclose(found["episode_seconds"], [0.2, STEPS / 50.0])
    for name in ("root_error_mm", "root_error_max_mm", "mpjpe_global_mm", "mpjpe_global_max_mm"):
        np.testing.assert_allclose(found[name], 12.0, rtol=1e-3, err_msg=name)
    np.testing.assert_allclose(found["success_root_20mm"], [0.0, 1.0])
    np.testing.assert_allclose(found["mpjpe_global_mm_successes"], [np.nan, 12.0], rtol=1e-3)
    np.testing.assert_allclose(found["action_change"], 0.0)
    np.testing.assert_allclose(found["power_w"], 0.0)


def test_who_diverges_at_once_is_measured_without_a_warning(toy_walker, clips):
    diverged = np.zeros((STEPS, 1), bool)
    diverged[0] = True
    rollout = made_rollout(clips, STEPS, lived=(1,), diverged=diverged)
    rollout.steps.qpos[:] = 0.0
    found = episode_metrics(rollout, clips, toy_walker, ONLY_POSITION)
    assert found["diverged"][0] == 1.0 and found["survival"][0] == found["success"][0] == 0.0
    for name in ("root_error_mm", "mpjpe_procrustes_mm", "normalized_jerk", "contact_f1"):
        assert np.isnan(found[name][0]), name


def test_blocks_change_nothing(toy_walker, clips, monkeypatch):
    told = {"clip": (0, 1, 0, 1), "start_frame": (0, 0, 5, 3), "move": off(3.0)}
    rollout = made_rollout(clips, STEPS, **told)
    whole = episode_metrics(rollout, clips, toy_walker, ONLY_POSITION)
    monkeypatch.setattr(module, "BLOCK_EPISODES", 3)
    parts = episode_metrics(rollout, clips, toy_walker, ONLY_POSITION)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-12, err_msg=name)


def test_reward_ratios_are_those_of_the_clips():
    clip = np.array([0, 1, 0, 1, 2])
    student, teacher = np.array([1.0, 4.0, 2.0, 4.0, 5.0]), np.array([2.0, 4.0, 2.0, 6.0, -1.0])
    assert reward_ratio_by_clip(student, teacher, clip) == {0: 0.75, 1: 0.8, 2: None}
    assert reward_ratio_by_clip(np.array([np.nan]), np.array([1.0]), np.array([7])) == {7: None}
    assert reward_ratio_by_clip(np.array([1.0]), np.array([0.0]), np.array([0])) == {0: None}


def test_a_reward_without_imitation_has_no_share(toy_walker, clips):
    nothing = RewardConfig(pos_weight=0, quat_weight=0, joint_weight=0, endeff_weight=0)
    found = episode_metrics(made_rollout(clips, STEPS), clips, toy_walker, nothing)
    assert np.isnan(found["reward_fraction"]).all() and np.isnan(found["completed_fraction"]).all()
    assert found["episode_reward"][0] == pytest.approx(STEPS)
