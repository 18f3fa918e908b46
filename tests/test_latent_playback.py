"""Latents between two clips and along dimensions, decoded by a student of the toy walker."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_rollouts import made_rollout, upright
from toy_run import toy_task
from toy_student import untrained_student

from vnl_mjx.evaluation.latent.playback import (
    contrasting_episodes,
    interpolate,
    interpolated,
    most_active,
    motion_metrics,
    posterior_means,
    repeated_start,
    traverse,
)
from vnl_mjx.evaluation.motion_statistics import MotionReader
from vnl_mjx.evaluation.prior_rollouts import PriorEvaluator
from vnl_mjx.evaluation.rollout import EpisodeRunner, Rollout
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.vae_distillation import StudentPolicy
from vnl_mjx.walkers.layout import Layout


@pytest.fixture(scope="module")
def task(toy_config, toy_walker) -> ImitationTask:
    config = toy_task(toy_config)
    termination = replace(config.termination, max_pos_error=10.0, healthy_z_range=(-1.0, 9.0))
    config = replace(config, termination=termination)
    return ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))


@pytest.fixture(scope="module")
def toy(task):
    return untrained_student(task)


@pytest.fixture(scope="module")
def rollout(task, toy, toy_clips) -> Rollout:
    """Both clips followed by the student, once each."""
    player = EpisodeRunner(task)
    actor = StudentPolicy(toy.params, toy.teacher, jnp.bool_(False), toy.student)
    return player.run(actor, toy_clips, player.draw(toy_clips, 2, 0), 1, num_steps=12)


@pytest.fixture(scope="module")
def prior(task, toy, toy_clips) -> PriorEvaluator:
    return PriorEvaluator(task, toy, toy_clips)


def test_weights_mix_two_sequences_as_long_as_the_shorter():
    first, second = np.zeros((5, 2)), np.ones((3, 2))
    found = interpolated(first, second, (0.0, 0.25, 1.0))
    assert found.shape == (3, 3, 2)
    np.testing.assert_allclose(found[:, :, 0], np.tile([0.0, 0.25, 1.0], (3, 1)))


def test_weight_zero_repeats_what_the_first_episode_did(prior, rollout, toy_walker):
    played = interpolate(prior, rollout, 0, 1, (0.0, 0.5, 1.0))
    assert played.rollout.num_episodes == 3
    np.testing.assert_array_equal(played.rollout.start_qpos, np.tile(rollout.start_qpos[0], (3, 1)))
    both = rollout.valid[:, 0] & rollout.valid[:, 1]
    np.testing.assert_allclose(
        played.rollout.steps.qpos[both, 0], rollout.steps.qpos[both, 0], atol=1e-4
    )
    latents = played.rollout.steps.extra.latent
    np.testing.assert_allclose(
        latents[both, 2], posterior_means(rollout, 1)[: both.sum()], atol=1e-6
    )
    np.testing.assert_allclose(latents[:, 1], 0.5 * (latents[:, 0] + latents[:, 2]), atol=1e-6)
    figures = played.metrics(MotionReader(toy_walker))
    assert (figures["first"], figures["second"]) == ("sway_0", "sway_1")
    assert figures["weights"] == [0.0, 0.5, 1.0]
    assert json.loads(json.dumps(figures)) == figures


def test_a_traversal_moves_one_dimension_by_so_many_deviations(prior, rollout, toy_walker):
    std = np.array([0.1, 0.2, 0.3])
    played = traverse(prior, rollout.episodes, 1, [2, 0], std, 10, sigmas=(-2.0, 0.0, 2.0))
    assert played.inputs["dimension"] == [2, 2, 2, 0, 0, 0]
    assert played.inputs["sigma"] == [-2.0, 0.0, 2.0] * 2
    seen = played.rollout.steps.extra
    moved = (seen.latent - seen.prior.mean)[0]
    expected = np.zeros((6, 3))
    expected[[0, 2], 2], expected[[3, 5], 0] = [-0.6, 0.6], [-0.2, 0.2]
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    np.testing.assert_array_equal(played.rollout.start_qpos[0], played.rollout.start_qpos[-1])
    np.testing.assert_allclose(played.rollout.steps.qpos[:, 1], played.rollout.steps.qpos[:, 4])
    assert (
        np.abs(played.rollout.steps.action[:, 0] - played.rollout.steps.action[:, 2]).max() > 1e-3
    )
    figures = played.metrics(MotionReader(toy_walker))
    assert figures["dimension"] == [2, 2, 2, 0, 0, 0]
    assert json.loads(json.dumps(figures)) == figures


def test_figures_of_a_motion_are_those_of_its_episode(toy_walker):
    """One body runs at 0.3 m/s, the other stands; the second falls after 0.2 s."""
    num_joints = toy_walker.model.nq - 7
    positions = np.zeros((31, 2, 3))
    positions[:, 0, 0] = 0.3 * np.arange(31) / 50.0
    positions[..., 2] = [0.10, 0.05]
    lengths = np.array([30, 10])
    rollout = made_rollout(upright(positions, num_joints), lengths, np.zeros((30, 2, 2)))
    rollout.steps.terminated[9, 1] = True
    figures = motion_metrics(rollout, MotionReader(toy_walker))
    assert figures["seconds"] == pytest.approx([0.6, 0.2])
    assert figures["fell"] == [False, True]
    assert figures["speed"] == pytest.approx([0.3, 0.0])
    assert figures["turning_rate"] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert figures["torso_height"][0] - figures["torso_height"][1] == pytest.approx(0.05)


def test_episodes_that_contrast_are_the_slowest_and_the_fastest_that_survive():
    speeds = np.array([0.3, 0.1, 0.9, 0.5])
    positions = np.zeros((31, 4, 3))
    positions[..., 0] = np.arange(31)[:, None] / 50.0 * speeds
    rollout = made_rollout(upright(positions), np.full(4, 30), np.zeros((30, 4, 2)))
    assert contrasting_episodes(rollout, Layout(2)) == (1, 2)
    rollout.steps.truncated[:, 2] = False  # the fastest fails
    assert contrasting_episodes(rollout, Layout(2)) == (1, 3)
    rollout.steps.truncated[:] = False
    assert contrasting_episodes(rollout, Layout(2)) == (1, 2)


def test_repeated_starts_are_alike(rollout):
    found = repeated_start(rollout.episodes, 1, 3)
    assert found.clip.tolist() == [1, 1, 1]
    assert found.key.shape == (3, 2)
    assert jax.tree.leaves(found)[1].tolist() == [int(rollout.episodes.start_frame[1])] * 3


def test_most_active_dimensions_come_first():
    assert most_active([0.1, 3.0, 0.0, 0.5], 2) == [1, 3]
