"""Checkpoints that track-mjx has written since December 2025, against what its own inference gave."""

import jax
import numpy as np
import pytest
from compiling import jit_as_user

from vnl_mjx.config.imitation import PROPRIOCEPTION_VNL_PLAYGROUND
from vnl_mjx.utils.track_mjx_loader import load_teacher

FEED_FORWARD = ("flat_904", "dict_imitation_target", "nested", "student_dict")
GENERATIONS = {
    "flat_904": "2025-12",
    "dict_imitation_target": "2026-01",
    "nested": "2026",
    "recurrent_lstm": "2026",
    "student_dict": "2026-01",
}


def recorded(shared_data, name):
    return np.load(shared_data / "teacher_2026" / f"{name}.npz")


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_outputs_equal_upstream(shared_data, name):
    policy = load_teacher(shared_data / "teacher_2026" / name).policy
    expected = recorded(shared_data, name)
    output = jit_as_user(policy.act)(expected["obs"])
    np.testing.assert_allclose(output.action, expected["action"], rtol=0, atol=1e-5)
    if "latent_mean" in expected:
        np.testing.assert_allclose(output.latent_mean, expected["latent_mean"], rtol=0, atol=1e-5)


def test_a_recurrent_teacher_remembers_as_upstream(shared_data):
    policy = load_teacher(shared_data / "teacher_2026" / "recurrent_lstm").policy
    assert policy.config.memory_sizes == (24, 20)
    expected = recorded(shared_data, "recurrent_lstm")
    memory, obs = policy.initial_memory((100,)), expected["obs"]
    for action in expected["actions"]:
        output = jit_as_user(policy.act)(obs, memory)
        memory = output.memory
        np.testing.assert_allclose(output.action, action, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "generation"), GENERATIONS.items())
def test_the_task_is_that_of_the_checkpoint(shared_data, name, generation):
    teacher = load_teacher(shared_data / "teacher_2026" / name)
    task, stored = teacher.task, teacher.raw_config["env_config"]
    assert task.generation == generation and teacher.warnings == ()
    assert task.proprioception == PROPRIOCEPTION_VNL_PLAYGROUND
    assert task.physics.control_timestep == pytest.approx(stored["ctrl_dt"])
    assert (task.walker.torque_actuators, task.walker.rescale_factor) == (True, 0.9)
    own, terms = task.reward.vnl_playground, stored["reward_terms"]
    assert own.joints_scale == terms["joints"]["exp_scale"]
    assert (own.joints_vel_weight, own.control_cost_weight) == (0.0, 0.02)
    # theirs is of the whole rotation since 2026, ours of half of it
    halved = 0.5 if stored["termination_criteria"]["root_too_rotated"]["max_degrees"] > 90 else 1.0
    assert own.root_quat_scale == halved * terms["root_quat"]["exp_scale"]
    limits = task.termination.vnl_playground
    assert (limits.max_root_distance, limits.max_root_angle_deg) == (0.1, 60.0)
    assert task.episode_frames == 250 - 50 - 5
    randomized = task.randomization.ranges()
    assert randomized.get("com_offset") == (None if name == "flat_904" else (-0.05, 0.05))


def test_the_prior_of_a_student_is_there(shared_data):
    student = load_teacher(shared_data / "teacher_2026" / "student_dict")
    assert student.kind == "DistillNetwork"
    assert {"fc2_mean", "fc2_logvar", "hidden_0", "hidden_1"} <= student.prior.keys()
    output = student.policy.act(recorded(shared_data, "student_dict")["obs"])
    assert -5.0 <= output.latent_logvar.min() and output.latent_logvar.max() <= 2.0
    assert jax.tree.all(jax.tree.map(lambda leaf: leaf.dtype == np.float32, student.prior))
