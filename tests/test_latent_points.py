"""Visited states: which step, which clip, how fast."""

import numpy as np
import pytest
from made_rollouts import made_rollout, upright

from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.evaluation.latent.points import clip_groups, latent_points, speed_before_steps
from vnl_mjx.walkers.layout import Layout

LENGTHS = np.array([30, 20])


@pytest.fixture
def running():
    """The first episode runs at 0.2 m/s, the second at 0.5 m/s until it ends and then jumps away."""
    seconds = np.arange(31)[:, None] / 50.0
    positions = np.zeros((31, 2, 3))
    positions[..., 0] = seconds * [0.2, 0.5]
    positions[..., 2] = 0.05
    positions[21:, 1] = 99.0
    latent = np.random.default_rng(0).normal(size=(30, 2, 3))
    qpos = upright(positions)
    qpos[..., 7] = np.arange(31)[:, None] + [0.0, 100.0]
    return made_rollout(qpos, LENGTHS, latent)


def test_speed_is_that_of_the_state_that_a_step_began_in(running):
    speed = speed_before_steps(running, Layout(2))
    np.testing.assert_allclose(speed[:, 0], 0.2)
    np.testing.assert_allclose(speed[:20, 1], 0.5)  # nothing of what comes after the end


def test_speed_is_smoothed_over_a_tenth_of_a_second():
    positions = np.zeros((41, 1, 3))
    positions[20:, 0, 1] = 0.01  # a step to the side between rows 19 and 20, 0.5 m/s
    rollout = made_rollout(upright(positions), np.array([40]), np.zeros((40, 1, 2)))
    speed = speed_before_steps(rollout, Layout(2))[:, 0]
    assert speed.max() == pytest.approx(0.01 / (4 / 50.0))
    assert np.flatnonzero(speed).tolist() == [18, 19, 20, 21]


def test_points_are_the_valid_steps_episode_after_episode(running, toy_clips):
    points = latent_points(running, toy_clips)
    assert points.episode.tolist() == [0] * 30 + [1] * 20
    assert points.clip.tolist() == [0] * 30 + [1] * 20
    np.testing.assert_array_equal(
        points.posterior_mean[30:], running.steps.extra.posterior.mean[:20, 1]
    )
    np.testing.assert_array_equal(points.prior_mean, -points.posterior_mean)
    np.testing.assert_allclose(points.seconds[30:], np.arange(20) / 50.0)
    # a latent goes with the body before its step
    np.testing.assert_allclose(points.body[30:33, -2], [100.0, 101.0, 102.0])
    np.testing.assert_allclose(points.body[30:33, 4], [-1.0, 0.0, 1.0])


def test_the_body_is_blind_to_place_and_heading(running, toy_clips):
    points = latent_points(running, toy_clips)
    half = 0.5 * 2.0  # turned by 2 rad about the vertical, and its velocity with it
    turn = np.array([np.cos(half), 0.0, 0.0, np.sin(half)])
    elsewhere = running.replace(
        start_qpos=np.concatenate([running.start_qpos[:, :2] + 3, running.start_qpos[:, 2:]], 1),
        start_qvel=running.start_qvel.copy(),
    )
    elsewhere.start_qpos[:, 3:7] = turn
    x, y = running.start_qvel[:, 0], running.start_qvel[:, 1]
    elsewhere.start_qvel[:, 0] = np.cos(2.0) * x - np.sin(2.0) * y
    elsewhere.start_qvel[:, 1] = np.sin(2.0) * x + np.cos(2.0) * y
    moved = latent_points(elsewhere, toy_clips)
    np.testing.assert_allclose(moved.body, points.body, atol=1e-5)


def test_thinned_points_are_evenly_spread(running, toy_clips):
    points = latent_points(running, toy_clips)
    few = points.thinned(8)
    assert len(few.clip) == len(few.speed) == len(few.body) == 8
    np.testing.assert_array_equal(few.posterior_mean[[0, -1]], points.posterior_mean[[0, -1]])
    assert len(points.thinned(1000).clip) == 50


def test_a_clip_goes_with_its_mirror_image(toy_clips):
    assert clip_groups(toy_clips) == [0, 1]
    info = ClipInfo(source="a.h5", start_s=2.0)
    mirrored = ClipInfo(source="a.h5", start_s=2.0, mirrored=True)
    first, second = clip_groups(toy_clips.replace(info=(info, mirrored)))
    assert first == second
    first, second = clip_groups(toy_clips.replace(info=(info, ClipInfo(source="a.h5"))))
    assert first != second
