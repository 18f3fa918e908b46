"""Parity of the imitation task with numbers recorded from track-mjx, and its own rules."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from compiling import jit_as_user
from hypothesis import given, settings
from hypothesis import strategies as st
from observation_helpers import moved_over_the_floor, random_state, state_of
from scipy.spatial.transform import Rotation
from summed_time import summed_time
from toy_run import toy_task

from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.config.imitation import (
    PROPRIOCEPTION_2025_02,
    PROPRIOCEPTION_2025_06,
    PROPRIOCEPTION_2025_09,
    ImitationConfig,
    PhysicsConfig,
    UpstreamQuirks,
)
from vnl_mjx.errors import UserError
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.terms.errors import tracking_errors
from vnl_mjx.tasks.terms.state import term_state
from vnl_mjx.walkers.walker import build_walker

ROUND_OFF = dict(rtol=1e-4, atol=1e-5)
# The half angle is an arccos near 1: float32 noise of 1e-7 in the cosine is 2e-4 rad in the angle, whose
# square is what is compared.
TERMS = [
    "pos_reward",
    "quat_reward",
    "joint_reward",
    "angvel_reward",
    "bodypos_reward",
    "endeff_reward",
    "ctrl_cost",
    "ctrl_diff_cost",
    "energy_cost",
    "var_cost",
    "jerk_cost",
]
DISTANCES = ["joint_distance", "summed_pos_distance", "quat_distance"]
FAILURES = ["too_far", "bad_pose", "bad_quat", "fall", "nan"]


@pytest.fixture(scope="module")
def task(rodent):
    config = ImitationConfig()
    return ImitationTask(config, rodent, make_physics(rodent.model, config.physics))


@pytest.fixture(scope="module")
def clips(rodent, shared_data):
    return read_clips(shared_data / "reference" / "rodent_mocap_4x250.h5", rodent)


def recorded_state(record, prefix: str, task) -> ImitationState:
    """A batch of environment states from recorded arrays."""
    num = len(record[f"{prefix}qpos"])
    xmat = record[f"{prefix}xmat"] if f"{prefix}xmat" in record else np.zeros((num, 68, 3, 3), "f4")
    index = record[f"{prefix}info_buffer_index"]
    buffer = record[f"{prefix}info_action_buffer"]
    window = np.stack([np.roll(b, -i, axis=0) for b, i in zip(buffer, index, strict=True)])
    physics = PhysicsState(
        qpos=record[f"{prefix}qpos"],
        qvel=record[f"{prefix}qvel"],
        act=record[f"{prefix}act"],
        qacc_warmstart=record[f"{prefix}qacc_warmstart"],
        time=record[f"{prefix}time"],
        xpos=record[f"{prefix}xpos"],
        xmat=xmat,
        qfrc_actuator=record[f"{prefix}qfrc_actuator"],
        sensordata=np.zeros((num, task.physics.model.nsensordata), "f4"),
        diverged=np.zeros(num, bool),
        overflowed=np.zeros(num, bool),
    )
    state = ImitationState(
        physics=physics,
        clip=record[f"{prefix}info_clip_idx"],
        start_frame=record[f"{prefix}info_start_frame"],
        num_steps=np.ones(num, np.int32),
        previous_action=record[f"{prefix}info_prev_ctrl"],
        action_window=window,
        key=np.zeros((num, 2), np.uint32),
    )
    return jax.tree.map(jnp.asarray, state)


@pytest.mark.parity
def test_reset_observation_equals_the_recorded_one(task, clips, shared_data):
    record = np.load(shared_data / "env" / "torque_reset.npz")
    record = {name: record[name] for name in record.files}
    state = recorded_state(record, "", task)
    obs = jit_as_user(jax.vmap(lambda s: task.observe(s, clips).flat()))(state)
    np.testing.assert_allclose(obs, record["obs"], **ROUND_OFF)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["torque_steps", "torque_steps_stress"])
def test_step_outcome_equals_the_recorded_one(task, clips, shared_data, name):
    record = np.load(shared_data / "env" / f"{name}.npz")
    record = {key: record[key] for key in record.files}
    finite = np.isfinite(record["after_qpos"]).all(1) & (record["metric_nan"] == 0)
    record = {k: v[finite] if v.ndim and len(v) == len(finite) else v for k, v in record.items()}
    state = recorded_state(record, "after_", task)

    @jit_as_user
    @jax.vmap
    def look(state, action, previous_action):
        outcome = task.evaluate(state, action, previous_action, clips)
        return task.frame(state), task.observe(state, clips).flat(), outcome

    frame, obs, outcome = look(state, record["action"], record["before_info_prev_ctrl"])
    np.testing.assert_array_equal(frame, record["cur_frame"])
    np.testing.assert_allclose(obs, record["after_obs"], **ROUND_OFF)
    for term in TERMS:
        np.testing.assert_allclose(
            outcome.terms[term], record[f"metric_{term}"], err_msg=term, **ROUND_OFF
        )
    for distance in DISTANCES:
        np.testing.assert_allclose(
            outcome.distances[distance], record[f"metric_{distance}"], err_msg=distance, **ROUND_OFF
        )
    for failure in FAILURES:
        np.testing.assert_array_equal(
            outcome.failures[failure], record[f"metric_{failure}"] > 0, err_msg=failure
        )
    np.testing.assert_array_equal(outcome.terminated, record["after_done"] > 0)
    np.testing.assert_allclose(outcome.reward, record["after_reward"], **ROUND_OFF)


@pytest.mark.parity
def test_one_control_step_lands_near_the_recorded_one(task, shared_data):
    """Our physics from the recorded states, against where MJX went.

    Upstream's solver stops after 5 iterations, unconverged: MJX, MuJoCo C and a converged Newton land this
    far from each other (measured here: the largest of the 67 joints is off by a median of 0.020 rad in a step
    that moves it by 0.090 rad; a converged Newton is off by 0.018 rad). So only the statistics can agree;
    what no solver touches, activation and time, agrees to round-off.
    """
    record = np.load(shared_data / "env" / "torque_steps.npz")
    before = recorded_state({key: record[key] for key in record.files}, "before_", task).physics
    stepped = jit_as_user(jax.vmap(task.physics.step))(before, record["action"])
    np.testing.assert_array_equal(stepped.time, record["after_time"])
    np.testing.assert_allclose(stepped.act, record["after_act"], atol=1e-7)
    assert not stepped.diverged.any()

    def errors(name, columns=slice(None)):
        found = np.abs(np.asarray(getattr(stepped, name)) - record[f"after_{name}"])
        return found.reshape(len(found), -1)[:, columns]

    joints = errors("qpos", slice(7, None))
    assert np.median(joints.max(axis=1)) < 0.03  # rad, measured 0.0202
    assert np.median(joints) < 5e-4  # rad, measured 0.0002
    assert np.median(errors("qpos", slice(3)).max(axis=1)) < 5e-4  # m, measured 0.0002
    assert np.median(errors("qvel", slice(6, None)).max(axis=1)) < 4.0  # rad/s, measured 2.5
    assert np.median(errors("xpos").max(axis=1)) < 1.5e-3  # m, measured 0.0007
    first = record["before_time"] == 0  # the steps after a reset start at rest, in light contact
    assert np.median(joints[first].max(axis=1)) < 1e-3  # rad, measured 0.0002


def frames_and_times(toy_config, walker, changes: dict, start_frames, num_steps: int):
    """Frame and time [step, episode] of the toy walker's episodes, by one compiled program."""
    config = replace(toy_task(toy_config), **changes)
    task = ImitationTask(config, walker, make_physics(walker.model, config.physics))
    poses = np.tile(walker.model.qpos0, (300, 1))
    clips = jax.tree.map(jnp.asarray, clips_from_poses(walker, poses, [300], config.mocap_hz))

    @jit_as_user
    def play(key, start_frames):
        reset = jax.vmap(lambda frame: task.reset_to(key, clips, 0, frame, key))
        step = jax.vmap(lambda s: task.step(s, jnp.zeros(task.action_size), clips)[0])

        def body(state, _):
            state = step(state)
            return state, (jax.vmap(task.frame)(state), state.physics.time)

        return jax.lax.scan(body, reset(start_frames), length=num_steps)[1]

    return play(jax.random.PRNGKey(0), start_frames)


@pytest.mark.parametrize("lags", [True, False])
@pytest.mark.parametrize(
    ("num_substeps", "timestep", "mocap_hz"),
    [(10, 0.002, 50.0), (10, 0.001, 50.0), (10, 0.001, 100.0), (5, 0.002, 100.0), (5, 0.002, 30.0)],
)
def test_frame_over_whole_episodes(toy_config, toy_walker, num_substeps, timestep, mocap_hz, lags):
    """At every start frame, as upstream's float32 says (`lags`) or exactly."""
    physics = PhysicsConfig(timestep, num_substeps, iterations=1)
    changes = {"physics": physics, "mocap_hz": mocap_hz, "quirks": UpstreamQuirks(frame_lags=lags)}
    num_steps, start_frames = 200, np.arange(0, 250, 3)
    found, _ = frames_and_times(toy_config, toy_walker, changes, start_frames, num_steps)
    if lags:
        elapsed = summed_time(physics, num_steps) * np.float32(mocap_hz)
        expected = np.floor(elapsed[:, None] + np.float32(start_frames))
    else:
        elapsed = (
            np.arange(1, num_steps + 1) * round(mocap_hz) // round(1 / physics.control_timestep)
        )
        expected = elapsed[:, None] + start_frames
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parity
@pytest.mark.parametrize(("name", "num_substeps"), [("cg50", 10), ("newton100", 5)])
def test_frames_and_times_of_recorded_episodes(
    toy_config, toy_walker, shared_data, name, num_substeps
):
    """Of vnl-playground, which sums and floors as track-mjx does; time and frame know no body."""
    record = np.load(shared_data / "env_2026" / f"{name}_frames.npz")
    changes = {
        "physics": PhysicsConfig(num_substeps=num_substeps, iterations=1),
        "quirks": UpstreamQuirks(frame_lags=True),
    }
    frames, times = frames_and_times(
        toy_config, toy_walker, changes, record["start_frame"], len(record["time"])
    )
    np.testing.assert_array_equal(times, record["time"])
    np.testing.assert_array_equal(frames, record["cur_frame"])


def test_time_limit_truncates_and_start_frames_leave_room(task, rodent):
    qpos = np.tile(rodent.model.qpos0, (12, 1))
    clips = clips_from_poses(rodent, qpos, [12], 50.0)
    states = jax.vmap(lambda key: task.reset(key, clips))(jax.random.split(jax.random.key(0), 64))
    assert 0 <= states.start_frame.min() and states.start_frame.max() == 12 - task.frames_needed
    action = jnp.zeros(task.action_size)
    state = jax.tree.map(lambda x: x[0], states).replace(num_steps=jnp.int32(194))
    outcome = task.evaluate(state.replace(num_steps=jnp.int32(195)), action, action, clips)
    assert bool(outcome.truncated) != bool(outcome.terminated)
    assert task.max_episode_steps == 195


def test_first_observation_knows_the_first_activation(toy_config, toy_motion):
    """Where actuators hold the pose at a start, the forces observed are those that they exert."""
    walker_config = replace(toy_config, torque_actuators=False)
    walker = build_walker(walker_config)
    config = replace(
        toy_task(walker_config), initial_activation="pose", initial_velocity="reference"
    )
    task = ImitationTask(config, walker, make_physics(walker.model, config.physics))
    key = jax.random.PRNGKey(0)
    state = jax.jit(lambda key: task.reset_to(key, toy_motion, 0, 3, key))(key)
    assert np.abs(state.physics.act).max() > 0.01

    data = mujoco.MjData(task.physics.model)
    data.qpos[:], data.qvel[:] = state.physics.qpos, state.physics.qvel
    data.act[:] = state.physics.act
    mujoco.mj_forward(task.physics.model, data)
    derived = {
        name: jnp.asarray(getattr(data, name).reshape(getattr(state.physics, name).shape))
        for name in ("xpos", "xmat", "qfrc_actuator")
    }
    exact = state.replace(physics=state.physics.replace(**derived))
    found, expected = (task.observe(s, toy_motion).flat() for s in (state, exact))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_a_diverged_step_earns_and_measures_nothing(toy_config, toy_walker, toy_motion):
    config = toy_task(toy_config)
    task = ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))
    key = jax.random.PRNGKey(0)
    state = task.reset_to(key, toy_motion, 0, 3, key)
    qvel = state.physics.qvel.at[2].set(jnp.nan)
    state = state.replace(physics=state.physics.replace(qvel=qvel))
    step = jax.jit(lambda state, action: task.step(state, action, toy_motion)[1])
    outcome = step(state, jnp.full(task.action_size, 0.5))
    assert outcome.reward == 0.0
    assert not any(np.any(x) for x in (outcome.terms | outcome.distances).values())
    assert outcome.failures["nan"] and outcome.terminated and not outcome.truncated


def test_short_clips_are_refused(task, rodent):
    clips = clips_from_poses(rodent, np.tile(rodent.model.qpos0, (6, 1)), [6], 50.0)
    with pytest.raises(UserError, match="6 frames"):
        task.check_clips(clips)


def test_wrong_frame_rate_is_refused(task, rodent):
    clips = clips_from_poses(rodent, np.tile(rodent.model.qpos0, (9, 1)), [9], 100.0)
    with pytest.raises(UserError, match="100 Hz"):
        task.check_clips(clips)


@pytest.fixture(scope="module")
def compare(toy_walker):
    """The errors of a state and a frame, compiled."""
    quirks = UpstreamQuirks()

    @jax.jit
    def errors(physics, frame):
        return tracking_errors(term_state(physics, toy_walker, 0.02), frame, toy_walker, quirks)

    return errors


@given(
    seed=st.integers(0, 50),
    yaw=st.floats(-3.1, 3.1),
    shift=st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
)
@settings(max_examples=20, deadline=None)
def test_errors_do_not_change_when_all_moves_together(
    compare, toy_walker, toy_motion, seed, yaw, shift
):
    """A common translation and yaw of body and reference turns vectors of the world, and no more."""
    here = random_state(toy_walker, seed)
    there = state_of(toy_walker.model, *moved_over_the_floor(here.qpos, here.qvel, yaw, shift))
    qpos, _ = moved_over_the_floor(toy_motion.qpos(), toy_motion.qvel(), yaw, shift)
    moved = clips_from_poses(toy_walker, qpos, toy_motion.lengths.tolist(), toy_motion.rate_hz)
    before, after = compare(here, toy_motion.at(0, 4)), compare(there, moved.at(0, 4))
    turn = Rotation.from_euler("z", yaw)
    for name, error in vars(before).items():
        assert np.abs(error).max() > 1e-4, name
        expected = turn.apply(error) if name.endswith("_w") else error
        # velocities of a clip are differences of float32 poses over 20 ms
        atol = 2e-4 if "velocity" in name else 5e-6
        np.testing.assert_allclose(
            getattr(after, name), expected, rtol=1e-5, atol=atol, err_msg=name
        )


def test_reference_begins_one_frame_after_the_body(toy_config, toy_walker):
    """On a clip that moves 1 mm a frame: the window after frame f is f + 1 ... f + 5."""
    quirks = UpstreamQuirks(0, 0, 0, False, frame_lags=False)
    config = replace(toy_task(toy_config), reset_noise_scale=0.0, quirks=quirks)
    task = ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))
    qpos = np.tile(toy_walker.model.qpos0, (40, 1))
    qpos[:, 0] = 1e-3 * np.arange(40)
    clips = clips_from_poses(toy_walker, qpos, [40], 50.0)
    key = jax.random.PRNGKey(0)
    state = task.reset_to(key, clips, 0, 3, key)

    def ahead(state):
        start, stop = task.layout.slices()["reference_root_position"]
        return task.observe(state, clips).flat()[start:stop].reshape(5, 3)[:, 0]

    np.testing.assert_allclose(ahead(state), 1e-3 * np.arange(1, 6), atol=1e-7)
    # Two control steps of 10 ms are a frame.
    later = state.replace(num_steps=jnp.int32(2))
    np.testing.assert_allclose(ahead(later), 1e-3 * np.arange(2, 7), atol=1e-7)


def test_perfect_tracking_earns_the_highest_reward(task, rodent):
    qpos = rodent.model.qpos0.copy()
    clips = clips_from_poses(rodent, np.tile(qpos, (20, 1)), [20], 50.0)
    key = jax.random.PRNGKey(0)
    state = task.reset_to(key, clips, jnp.int32(0), jnp.int32(3), key)
    exact = state.replace(physics=task.physics.reset(jnp.asarray(qpos), jnp.zeros(rodent.model.nv)))
    action = jnp.zeros(task.action_size)
    best = task.evaluate(exact, action, action, clips)
    tracking = [name for name in TERMS if name.endswith("_reward")]
    weights = task.config.reward
    for name in tracking:
        weight = getattr(weights, f"{name.removesuffix('_reward')}_weight")
        np.testing.assert_allclose(best.terms[name], weight, atol=2e-3, err_msg=name)
    off = exact.physics.qpos.at[10].add(0.3).at[0].add(0.02)
    worse = exact.replace(physics=exact.physics.replace(qpos=off))
    assert task.evaluate(worse, action, action, clips).reward < best.reward - 0.05


def test_every_generation_observes_what_its_teachers_read(rodent):
    sizes = {
        PROPRIOCEPTION_2025_09: 226,
        PROPRIOCEPTION_2025_06: 231,
        PROPRIOCEPTION_2025_02: 147,
    }
    for parts, size in sizes.items():
        physics = PhysicsConfig(sensors="kinematic_sensors" in parts)
        config = ImitationConfig(proprioception=parts, physics=physics)
        task = ImitationTask(config, rodent, make_physics(rodent.model, physics))
        assert (task.layout.reference_size, task.layout.proprioception_size) == (470, size)
        stops = [stop for _, stop in task.layout.slices().values()]
        assert stops == sorted(stops) and stops[-1] == 470 + size


def test_reading_sensors_that_are_off_is_refused(rodent):
    config = ImitationConfig(proprioception=PROPRIOCEPTION_2025_06)
    with pytest.raises(ValueError, match="sensors"):
        ImitationTask(config, rodent, make_physics(rodent.model, config.physics))
