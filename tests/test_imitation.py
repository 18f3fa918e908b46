"""Parity of the imitation task with numbers recorded from track-mjx, and its own rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.reference.hdf5 import read_clips
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask

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
    obs = jax.vmap(lambda s: task.observe(s, clips).flat())(state)
    np.testing.assert_allclose(obs, record["obs"], **ROUND_OFF)


@pytest.mark.parity
@pytest.mark.parametrize("name", ["torque_steps", "torque_steps_stress"])
def test_step_outcome_equals_the_recorded_one(task, clips, shared_data, name):
    record = np.load(shared_data / "env" / f"{name}.npz")
    record = {key: record[key] for key in record.files}
    finite = np.isfinite(record["after_qpos"]).all(1) & (record["metric_nan"] == 0)
    record = {k: v[finite] if v.ndim and len(v) == len(finite) else v for k, v in record.items()}
    state = recorded_state(record, "after_", task)
    np.testing.assert_array_equal(jax.vmap(task.frame)(state), record["cur_frame"])

    obs = jax.vmap(lambda s: task.observe(s, clips).flat())(state)
    np.testing.assert_allclose(obs, record["after_obs"], **ROUND_OFF)

    outcome = jax.vmap(lambda s, a, p: task.evaluate(s, a, p, clips))(
        state, record["action"], record["before_info_prev_ctrl"]
    )
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
