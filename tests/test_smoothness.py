"""Smoothness of motions whose jerk is known."""

import numpy as np
import pytest
from rollouts_on_clips import made_rollout
from video_helpers import walking

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.smoothness import (
    action_changes,
    normalized_jerk,
    path_length,
    path_lengths,
    smoothness_metrics,
)
from vnl_mjx.evaluation.tracking import reference_motion, simulated_motion


def along_x(x: np.ndarray) -> np.ndarray:
    """One body of one episode, [state, 1, 1, 3]."""
    return np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=-1)[:, None, None]


def jerk_of(x: np.ndarray, rate_hz: float = 50.0) -> float:
    return normalized_jerk(along_x(x), np.ones((len(x), 1), bool), rate_hz)[0]


def test_a_cubic_from_rest_has_jerk_36():
    # D^5 / L^2 * integral of 6^2 over D, L = D^3
    seconds = np.arange(21) / 50.0
    assert jerk_of(seconds**3) == pytest.approx(36.0, rel=1e-6)
    assert jerk_of(5.0 * seconds**3) == pytest.approx(36.0, rel=1e-6)  # no dimension
    fine = np.arange(81) / 200.0
    assert jerk_of(fine**3, 200.0) == pytest.approx(36.0, rel=1e-6)


def test_a_reach_of_least_jerk_has_720():
    u = np.linspace(0, 1, 401)
    reach = 0.1 * (10 * u**3 - 15 * u**4 + 6 * u**5)
    # Flash and Hogan 1985: the integral is 720 A^2 / D^5
    assert jerk_of(reach, 1000.0) == pytest.approx(720.0, rel=0.02)


def test_even_speed_has_no_jerk_and_what_is_still_or_short_is_not_measured():
    seconds = np.arange(60) / 50.0
    assert jerk_of(0.2 * seconds) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(jerk_of(0.01 * seconds))
    assert np.isnan(jerk_of(seconds[:20] ** 3))
    assert np.isnan(jerk_of(seconds[:2]))


def test_the_median_is_over_windows_and_bodies_of_each_episode():
    seconds = np.arange(21) / 50.0
    cubic, even = along_x(seconds**3), along_x(0.2 * seconds)
    bodies = np.concatenate([cubic, cubic, even], axis=2)
    other = np.concatenate([cubic, even, even], axis=2)
    both = np.concatenate([bodies, other], axis=1)
    found = normalized_jerk(both, np.ones((21, 2), bool), 50.0)
    np.testing.assert_allclose(found, [36.0, 0.0], atol=1e-6)


def test_states_after_the_end_enter_no_window():
    seconds = np.arange(60) / 50.0
    x = 0.2 * seconds
    x[40:] += np.random.default_rng(0).normal(size=20)
    present = np.arange(60)[:, None] < 40
    assert normalized_jerk(along_x(x), present, 50.0)[0] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(normalized_jerk(along_x(x), present & (np.arange(60) < 20)[:, None], 50.0)[0])


def test_changes_of_a_ramp_and_of_a_tremor():
    ramp = 0.1 * np.arange(6)
    tremor = (-1.0) ** np.arange(6)
    action = np.stack([ramp, tremor], axis=1)[..., None] * np.ones(3)
    valid = np.ones((6, 2), bool)
    found = action_changes(action, valid)
    np.testing.assert_allclose(found["action_change"], [0.1, 2.0])
    np.testing.assert_allclose(found["action_second_difference"], [0.0, 4.0], atol=1e-12)
    action[4:] = 100.0
    shorter = action_changes(action, valid & (np.arange(6) < 4)[:, None])
    np.testing.assert_allclose(shorter["action_change"], [0.1, 2.0])
    once = action_changes(action, valid & (np.arange(6) < 1)[:, None])
    assert np.isnan(once["action_change"]).all()


def test_power_and_energy_of_the_way(toy_walker):
    poses = np.concatenate([walking(toy_walker, 52, 0.2), walking(toy_walker, 52, 0.0)])
    clips = clips_from_poses(toy_walker, poses, [52, 52], 50.0)
    rollout = made_rollout(clips, 50, (0, 1), (0, 0), power=np.full((50, 2), 2.0))
    computer = FeatureComputer(toy_walker, num_threads=1)
    simulated = simulated_motion(rollout, computer)
    reference = reference_motion(rollout, clips, toy_walker)
    found = smoothness_metrics(rollout, clips, simulated, reference, path_lengths(rollout, clips))
    np.testing.assert_allclose(found["power_w"], 2.0)
    np.testing.assert_allclose(found["energy_per_metre"], [10.0, np.nan], rtol=1e-5)
    assert found["normalized_jerk"][0] == pytest.approx(
        found["reference_normalized_jerk"][0], abs=1e-9
    )
    assert np.isnan(found["normalized_jerk"][1])


def test_simulation_and_reference_are_sampled_alike(toy_walker):
    """A body that bobs, followed at 100 Hz; the clip has 50."""

    def bobbing(rate_hz: float, count: int) -> np.ndarray:
        qpos = np.tile(toy_walker.model.qpos0, (count, 1))
        qpos[:, 0] = 0.2 * np.arange(count) / rate_hz
        qpos[:, 2] = 0.02 * np.sin(2 * np.pi * 2.0 * np.arange(count) / rate_hz)
        return qpos

    clips = clips_from_poses(toy_walker, bobbing(50.0, 60), [60], 50.0)
    fine = clips_from_poses(toy_walker, bobbing(100.0, 120), [120], 50.0)
    rollout = made_rollout(fine, 100)
    steps = rollout.steps.replace(frame=rollout.steps.frame // 2)
    rollout = rollout.replace(steps=steps, control_hz=100.0)
    found = smoothness_metrics(
        rollout,
        clips,
        simulated_motion(rollout, FeatureComputer(toy_walker, num_threads=1)),
        reference_motion(rollout, clips, toy_walker),
        path_lengths(rollout, clips),
    )
    assert found["normalized_jerk"][0] > 1.0
    np.testing.assert_allclose(
        found["normalized_jerk"], found["reference_normalized_jerk"], rtol=1e-3
    )


def test_a_way_leaves_out_the_sway():
    seconds = np.arange(101) / 50.0
    straight = np.stack([0.1 * seconds, 0.0 * seconds], axis=1)
    swaying = straight + 0.01 * np.sin(2 * np.pi * 4.0 * seconds)[:, None]
    assert path_length(straight, 50.0) == pytest.approx(0.2)
    assert np.linalg.norm(np.diff(swaying, axis=0), axis=1).sum() > 0.4
    assert path_length(swaying, 50.0) == pytest.approx(0.2, rel=0.25)
