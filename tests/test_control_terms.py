"""Terms that read the pose one control step ago, in a task that runs."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx.clips.columns import difference_qvel
from vnl_mjx.config.imitation import REFERENCE_DM_CONTROL, ImitationConfig
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.imitation import ImitationTask

OWN = ("joint_angles", "velocimeter_control", "gyro_control", "joints_vel_control")


@pytest.fixture(scope="module")
def task(toy_walker, toy_config):
    config = ImitationConfig(walker=toy_config, reference=REFERENCE_DM_CONTROL, proprioception=OWN)
    config = replace(config, traj_length=2)
    return ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))


def test_differences_are_those_of_the_last_control_step(task, toy_clips, toy_walker):
    def start(key):
        return task.reset(key, toy_clips)

    state = jax.jit(jax.vmap(start))(jax.random.split(jax.random.key_data(jax.random.key(0)), 3))
    slices = task.layout.slices()

    def part(observation, name):
        first, last = slices[name]
        return np.asarray(observation.flat())[:, first:last]

    observe = jax.jit(jax.vmap(lambda s: task.observe(s, toy_clips)))
    for name in OWN[1:]:  # after a reset nothing has moved yet
        np.testing.assert_allclose(part(observe(state), name), 0.0, atol=1e-6)
    step = jax.jit(jax.vmap(lambda s, a: task.step(s, a, toy_clips)[0]))
    before = np.asarray(state.physics.qpos, np.float64)
    state = step(state, jnp.full((3, task.action_size), 0.3))
    after = np.asarray(state.physics.qpos, np.float64)
    seconds = np.full(3, task.config.physics.control_timestep)
    moved = difference_qvel(before, after, toy_walker.layout, seconds)
    assert np.abs(moved[:, 6:]).max() > 0.1
    found = observe(state)
    np.testing.assert_allclose(part(found, "gyro_control"), moved[:, 3:6], atol=2e-3)
    tracked = moved[:, 6:][:, toy_walker.tracked_joints]
    np.testing.assert_allclose(part(found, "joints_vel_control"), tracked, atol=2e-3)
