"""Reading a checkpoint of our own in track-mjx's layout, and what is refused."""

import base64
import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from track_mjx_checkpoints import NETWORK, make_normalizer, make_params, upstream_config, write

from vnl_mjx.compat.track_mjx_config import OWN_KEY
from vnl_mjx.compat.track_mjx_writer import save_track_mjx, track_mjx_config
from vnl_mjx.config import imitation
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.utils.track_mjx_loader import load_teacher


@pytest.fixture(scope="module")
def teacher_path(tmp_path_factory) -> Path:
    """A small checkpoint in track-mjx's layout; not to be changed."""
    return write(tmp_path_factory.mktemp("teacher"), upstream_config())


@pytest.fixture
def teacher_copy(teacher_path, tmp_path) -> Path:
    return shutil.copytree(teacher_path, tmp_path / "copy")


def edit_config(path: Path, edit) -> Path:
    """Applies `edit` to the stored configuration of the one step in `path`."""
    file = next(path.glob("*/config/metadata"))
    config = json.loads(file.read_text())
    edit(config)
    file.chmod(0o644)
    file.write_text(json.dumps(config))
    return path


# What is written is read.


def test_round_trip(teacher_path):
    teacher = load_teacher(teacher_path)
    params = make_params(NETWORK)
    jax.tree.map(np.testing.assert_array_equal, teacher.policy.params, params)
    normalizer = make_normalizer(696)
    np.testing.assert_array_equal(teacher.policy.obs_mean, normalizer["mean"])
    np.testing.assert_array_equal(teacher.policy.obs_std, normalizer["std"])
    assert teacher.policy.config == NETWORK
    assert teacher.task == ImitationConfig()
    assert teacher.raw_config.items() >= upstream_config().items()
    assert (teacher.step, teacher.warnings) == (3, ())
    assert all(isinstance(v, str) for v in teacher.summary.values())
    # 470*8+8 + 16 + 8*6+6 + 12 + 2*(6*4+4) + (4+226)*8+8 + 16 + 8*76+76
    assert teacher.summary["parameters"] == "6,454"


def test_sha256_is_of_the_numbers(teacher_path, tmp_path):
    same = load_teacher(write(tmp_path / "same", upstream_config(), step=12)).sha256
    other = load_teacher(write(tmp_path / "other", upstream_config(), seed=1)).sha256
    assert same == load_teacher(teacher_path).sha256 != other


def test_lstm_round_trip(tmp_path):
    network = dataclasses.replace(NETWORK, memory_sizes=(5, 5))
    teacher = load_teacher(write(tmp_path, upstream_config(network), network))
    assert teacher.policy.config == network
    jax.tree.map(np.testing.assert_array_equal, teacher.policy.params, make_params(network))


def test_our_own_section_holds_any_task(tmp_path):
    """A task and sizes that no generation of track-mjx has."""
    task = ImitationConfig(
        generation="demo",
        walker=imitation.WalkerConfig(joint_names=("a", "b"), body_names=("c",)),
        physics=imitation.PhysicsConfig(solver="newton", num_substeps=4),
        quirks=imitation.UpstreamQuirks(0, 0, 0, False),
        proprioception=("joint_angles",),
        mocap_hz=60.0,
        episode_frames=90,
    )
    network = IntentionConfig(12, 5, 2, 3, (8,), (8,), activation="tanh", observation_clip=6.5)
    config = track_mjx_config(task, network, clip_length=100)
    teacher = load_teacher(write(tmp_path, config, network))
    assert teacher.task == task
    assert teacher.policy.config == network
    assert teacher.warnings == ()


def test_upstreams_way_of_reading_finds_our_policy(teacher_path):
    """track-mjx restores into an abstract (RunningStatisticsState, {"params": ...})."""

    @flax.struct.dataclass
    class RunningStatisticsState:
        mean: Any
        std: Any
        count: Any
        summed_variance: Any

    normalizer = make_normalizer(696)
    zeros = jax.tree.map(
        jnp.zeros_like, (RunningStatisticsState(**normalizer), make_params(NETWORK))
    )
    options = ocp.CheckpointManagerOptions(create=False, step_prefix="PPONetwork")
    with ocp.CheckpointManager(teacher_path, options=options) as manager:
        assert manager.latest_step() == 3
        args = ocp.args.Composite(
            policy=ocp.args.StandardRestore(zeros), config=ocp.args.JsonRestore()
        )
        restored = manager.restore(3, args=args)
    statistics, params = restored["policy"]
    np.testing.assert_array_equal(statistics.mean, normalizer["mean"])
    jax.tree.map(np.testing.assert_array_equal, params, make_params(NETWORK))
    assert restored["config"].items() >= upstream_config().items()


def test_latest_is_numeric_and_a_step_can_be_chosen(tmp_path):
    for step in (9, 12, 10):
        write(tmp_path, upstream_config(), step=step, seed=step)
    (tmp_path / "PPONetwork_13.orbax-checkpoint-tmp-0").mkdir()
    assert load_teacher(tmp_path).step == 12
    chosen = load_teacher(tmp_path, step=9)
    assert chosen.step == 9
    direct = load_teacher(tmp_path / "PPONetwork_9")
    assert (direct.step, direct.sha256) == (9, chosen.sha256)
    with pytest.raises(UserError, match="no step 11; steps there: 9, 10, 12"):
        load_teacher(tmp_path, step=11)
    with pytest.raises(UserError, match="is step 9, but step 12"):
        load_teacher(tmp_path / "PPONetwork_9", step=12)
    with pytest.raises(UserError, match="exists already"):
        write(tmp_path, upstream_config(), step=10)


def test_written_on_a_gpu(teacher_copy, teacher_path, capfd):
    for file in teacher_copy.glob("*/*/_sharding"):
        sharding = json.loads(file.read_text())
        assert all(base64.b64decode(key) for key in sharding)
        gpu = json.dumps({"sharding_type": "SingleDeviceSharding", "device_str": "cuda:0"})
        file.write_text(json.dumps(dict.fromkeys(sharding, gpu)))
    assert load_teacher(teacher_copy).sha256 == load_teacher(teacher_path).sha256
    assert capfd.readouterr() == ("", "")


def test_statistics_with_a_count_in_two_words(tmp_path):
    """Newer versions of brax store the count as UInt64(hi, lo)."""
    params, normalizer = make_params(NETWORK), make_normalizer(696)
    normalizer["count"] = {"hi": np.uint32(1), "lo": np.uint32(5)}
    options = ocp.CheckpointManagerOptions(step_prefix="PPONetwork")
    with ocp.CheckpointManager(tmp_path, options=options) as manager:
        args = ocp.args.Composite(
            policy=ocp.args.StandardSave((normalizer, params)),
            config=ocp.args.JsonSave(upstream_config()),
        )
        manager.save(0, args=args)
    assert load_teacher(tmp_path).summary["observations in statistics"] == f"{2**32 + 5:,}"


def test_observations_that_are_not_normalised(teacher_copy):
    edit_config(teacher_copy, lambda c: c["network_config"].update(normalize_observations=False))
    policy = load_teacher(teacher_copy).policy
    obs = np.random.default_rng(0).normal(size=696).astype(np.float32)
    np.testing.assert_array_equal(policy.normalize(obs), obs)


def test_keys_that_older_versions_lack(teacher_copy):
    def edit(config):
        for key in ("use_lstm", "get_activation", "deterministic_eval"):
            del config["train_setup"]["train_config"][key]
        for key in ("kl_schedule", "proprioceptive_obs_size", "normalize_observations"):
            del config["network_config"][key]
        for key in ("energy_cost_weight", "var_window_size", "var_coeff", "jerk_coeff"):
            del config["env_config"]["reward_weights"][key]
        del config["env_config"]["walker_name"]

    teacher = load_teacher(edit_config(teacher_copy, edit))
    assert teacher.policy.config == NETWORK
    assert teacher.task.reward == dataclasses.replace(
        ImitationConfig().reward,
        energy_cost_weight=0.0,
        action_variance_weight=0.0,
        action_jerk_weight=0.0,
    )


# What cannot be read is refused in one line.


def refused(path, *parts: str, **kwargs) -> None:
    with pytest.raises(UserError) as caught:
        load_teacher(path, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_path_errors(tmp_path):
    refused(tmp_path / "nowhere", "nowhere does not exist", "PPONetwork_<step>")
    refused(tmp_path, "the folder is empty")
    (tmp_path / "note.txt").write_text("")
    refused(tmp_path, "found note.txt", "PPONetwork_<step>")
    refused(tmp_path / "note.txt", "is a file")
    (tmp_path / "run" / "PPONetwork_4").mkdir(parents=True)
    refused(tmp_path, f"did you mean {tmp_path / 'run'}?")
    refused(tmp_path / "run", "config", "No such file")


def damages(path: Path):
    """(file, how) for each way to damage each file that a teacher is read from."""
    folder = next(path.glob("PPONetwork_*"))
    for item in ("policy", "config"):
        for file in sorted((folder / item).rglob("*")):
            if file.is_file():
                for how in ("delete", "half", "empty", "zeros"):
                    yield file.relative_to(path), how


def test_damaged_files_end_in_one_line(teacher_path, tmp_path, capfd):
    """Each damage is either reported or, where nothing is read from the file, without effect."""
    expected = load_teacher(teacher_path).sha256
    reported = set()
    for i, (file, how) in enumerate(damages(teacher_path)):
        damaged = shutil.copytree(teacher_path, tmp_path / str(i))
        content = (damaged / file).read_bytes()
        if how == "delete":
            (damaged / file).unlink()
        else:
            new = {"half": content[: len(content) // 2], "empty": b"", "zeros": bytes(len(content))}
            (damaged / file).write_bytes(new[how])
        try:
            assert load_teacher(damaged).sha256 == expected, (file, how)
        except UserError as error:
            assert "\n" not in str(error)
            reported.add((file.name, how))
    for name in ("_METADATA", "manifest.ocdbt", "metadata"):
        assert {(name, how) for how in ("delete", "half", "empty", "zeros")} <= reported
    data = {name for name, _ in reported} - {"_METADATA", "manifest.ocdbt", "metadata"}
    assert len(data) >= 2
    # Readers that run on after a failure must not print either.
    assert capfd.readouterr() == ("", "")


def test_missing_policy(teacher_copy):
    shutil.rmtree(next(teacher_copy.glob("*/policy")))
    refused(teacher_copy, "policy is missing")


def test_nan_in_parameters(tmp_path):
    params = make_params(NETWORK)
    params["params"]["decoder"]["hidden_1"]["bias"] = np.full(76, np.nan, np.float32)
    save_track_mjx(tmp_path, 0, params, make_normalizer(696), upstream_config())
    refused(tmp_path, "params/decoder/hidden_1/bias holds NaN")


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (
            {"encoder_layer_sizes": [9, 6]},
            ["params/encoder/hidden_0/kernel", "(470, 8)", "(470, 9)"],
        ),
        ({"encoder_layer_sizes": [8]}, ["params/encoder/hidden_1/kernel", "no such layer"]),
        ({"decoder_layer_sizes": [8, 8]}, ["decoder/hidden_2/kernel (8, 76) is missing"]),
        ({"arch_name": "mlp"}, ["network_config.arch_name", "'intention'", "'mlp'"]),
        ({"intention_size": 0}, ["network_config.intention_size", "positive integer", "0"]),
        ({"intention_size": None}, ["network_config.intention_size is missing"]),
        ({"action_size": "38"}, ["network_config.action_size", "'38'"]),
        ({"observation_size": 904, "reference_obs_size": 640}, ["640 + 264 = 904", "470 + 231"]),
        (
            {"observation_size": 700, "reference_obs_size": 474},
            ["reference_obs_size", "470", "474"],
        ),
        ({"reference_obs_size": 696}, ["reference_obs_size", "less than observation_size 696"]),
        ({"decoder_layer_sizes": "512"}, ["decoder_layer_sizes", "list of positive integers"]),
    ],
)
def test_network_config_errors(teacher_copy, edit, parts):
    refused(edit_config(teacher_copy, lambda c: c["network_config"].update(edit)), *parts)


@pytest.mark.parametrize(
    ("section", "key", "value", "parts"),
    [
        ("env_config.env_args", "solver", "pgs", ["env_args.solver", "'newton'", "'pgs'"]),
        ("env_config.env_args", "mj_model_timestep", 0, ["mj_model_timestep", "positive number"]),
        ("env_config.env_args", "mocap_hz", float("nan"), ["mocap_hz", "nan"]),
        ("env_config.reward_weights", "healthy_z_range", [0.1], ["healthy_z_range", "2 finite"]),
        ("env_config", "walker_name", "fly", ["walker_name", "'rodent'", "'fly'"]),
        ("walker_config", "joint_names", [1], ["joint_names", "list of names"]),
        ("walker_config", "torque_actuators", 1, ["torque_actuators", "true or false"]),
        ("reference_config", "clip_length", 50, ["clip_length", "random_init_range"]),
        ("train_setup.train_config", "use_lstm", True, ["hidden_state_size is missing"]),
    ],
)
def test_task_config_errors(teacher_copy, section, key, value, parts):
    def edit(config):
        for name in section.split("."):
            config = config[name]
        config[key] = value

    refused(edit_config(teacher_copy, edit), *parts)


def test_own_section_errors(tmp_path):
    config = track_mjx_config(ImitationConfig(), NETWORK)
    write(tmp_path, config)
    good = copy.deepcopy(config[OWN_KEY])

    def set_own(**changes):
        edit_config(tmp_path, lambda c: c.update({OWN_KEY: {**good, **changes}}))

    set_own(activation="swish")
    refused(tmp_path, "vnl_mjx.activation", "'swish'")
    set_own(observation_clip=-1.0)
    refused(tmp_path, "vnl_mjx.observation_clip", "a positive number", "-1.0")
    set_own(task={"generatoin": "x"})
    refused(tmp_path, "unknown key generatoin", "did you mean generation?")
    set_own(task={"physics": {"timestep": "fast"}})
    refused(tmp_path, "task: physics.timestep", '"fast"')
    set_own(task=None)
    refused(tmp_path, "task: the configuration: expected a section")


def test_unknown_activation(teacher_path):
    refused(
        teacher_path,
        "teacher_config.activation",
        "'siluu'",
        "did you mean 'silu'?",
        activation="siluu",
    )


def test_another_activation_than_upstreams_is_noted(teacher_path):
    teacher = load_teacher(teacher_path, activation="relu")
    assert teacher.policy.config.activation == "relu"
    assert "replaces silu" in teacher.warnings[0]
    assert load_teacher(teacher_path, activation="silu").warnings == ()
