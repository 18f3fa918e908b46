"""Whole tasks of other generations, run on the rodent."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dm_control_tasks import walking_about
from observation_helpers import functions_of

from vnl_mjx.compat.track_mjx_config import translate
from vnl_mjx.compat.track_mjx_writer import track_mjx_config
from vnl_mjx.config.task_presets import COMIC_TASK, VNL_PLAYGROUND_TASK
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.terms.rewards import imitation_reward_maximum, imitation_terms
from vnl_mjx.walkers.walker import build_walker

NUM_STEPS = 5


def run(config, actions, seed: int = 0):
    """The task, the last state, and outcomes and observations [step, ...] under `actions`."""
    walker = build_walker(config.walker)
    task = ImitationTask(config, walker, make_physics(walker.model, config.physics, "mujoco", 1))
    clips = walking_about(walker, [20])
    task.check_clips(clips)

    @jax.jit
    def roll(key, actions, clips):
        state = task.reset_to(key, clips, jnp.int32(0), jnp.int32(2), key)

        def step(state, action):
            moved, outcome = task.step(state, action, clips)
            return moved, (outcome, task.observe(moved, clips), task.frame(moved))

        return jax.lax.scan(step, state, actions)

    state, seen = roll(jax.random.key(seed), actions, clips)
    return task, state, seen


@pytest.fixture(scope="module")
def playground():
    actions = 0.1 * jax.random.normal(jax.random.key(1), (NUM_STEPS, 38))
    return actions, *run(VNL_PLAYGROUND_TASK, actions)


def test_vnl_playground_has_its_layout_and_runs_at_100_hz(playground):
    _, task, state, (outcome, observed, frame) = playground
    # TRACK_MJX.md section 6
    assert (task.layout.reference_size, task.layout.proprioception_size) == (640, 264)
    assert [size for _, size in task.layout.proprioception] == [67, 67, 73, 1, 3, 15, 38]
    assert task.config.physics.control_timestep == pytest.approx(0.01)
    assert task.max_episode_steps == 400
    assert float(state.physics.time) == pytest.approx(0.01 * NUM_STEPS, abs=1e-6)
    assert np.all(np.diff(frame) <= 1) and int(frame[-1]) - 2 in (1, 2)  # 50 ms at 50 Hz
    assert np.isfinite(observed.flat()).all() and np.isfinite(outcome.reward).all()
    assert not outcome.failures["nan"].any()
    earned = sum(float(outcome.terms[name][0]) for name in imitation_terms(task.config.reward))
    assert 0.3 < earned <= imitation_reward_maximum(task.config.reward) == 6.0
    np.testing.assert_allclose(outcome.terms["torso_z_range"], 1.0)


def test_vnl_playground_sees_and_pays_for_its_controls(playground):
    actions, task, state, (outcome, observed, _) = playground
    start, stop = task.layout.slices()["previous_action"]
    seen = np.asarray(observed.flat())[:, start:stop]
    # upstream's `prev_action` is the control before the last one
    np.testing.assert_array_equal(seen, np.concatenate([np.zeros((1, 38)), actions[:-1]]))
    np.testing.assert_array_equal(state.action_window, actions[-2:])
    changes = np.diff(np.asarray(actions), axis=0, prepend=0)
    np.testing.assert_allclose(
        outcome.terms["control_diff_cost"], -0.02 * np.square(changes).sum(1), rtol=1e-5
    )


def test_vnl_playground_starts_on_the_reference_at_rest():
    config = VNL_PLAYGROUND_TASK
    task, _, _ = run(config, jnp.zeros((1, 38)))
    clips = walking_about(task.walker, [20])
    state = task.reset_to(jax.random.key(0), clips, jnp.int32(0), jnp.int32(2), jax.random.key(0))
    np.testing.assert_array_equal(state.physics.qpos, clips.at(0, 2).qpos())
    np.testing.assert_array_equal(state.physics.qvel, 0.0)


def test_comic_runs_on_position_actuators():
    task, _, (outcome, observed, _) = run(COMIC_TASK, jnp.zeros((3, 38)))
    assert np.isfinite(observed.flat()).all()
    assert set(outcome.terms) == set(imitation_terms(task.config.reward))
    assert 0.0 < float(outcome.reward[0]) <= imitation_reward_maximum(task.config.reward) == 1.45
    assert not outcome.terminated.any()


@pytest.mark.parametrize("task", [VNL_PLAYGROUND_TASK, COMIC_TASK])
def test_a_teachers_checkpoint_keeps_the_family(task):
    network = IntentionConfig(
        reference_size=640,
        proprioception_size=264,
        action_size=38,
        latent_dim=16,
        encoder_hidden_sizes=(8,),
        decoder_hidden_sizes=(8,),
    )
    document = track_mjx_config(task, network)
    assert translate(document, "checkpoint").task == task


@pytest.mark.slow
def test_the_last_control_can_be_seen(toy_walker, toy_clips):
    proprioception = ("last_action", "previous_action")
    config = replace(VNL_PLAYGROUND_TASK, walker=toy_walker.config, proprioception=proprioception)
    task = ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))
    state = task.reset(jax.random.key(0), toy_clips)
    np.testing.assert_array_equal(task.observe(state, toy_clips)["proprioception"], np.zeros(8))
    for value in (0.1, 0.2):
        state, _ = task.step(state, jnp.full(4, value), toy_clips)
    expected = np.repeat(np.float32([0.2, 0.1]), 4)
    np.testing.assert_array_equal(task.observe(state, toy_clips)["proprioception"], expected)
    with pytest.raises(ValueError, match="last 2 controls"):
        functions = functions_of(toy_walker, proprioception=proprioception)
        functions.observe(state.physics, toy_clips, state.clip, task.frame(state))
