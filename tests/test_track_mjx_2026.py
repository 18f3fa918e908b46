"""Checkpoints that track-mjx has written since December 2025, against what its own inference gave."""

import json

import jax
import numpy as np
import pytest
from compiling import jit_as_user

from vnl_mjx.cli import main
from vnl_mjx.config.imitation import PROPRIOCEPTION_VNL_PLAYGROUND
from vnl_mjx.utils.track_mjx_loader import load_teacher
from vnl_mjx.utils.vae_checkpointing import load_student

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
    assert "friction" not in randomized  # the floor's, which the paws' geoms override


def test_the_prior_of_a_student_is_there(shared_data):
    student = load_teacher(shared_data / "teacher_2026" / "student_dict")
    assert student.kind == "DistillNetwork"
    assert {"fc2_mean", "fc2_logvar", "hidden_0", "hidden_1"} <= student.prior.keys()
    output = student.policy.act(recorded(shared_data, "student_dict")["obs"])
    assert -5.0 <= output.latent_logvar.min() and output.latent_logvar.max() <= 2.0
    assert jax.tree.all(jax.tree.map(lambda leaf: leaf.dtype == np.float32, student.prior))


def test_a_student_acts_as_upstream_and_has_its_prior(shared_data):
    loaded = load_student(shared_data / "teacher_2026" / "student_dict")
    student, params, policy = loaded.student, loaded.params, loaded.teacher
    expected = recorded(shared_data, "student_dict")
    body = policy.normalize(expected["obs"][:, 640:], "proprioception")
    reference = policy.normalize(expected["obs"][:, :640], "reference")
    output = student.forward(params, body, reference)
    np.testing.assert_allclose(output.action, expected["action"], rtol=0, atol=1e-5)
    layers = load_teacher(loaded.path).prior
    x = np.asarray(body, np.float64)
    for i in range(2):
        x = x @ layers[f"hidden_{i}"]["kernel"] + layers[f"hidden_{i}"]["bias"]
        x = x / (1 + np.exp(-x))
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        x = x * layers[f"LayerNorm_{i}"]["scale"] + layers[f"LayerNorm_{i}"]["bias"]
    mean, logvar = (
        x @ layers[f"fc2_{name}"]["kernel"] + layers[f"fc2_{name}"]["bias"]
        for name in ("mean", "logvar")
    )
    np.testing.assert_allclose(output.prior.mean, mean, atol=1e-5)
    np.testing.assert_allclose(output.prior.logvar, np.clip(logvar, -5.0, 2.0), atol=1e-5)


BRIEFLY = (
    "prior_config.seconds=0.2",
    "prior_config.num_episodes=4",
    "latent_config.umap=false",
    "video_config.num_clips=0",
)


@pytest.mark.slow
def test_the_command_line_takes_them_to_the_end(shared_data, tmp_path):
    folder = shared_data / "teacher_2026"
    clips = f"teacher_config.reference_data_path={shared_data}/reference/rodent_mocap_4x250.h5"
    for name in GENERATIONS:
        run, teacher = tmp_path / name, f"teacher_config.checkpoint_path={folder / name}"
        few = ["training_config.num_steps=2560", "eval_config.num_episodes=2"]
        assert main(["distill", f"run_dir={run}", teacher, clips, *few]) == 0
    student, report = str(folder / "student_dict"), tmp_path / "report"
    assert main(["eval", student, clips, f"output_dir={report}", *BRIEFLY]) == 0
    made = json.loads((report / "metrics.json").read_text())["made"]
    assert made["is_own_teacher"] and made["env_steps"] is None
    assert main(["eval", str(tmp_path / "nested"), clips, *BRIEFLY]) == 0
    for layout in ("track-mjx", "prior-network", "distill-network"):
        assert main(["export", str(tmp_path / "nested"), str(tmp_path), "--to", layout]) == 0


@pytest.mark.slow
@pytest.mark.render
def test_a_student_is_drawn(backend, shared_data, tmp_path):
    clips = str(shared_data / "reference" / "rodent_mocap_4x250.h5")
    video = ["--output", str(tmp_path / "a.mp4"), "--seconds", "0.1", "--size", "64x64"]
    student = str(shared_data / "teacher_2026" / "student_dict")
    assert main(["view", student, "--clips", clips, *video]) == 0
    assert (tmp_path / "a.mp4").stat().st_size > 0
