"""Teachers of track-mjx's generations: recorded ones against upstream's outputs, and tasks."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from compiling import jit_as_user
from track_mjx_checkpoints import NETWORK, make_normalizer, upstream_config, write

from vnl_mjx.compat.track_mjx_writer import save_track_mjx
from vnl_mjx.config import imitation
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.models.intention import action_distribution
from vnl_mjx.utils.track_mjx_loader import load_teacher

# Parity with recorded upstream outputs.


@pytest.mark.parametrize("name", ["full", "small", "small_step0"])
def test_outputs_equal_upstream(shared_data, name):
    policy = load_teacher(shared_data / "teacher" / name).policy
    recorded = np.load(shared_data / "teacher_outputs" / f"{name}.npz")
    obs = recorded["obs"]
    output = jit_as_user(policy.act)(obs)
    np.testing.assert_allclose(
        jit_as_user(policy.normalize)(obs), recorded["normalized_obs"], atol=1e-5
    )
    np.testing.assert_allclose(output.action, recorded["action"], rtol=0, atol=1e-5)
    for key in ("latent_mean", "latent_logvar"):
        np.testing.assert_allclose(getattr(output, key), recorded[key], rtol=0, atol=1e-5)
    # Logits reach 4; upstream's own float32 logits are 8e-6 from a float64 evaluation.
    np.testing.assert_allclose(output.logits, recorded["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["full", "small", "small_step0"])
def test_sampled_outputs_equal_upstream(shared_data, name):
    """At the latent that upstream drew, its raw action has the log probability it recorded."""
    policy = load_teacher(shared_data / "teacher" / name).policy
    recorded = np.load(shared_data / "teacher_outputs" / f"{name}.npz")
    act = jit_as_user(lambda obs, latent: policy.act(obs, latent=latent))
    output = act(recorded["obs"], recorded["sampled_key7_intention"])
    loc, std = map(np.asarray, action_distribution(output.logits))
    raw = recorded["sampled_key7_raw_action"].astype(np.float64)
    np.testing.assert_allclose(np.tanh(raw), recorded["sampled_key7_action"], atol=1e-6)
    normal = -0.5 * ((raw - loc) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)
    # log of tanh's derivative, written so that it does not cancel.
    log_derivative = 2 * (np.log(2) - raw - np.logaddexp(0, -2 * raw))
    log_prob = (normal - log_derivative).sum(-1)
    np.testing.assert_allclose(log_prob, recorded["sampled_key7_log_prob"], rtol=1e-5, atol=2e-4)


def test_february_2025_latents_equal_upstream_with_relu_only(shared_data):
    recorded = np.load(shared_data / "teacher_outputs" / "small_2025_02_relu.npz")
    path = shared_data / "teacher" / "small_2025_02_relu"
    assumed = load_teacher(path)
    assert "relu" in assumed.warnings[0] and "teacher_config.activation" in assumed.warnings[0]
    given = load_teacher(path, activation="relu")
    assert not any("activation" in warning for warning in given.warnings)
    for teacher in (assumed, given):
        output = jit_as_user(teacher.policy.act)(recorded["obs"])
        for key in ("latent_mean", "latent_logvar"):
            np.testing.assert_allclose(getattr(output, key), recorded[key], rtol=0, atol=1e-5)
    wrong = load_teacher(path, activation="silu").policy.act(recorded["obs"])
    assert np.abs(wrong.latent_mean - recorded["latent_mean"]).max() > 0.1


def test_recorded_lstm_teacher_loads_and_remembers(shared_data):
    teacher = load_teacher(shared_data / "teacher" / "small_lstm")
    obs = np.load(shared_data / "teacher_outputs" / "small.npz")["obs"][:4]
    start = teacher.policy.initial_memory((4,))
    assert [part.shape for part in jax.tree.leaves(start)] == [(4, 32)] * 4

    def act(memory, obs):
        output = teacher.policy.act(obs, memory)
        return output.memory, output.action

    _, (first, second) = jit_as_user(lambda m, o: jax.lax.scan(act, m, o))(
        start, np.stack([obs, obs])
    )
    assert np.isfinite(second).all()
    assert np.abs(second - first).max() > 1e-3
    assert teacher.summary["decoder"] == "LSTM 32 32"


def test_written_layout_equals_upstream(shared_data, tmp_path):
    source = shared_data / "teacher" / "small" / "PPONetwork_1"
    teacher = load_teacher(source)
    written = save_track_mjx(
        tmp_path, 1, teacher.policy.params, make_normalizer(696), teacher.raw_config
    )

    def leaves(folder):
        metadata = json.loads((folder / "policy" / "_METADATA").read_text())
        return {
            key: [(part["key"], part["key_type"]) for part in leaf["key_metadata"]]
            for key, leaf in metadata["tree_metadata"].items()
        }

    def handlers(folder):
        return json.loads((folder / "_CHECKPOINT_METADATA").read_text())["item_handlers"]

    assert leaves(written) == leaves(source)
    assert handlers(written) == handlers(source)
    assert load_teacher(written).raw_config.items() >= teacher.raw_config.items()
    for name in ("policy/manifest.ocdbt", "config/metadata", "train_state/_METADATA"):
        assert (written / name).is_file() and (source / name).is_file()


# The recorded checkpoints' tasks.


def test_task_of_september_2025(shared_data):
    assert load_teacher(shared_data / "teacher" / "full").task == ImitationConfig()


def test_task_of_february_2025(shared_data):
    task = load_teacher(shared_data / "teacher" / "small_2025_02_relu").task
    assert task.generation == "2025-02"
    assert task.proprioception == imitation.PROPRIOCEPTION_2025_02
    assert task.quirks == imitation.UpstreamQuirks(0, 0, 1, False)
    assert (task.physics.num_substeps, task.physics.iterations) == (5, 4)
    assert task.walker.rescale_factor == 0.8 and not task.walker.torque_actuators
    assert task.reward.energy_cost_weight == 0
    assert task.reward.action_variance_weight == task.reward.action_jerk_weight == 0
    assert task.reward.ctrl_diff_cost_weight == 0.02
    assert task.termination.pos_axis_scale == (1.0, 1.0, 0.2)


def test_full_teacher_summary(shared_data):
    teacher = load_teacher(shared_data / "teacher" / "full")
    assert teacher.summary["observation"] == "696 = reference 470 + proprioception 226"
    assert teacher.summary["encoder"] == "1024 512 512 512 512"
    assert teacher.summary["observations in statistics"] == "1,084"
    assert teacher.summary["control rate"] == "50 Hz"
    assert teacher.warnings == ()


def test_untrained_statistics_are_noted(shared_data):
    (warning,) = load_teacher(shared_data / "teacher" / "small_step0").warnings
    assert "no observation" in warning


# Generations.


def drop_action_window(config):
    for key in ("var_window_size", "var_coeff", "jerk_coeff"):
        del config["env_config"]["reward_weights"][key]


@pytest.mark.parametrize("has_window", [True, False])
def test_generation_2025_06(tmp_path, has_window):
    network = dataclasses.replace(NETWORK, proprioception_size=231)
    config = upstream_config(network)
    if not has_window:
        drop_action_window(config)
    teacher = load_teacher(write(tmp_path, config, network))
    assert teacher.task.generation == "2025-06"
    assert teacher.task.proprioception == imitation.PROPRIOCEPTION_2025_06
    assert teacher.task.quirks == imitation.UpstreamQuirks(1, 0, 1, has_window)
    assert teacher.policy.config.activation == "silu"
    (warning,) = teacher.warnings
    assert "end effector" in warning


@pytest.mark.parametrize(
    ("has_use_lstm", "written", "activation", "expected", "is_assumed"),
    [
        # Since 2025-05-05 the configuration has use_lstm, since 2025-05-20 the model has a floor.
        (False, "2025-12-01", None, ("2025-02", "relu", 0), True),
        (False, "2025-12-01", "relu", ("2025-02", "relu", 0), False),
        (True, "2025-12-01", None, ("2025-05", "silu", 1), True),
        (True, "2025-12-01", "relu", ("2025-02", "relu", 0), False),
        (True, "2025-05-18", None, ("2025-02", "silu", 0), True),
        (True, "2025-05-10", None, ("2025-02", "relu", 0), False),
    ],
)
def test_generation_2025_02(tmp_path, has_use_lstm, written, activation, expected, is_assumed):
    network = dataclasses.replace(NETWORK, proprioception_size=147)
    config = upstream_config(network)
    drop_action_window(config)
    if not has_use_lstm:
        del config["train_setup"]["train_config"]["use_lstm"]
    write(tmp_path, config, network)
    (file,) = tmp_path.glob("*/_CHECKPOINT_METADATA")
    metadata = json.loads(file.read_text())
    metadata["init_timestamp_nsecs"] = int(np.datetime64(written, "ns").astype(int))
    file.write_text(json.dumps(metadata))
    teacher = load_teacher(tmp_path, activation=activation)
    task = teacher.task
    found = (task.generation, teacher.policy.config.activation, task.quirks.body_row_shift)
    assert found == expected
    assert (task.quirks.joint_row_shift, task.quirks.ctrl_diff_is_zero) == (1, False)
    assert any("assumed" in warning for warning in teacher.warnings) == is_assumed
    assert any("rescale" in warning for warning in teacher.warnings) == (expected[0] == "2025-02")
