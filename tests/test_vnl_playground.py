"""Parity of vnl-playground's imitation task with numbers recorded from its own code."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import jit_as_user

from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.config.imitation import PROPRIOCEPTION_VNL_PLAYGROUND_SENSORS, PhysicsConfig
from vnl_mjx.config.task_presets import VNL_PLAYGROUND_TASK
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.walkers.walker import build_walker

pytestmark = pytest.mark.parity

ROUND_OFF = dict(rtol=1e-4, atol=1e-5)
PHYSICS = {"newton100": PhysicsConfig(num_substeps=5, solver="newton", sensors=True)}
PHYSICS["cg50"] = PhysicsConfig(num_substeps=10, solver="cg", sensors=True)
STEPS = ("gentle", "clip_end", "stress")
REWARDS = (
    "root_pos",
    "root_quat",
    "joints",
    "joints_vel",
    "bodies_pos",
    "end_eff",
    "torso_z_range",
    "control_cost",
    "control_diff_cost",
    "energy_cost",
)
FAILURES = {name: name for name in ("root_too_far", "root_too_rotated", "pose_error")}
FAILURES["nan"] = "nan_termination"


@pytest.fixture(scope="module", params=PHYSICS)
def environment(request, shared_data):
    config = replace(VNL_PLAYGROUND_TASK, physics=PHYSICS[request.param])
    walker = build_walker(replace(config.walker, touch_sensors=True))
    task = ImitationTask(config, walker, make_physics(walker.model, config.physics, "mujoco"))
    clips = read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", walker)

    def read(name):
        with np.load(shared_data / "env_2026" / f"{request.param}_{name}.npz") as file:
            return {key: file[key] for key in file.files}

    return task, clips, read


def state_of(record, prefix: str, task) -> ImitationState:
    """Recorded environments; their sensors in the order of our model's."""
    num = len(record["clip"])
    zeros = np.zeros((num, 38), np.float32)
    action, before = (record.get(name, zeros) for name in ("action", "prev_action"))
    array = {
        name: record[f"{prefix}{name}"]
        for name in ("qpos", "qvel", "act", "qacc_warmstart", "time", "xpos", "xmat")
    }
    physics = PhysicsState(
        **array,
        qfrc_actuator=record[f"{prefix}qfrc_actuator"],
        sensordata=record[f"{prefix}sensordata"],
        diverged=~np.isfinite(array["qpos"]).all(1),
        overflowed=np.zeros(num, bool),
    )
    state = ImitationState(
        physics=physics,
        clip=record["clip"],
        start_frame=record["start_frame"],
        num_steps=np.ones(num, np.int32),
        previous_action=action,
        action_window=np.stack([before, action], axis=1),
        key=np.zeros((num, 2), np.uint32),
    )
    return jax.tree.map(jnp.asarray, state)


def finite(record, prefix: str = "after_"):
    """The rows whose simulation did not diverge."""
    rows = np.isfinite(record[f"{prefix}qpos"]).all(1)
    return {name: value[rows] for name, value in record.items()}


def observed(task, clips, state):
    """Reference and proprioception [row, size]."""
    seen = jit_as_user(jax.vmap(lambda s: task.observe(s, clips)))(state)
    return np.asarray(seen["reference"]), np.asarray(seen["proprioception"])


def recorded_parts(obs):
    """The same of a flat observation of `FlattenObsWrapper`, which has proprioception first."""
    return obs[:, 264:], obs[:, :264]


@pytest.mark.parametrize("name", ["reset", *(f"steps_{name}" for name in STEPS)])
def test_the_observation_is_the_recorded_one(environment, name):
    task, clips, read = environment
    prefix = "" if name == "reset" else "after_"
    record = finite(read(name), prefix)
    found = observed(task, clips, state_of(record, prefix, task))
    for ours, theirs in zip(found, recorded_parts(record[f"{prefix}obs"]), strict=True):
        np.testing.assert_allclose(ours, theirs, **ROUND_OFF)


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_judged_as_recorded(environment, name):
    task, clips, read = environment
    record = read(f"steps_{name}")
    state = state_of(record, "after_", task)
    judge = jit_as_user(jax.vmap(lambda s, a, b: task.evaluate(s, a, b, clips)))
    outcome = judge(state, record["action"], record["prev_action"])
    alive = np.isfinite(record["after_qpos"]).all(1)
    for term in REWARDS:
        # cos of an angle near 0: a float32 loses half of its digits
        near = dict(rtol=1e-4, atol=2e-6) if term == "root_quat" else dict(rtol=2e-5, atol=2e-7)
        np.testing.assert_allclose(
            np.abs(outcome.terms[term])[alive],
            np.abs(record[f"metric_rewards.{term}"])[alive],
            err_msg=term,
            **near,
        )
    np.testing.assert_allclose(outcome.reward, record["after_reward"], rtol=2e-5, atol=5e-6)
    for ours, theirs in FAILURES.items():
        flags = record[f"metric_terminations.{theirs}"] > 0
        np.testing.assert_array_equal(outcome.failures[ours], flags, err_msg=ours)
    over = np.asarray(outcome.terminated | outcome.truncated)
    np.testing.assert_array_equal(over, record["after_done"] > 0)
    # upstream leaves the flag set beside a termination
    truncated = (record["after_truncated"] > 0) & ~np.asarray(outcome.terminated)
    np.testing.assert_array_equal(outcome.truncated, truncated)
    frames = jit_as_user(jax.vmap(task.frame))(state)
    np.testing.assert_array_equal(frames, record["after_cur_frame"])


@pytest.mark.parametrize("name", STEPS)
def test_sensors_are_read_as_recorded(environment, name):
    task, clips, read = environment
    record = finite(read(f"steps_{name}"))
    config = replace(task.config, proprioception=PROPRIOCEPTION_VNL_PLAYGROUND_SENSORS)
    with_sensors = ImitationTask(config, task.walker, task.physics)
    assert with_sensors.layout.proprioception_size == 277
    _, found = observed(with_sensors, clips, state_of(record, "after_", task))
    own = recorded_parts(record["after_obs"])[1]
    sensors = record["after_kinematic_sensors"], record["after_touch_sensors"]
    expected = np.concatenate([own[:, :-38], *sensors, own[:, -38:]], axis=1)
    np.testing.assert_allclose(found, np.nan_to_num(expected), **ROUND_OFF)


def test_one_control_step_is_the_recorded_one(environment):
    task, _, read = environment
    record = read("steps_gentle")
    before = {
        name.removeprefix("before_"): value
        for name, value in record.items()
        if name.startswith("before_")
    }
    start = jax.vmap(task.physics.reset)(before["qpos"], before["qvel"])
    names = ("qpos", "qvel", "act", "qacc_warmstart", "time")
    start = start.replace(**{name: jnp.asarray(before[name]) for name in names})
    after = jax.vmap(task.physics.step)(start, record["action"])

    def largest(name):
        off = np.abs(np.asarray(getattr(after, name)) - record[f"after_{name}"])
        return off.reshape(len(off), -1).max(1)

    if task.config.physics.solver == "cg":  # 5 iterations do not converge: alike in distribution
        assert np.median(largest("qpos")) < 0.15 and np.median(largest("qvel")) < 20.0
        return
    assert np.median(largest("qpos")) < 1e-6
    assert np.max(largest("qpos")) < 2e-3
    assert np.median(largest("qvel")) < 1e-4
    assert np.median(largest("xpos")) < 1e-6
    assert np.max(largest("act")) < 1e-6
    np.testing.assert_array_equal(after.time, record["after_time"])


def test_whole_episodes_have_the_recorded_frames(environment):
    task, clips, read = environment
    record = read("frames")
    blank = task.reset_to(jax.random.key(0), clips, 0, 0, jax.random.key(0))

    def frame(time, start):
        physics = blank.physics.replace(time=time)
        return task.frame(blank.replace(physics=physics, start_frame=start))

    found = jit_as_user(jax.vmap(jax.vmap(frame), (0, None)))(record["time"], record["start_frame"])
    np.testing.assert_array_equal(found, record["cur_frame"])
