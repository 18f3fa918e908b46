"""Imitation environments that start again, and which clips they start in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ppo_batches import quick_jit
from toy_run import toy_task

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.environment import StepOutcome
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironment, ImitationEnvironmentState
from vnl_mjx.walkers.walker import Walker

NUM_ENVS = 400


def toy_imitation(config: ImitationConfig, walker: Walker) -> ImitationTask:
    return ImitationTask(config, walker, make_physics(walker.model, config.physics, num_threads=1))


@pytest.fixture(scope="module")
def imitation(toy_config, toy_walker) -> ImitationTask:
    return toy_imitation(toy_task(toy_config), toy_walker)


@pytest.fixture(scope="module")
def clips(toy_walker):
    """Four clips of the walker standing."""
    qpos = np.tile(toy_walker.model.qpos0, (4 * 20, 1))
    return clips_from_poses(toy_walker, qpos, [20] * 4, 50.0)


@pytest.fixture(scope="module")
def started(imitation, clips) -> ImitationEnvironmentState:
    task = ImitationEnvironment(imitation)
    return quick_jit(task.reset, static_argnums=1)(jax.random.PRNGKey(0), NUM_ENVS, clips)


def outcome_of(terminated, truncated) -> StepOutcome:
    terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
    zeros = np.zeros(len(terminated), np.float32)
    failures = {"nan": np.zeros(len(terminated), bool)}
    ones = np.ones(len(terminated), np.int32)
    return StepOutcome(zeros, {}, {}, failures, terminated, truncated, zeros > 0, ones)


def state_with(started: ImitationEnvironmentState, clip, rate) -> ImitationEnvironmentState:
    """Environments in the clips `clip`, of which the failure rates are known."""
    num = len(clip)
    imitation = jax.tree.map(lambda x: x[:num], started.imitation)
    clip = np.asarray(clip, np.int32)
    return ImitationEnvironmentState(imitation.replace(clip=clip), jnp.float32(rate))


def test_weights_by_hand(imitation, started):
    """A quarter each uniformly, or in proportion to the failure rates 1/2, 1/4, 1/4 and 0 of four clips."""
    state = state_with(started, [0], [0.5, 0.25, 0.25, 0.0])
    weights = ImitationEnvironment(imitation, failure_weighting=0.8).clip_weights(state)
    uniform = 0.2 / 4
    expected = [0.4 + uniform, 0.2 + uniform, 0.2 + uniform, uniform]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    unweighted = ImitationEnvironment(imitation).clip_weights(state)
    np.testing.assert_allclose(unweighted, 0.25, rtol=1e-6)
    # Where nothing fails any more there is nothing to be in proportion to.
    perfect = state_with(started, [0], [0.0] * 4)
    weights = ImitationEnvironment(imitation, failure_weighting=1.0).clip_weights(perfect)
    np.testing.assert_allclose(weights, 0.25, rtol=1e-6)


def test_failures_are_noted_by_hand(imitation, clips, started):
    """Memory 1/2. Clip 0: one failure; 1: one success; 2: one of each, so 3/4 of 0.5; 3: none ended."""
    task = ImitationEnvironment(imitation, failure_memory=0.5)
    state = state_with(started, [0, 1, 2, 2, 3, 3], [0.4, 0.4, 0.0, 0.4])
    outcome = outcome_of([1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0])
    expected = [0.5 * 0.4 + 0.5, 0.5 * 0.4, 0.25 * 0.0 + 0.75 * 0.5, 0.4]
    after = quick_jit(task.reset_finished)(state, outcome, clips)
    np.testing.assert_allclose(after.failure_rate, expected, rtol=1e-6)


def test_clips_that_fail_more_are_drawn_more(imitation, clips, started):
    """Every environment ends; where they start again is the clips' weights, within 4 standard errors."""
    task = ImitationEnvironment(imitation, failure_weighting=0.8, failure_memory=0.5)
    clip = np.arange(NUM_ENVS) % 4
    state = state_with(started, clip, [1.0] * 4)
    failed = clip == 2
    reset_finished = quick_jit(task.reset_finished)
    after = reset_finished(state, outcome_of(failed, ~failed), clips)
    np.testing.assert_allclose(after.failure_rate, [0, 0, 1, 0], atol=1e-6)
    share = np.bincount(after.imitation.clip, minlength=4) / NUM_ENVS
    weights = np.array([0.05, 0.05, 0.85, 0.05])
    np.testing.assert_allclose(task.clip_weights(after), weights, atol=1e-6)
    error = np.sqrt(weights * (1 - weights) / NUM_ENVS)
    assert (np.abs(share - weights) < 4 * error).all()

    # Who has not ended stays as it was, bit for bit, key and all.
    none = reset_finished(state, outcome_of(0 * clip, 0 * clip), clips)
    jax.tree.map(np.testing.assert_array_equal, none, state)


def test_environments_start_apart_and_uniformly(started, clips):
    share = np.bincount(started.imitation.clip, minlength=4) / NUM_ENVS
    assert (np.abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / NUM_ENVS)).all()
    assert len(np.unique(started.imitation.key, axis=0)) == NUM_ENVS
    np.testing.assert_array_equal(started.failure_rate, 1.0)


def test_pushes_change_the_roots_velocity_now_and_then(imitation, clips, started):
    """At each control step a tenth of the environments, by up to the speed, along x and y alone."""
    interval = 10 * imitation.config.physics.control_timestep
    pushed = ImitationEnvironment(imitation, push_interval_s=interval, push_speed=0.5)
    still = np.zeros((NUM_ENVS, pushed.action_size), np.float32)

    def speeds(env: ImitationEnvironment) -> np.ndarray:
        moved, _ = quick_jit(env.step)(started, still, clips)
        return np.asarray(moved.imitation.physics.qvel)

    change = speeds(pushed) - speeds(ImitationEnvironment(imitation))
    hit = np.abs(change[:, :2]).max(axis=1) > 1e-3
    assert abs(hit.mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / NUM_ENVS)
    assert 0.3 < np.abs(change[:, :2]).max() <= 0.5
    np.testing.assert_array_equal(change[~hit], 0.0)


def test_a_batch_is_its_environments(imitation, clips, started):
    task = ImitationEnvironment(imitation)
    state = ImitationEnvironmentState(
        jax.tree.map(lambda x: x[:2], started.imitation), jnp.ones(clips.num_clips)
    )
    action = np.full((2, task.action_size), 0.2, np.float32)

    def run(state):
        moved, outcome = task.step(state, action, clips)
        return moved.imitation, outcome, task.observe(moved, clips).flat()

    def run_one(state):
        moved, outcome = imitation.step(state, action[1], clips)
        return moved, outcome, imitation.observe(moved, clips).flat()

    batch = quick_jit(run)(state)
    assert batch[2].shape == (2, sum(task.observation_sizes.values()))
    found = jax.tree.map(lambda x: x[1], batch)
    one = quick_jit(run_one)(jax.tree.map(lambda x: x[1], state.imitation))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, one)
