"""`vnl-mjx export`: what it writes is read back, and has the structure that upstream's own files have."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from track_mjx_checkpoints import NETWORK, make_params, upstream_config, write

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import build_parser, main
from vnl_mjx.compat.track_mjx_config import translate
from vnl_mjx.compat.track_mjx_export import export_student, export_teacher
from vnl_mjx.compat.track_mjx_layouts import LAYOUTS
from vnl_mjx.compat.vnl_playground_config import is_playground
from vnl_mjx.config.loading import load_teacher_config
from vnl_mjx.config.task_presets import VNL_PLAYGROUND_TASK
from vnl_mjx.demo import DEMO_TEACHER
from vnl_mjx.models.intention import IntentionConfig
from vnl_mjx.utils.track_mjx_loader import load_teacher
from vnl_mjx.utils.vae_checkpointing import load_student

PLAYGROUND = IntentionConfig(
    reference_size=640,
    proprioception_size=264,
    action_size=38,
    latent_dim=6,
    encoder_hidden_sizes=(8, 7),
    decoder_hidden_sizes=(9,),
)
OF_TEACHERS = ("track-mjx", "track-mjx-2025")


def export(checkpoint, folder, layout):
    """The checkpoint that was written."""
    assert main(["export", str(checkpoint), str(folder), "--to", layout]) == 0
    (written,) = folder.iterdir()
    return written


def shapes(folder):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), read_arrays(folder / "policy"))


def config_of(folder):
    return json.loads((folder / "config" / "metadata").read_text())


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
    np.testing.assert_array_equal(found.obs_mean, expected.obs_mean)
    np.testing.assert_array_equal(found.obs_std, expected.obs_std)
    assert found.config == expected.config


@pytest.mark.parametrize("layout", OF_TEACHERS)
def test_a_teacher_comes_back_to_the_bit(layout, tmp_path):
    before = load_teacher(DEMO_TEACHER)
    back = load_teacher(export(DEMO_TEACHER, tmp_path / "out", layout))
    assert_equal(back.policy, before.policy)
    assert (back.task, back.step) == (before.task, before.step)
    assert back.statistics["count"] == pytest.approx(before.statistics["count"])


@pytest.mark.parametrize("layout", OF_TEACHERS)
@pytest.mark.parametrize("name", ["flat_904", "dict_imitation_target", "nested", "recurrent_lstm"])
def test_upstreams_teachers_come_back_to_the_bit(shared_data, name, layout, tmp_path, capsys):
    source = shared_data / "teacher_2026" / name
    if (name, layout) == ("recurrent_lstm", "track-mjx-2025"):
        assert main(["export", str(source), str(tmp_path), "--to", layout]) == 2
        assert "cannot hold recurrent layers" in capsys.readouterr().err
        return
    before, back = load_teacher(source), load_teacher(export(source, tmp_path / "out", layout))
    assert_equal(back.policy, before.policy)
    assert back.task == before.task


@pytest.mark.parametrize(
    ("name", "layout"), [("nested", "track-mjx"), ("recurrent_lstm", "track-mjx")]
)
def test_the_structure_is_upstreams_own(shared_data, name, layout, tmp_path):
    source = next((shared_data / "teacher_2026" / name).iterdir())
    written = export(source, tmp_path / "out", layout)
    theirs, ours = shapes(source), shapes(written)
    for key in ("mean", "std", "summed_variance"):  # what the value network alone sees is not read
        theirs["0"][key].pop("privileged_state", None)
    assert ours == theirs
    stored, found = config_of(source), config_of(written)
    for section in ("env_config", "network_config", "train_setup"):
        training_only = {"latent_ar1_weight", "proprioception_noise_std", "kl_schedule"}
        assert stored[section].keys() - training_only <= found[section].keys()
    assert found["env_config"]["reward_terms"] == stored["env_config"]["reward_terms"]
    ends = "termination_criteria"
    assert found["env_config"][ends] == stored["env_config"][ends]
    # and without our own section the task is read from theirs
    del found["vnl_mjx"]
    assert translate(found, "out").task == load_teacher(source).task


def nested_checkpoint(tmp_path):
    """A checkpoint of vnl-playground's task in the newest layout."""
    config = upstream_config(PLAYGROUND)
    config["vnl_mjx"] = {
        "activation": "silu",
        "observation_clip": None,
        "task": dataclasses.asdict(VNL_PLAYGROUND_TASK),
    }
    write(tmp_path / "flat", json.loads(json.dumps(config)), PLAYGROUND)
    return export(tmp_path / "flat", tmp_path / "nested", "track-mjx")


def test_a_task_of_the_preset_is_read_from_upstreams_keys(tmp_path):
    written = nested_checkpoint(tmp_path)
    config = config_of(written)
    del config["vnl_mjx"]
    read = translate(config, "out")
    assert read.network == PLAYGROUND
    assert dataclasses.replace(read.task, generation="vnl-playground") == dataclasses.replace(
        VNL_PLAYGROUND_TASK, episode_frames=read.task.episode_frames
    )


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_every_cell_and_a_sigmoid_come_back(cell, tmp_path):
    network = dataclasses.replace(
        PLAYGROUND, decoder_hidden_sizes=(), memory_sizes=(5, 4), cell=cell, squash="sigmoid"
    )
    before = load_teacher(nested_checkpoint(tmp_path))
    policy = before.policy.replace(params=make_params(network), config=network)
    recurrent = dataclasses.replace(before, policy=policy)
    with jax.enable_x64(True):  # as a run in double precision writes it
        made = export_teacher(recurrent, "track-mjx")
        double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), made.params)
        written = dataclasses.replace(made, params=double).save(tmp_path / "out", 1)
    back = load_teacher(written)
    assert_equal(back.policy, policy)
    obs = np.random.default_rng(0).normal(size=(5, 904)).astype(np.float32)
    first = back.policy.act(obs, back.policy.initial_memory((5,)))
    second = back.policy.act(obs, first.memory)
    assert np.all((first.action > 0) & (first.action < 1))
    assert np.abs(second.action - first.action).max() > 1e-4


def test_the_preset_is_the_task():
    task = load_teacher_config([], preset="vnl_playground").task
    assert is_playground(task)
    for name in ("walker", "physics", "quirks", "reference", "proprioception", "episode_frames"):
        assert getattr(task, name) == getattr(VNL_PLAYGROUND_TASK, name), name
    assert task.reward.vnl_playground == VNL_PLAYGROUND_TASK.reward.vnl_playground
    for name in ("initial_velocity", "initial_activation", "reset_noise_scale", "traj_length"):
        assert getattr(task, name) == getattr(VNL_PLAYGROUND_TASK, name), name


def changed(folder, **sections):
    config = config_of(folder)
    for section, values in sections.items():
        for key, value in values.items():
            if value is None:
                config[section].pop(key, None)
            else:
                config[section][key] = value
    (folder / "config" / "metadata").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("network_config", "arch_name", "vision_intention", "with vision"),
        ("network_config", "arch_name", "transformer", "arch_name must be"),
        ("network_config", "action_distribution", "beta", "action_distribution must be"),
        ("network_config", "obs_sizes", {"task_obs": 640, "proprioception": 300}, "vnl-playground"),
        ("network_config", "intention_size", 7, "hidden_0/kernel has shape"),
        ("env_config", "sim_dt", -1, "sim_dt must be a positive number"),
        ("env_config", "reward_terms", 3, "reward_terms must be an object"),
        ("env_config", "qvel_init", "noise", "qvel_init must be"),
        ("env_config", "start_frame_range", [0, 250], "clip_length must be"),
    ],
)
def test_bad_checkpoints_get_one_line(section, key, value, says, tmp_path, capsys):
    written = nested_checkpoint(tmp_path)
    changed(written, vnl_mjx={"task": None}, **{section: {key: value}})
    config = config_of(written)
    del config["vnl_mjx"]
    (written / "config" / "metadata").write_text(json.dumps(config))
    assert main(["inspect", str(written)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_an_unknown_cell_and_a_missing_item_get_one_line(tmp_path, capsys):
    written = nested_checkpoint(tmp_path)
    cell = {"arch_name": "recurrent_intention", "rnn_type": "ugrnn", "rnn_hidden_sizes": [4]}
    changed(written, network_config=cell)
    assert main(["inspect", str(written)]) == 2
    assert "rnn_type must be lstm or gru or simple, found 'ugrnn'" in capsys.readouterr().err
    shutil.rmtree(written / "policy")
    changed(written, network_config={"arch_name": "intention"})
    assert main(["inspect", str(written)]) == 2
    assert "policy is missing" in capsys.readouterr().err


STUDENTS = ("track-mjx", "track-mjx-2025", "prior-network", "distill-network")


@pytest.mark.parametrize("layout", STUDENTS)
def test_a_student_acts_alike_in_every_layout(distilled, layout, tmp_path):
    before = load_student(distilled[0] / "run")
    written = export(distilled[0] / "run", tmp_path / "out", layout)
    vae = before.student.config
    keys = jax.random.split(jax.random.key(0), 3)
    body = jax.random.normal(keys[0], (20, vae.proprioception_size))
    reference = jax.random.normal(keys[1], (20, vae.reference_size))
    latent = jax.random.normal(keys[2], (20, vae.latent_dim))
    action = before.student.decode(before.params, body, latent)
    if layout in ("prior-network", "distill-network"):
        back = load_student(written)
        np.testing.assert_allclose(
            back.student.decode(back.params, body, latent), action, atol=1e-5
        )
        for mine, its in zip(
            jax.tree.leaves(back.student.prior(back.params, body)),
            jax.tree.leaves(before.student.prior(before.params, body)),
            strict=True,
        ):
            np.testing.assert_allclose(mine, its, atol=1e-5)
    if layout == "distill-network":
        found = back.student.encode(back.params, body, reference)
        expected = before.student.encode(before.params, body, reference)
        np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)
        np.testing.assert_allclose(found.logvar, expected.logvar, atol=1e-5)
    policy = load_teacher(written).policy
    obs = np.concatenate([reference, body], axis=1) * policy.obs_std + policy.obs_mean
    np.testing.assert_allclose(policy.act(obs, latent=latent).action, action, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda head: head * np.nan, "prior/fc2_mean/kernel holds NaN"),
        (lambda head: head[:-1], "prior/fc2_mean/kernel has shape"),
    ],
)
def test_a_damaged_prior_gets_one_line(distilled, change, says, tmp_path, capsys):
    student = load_student(distilled[0] / "run")
    teacher = load_teacher(distilled[0] / "teacher")
    made = export_student(
        student.student, student.params, student.teacher, teacher.task, "prior-network"
    )
    head = made.params["params"]["prior"]["fc2_mean"]
    head["kernel"] = change(head["kernel"])
    written = made.save(tmp_path / "out", 1)
    assert main(["inspect", str(written)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_the_command_offers_every_layout():
    parser = build_parser("export")
    for layout in LAYOUTS:
        assert parser.parse_args(["export", "in", "out", "--to", layout]).to == layout


def test_what_a_layout_cannot_hold_is_refused(tmp_path, capsys):
    assert main(["export", str(DEMO_TEACHER), str(tmp_path), "--to", "vnl-playground"]) == 2
    assert "expected a policy of its imitation task" in capsys.readouterr().err
    assert main(["export", str(DEMO_TEACHER), str(tmp_path), "--to", "prior-network"]) == 2
    assert "expected a student, found a teacher" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_another_activation_is_said(tmp_path, capsys):
    network = dataclasses.replace(NETWORK, activation="elu")
    config = upstream_config(network)
    own = {"activation": "elu", "observation_clip": 5.0}
    config["vnl_mjx"] = own | {"task": dataclasses.asdict(load_teacher(DEMO_TEACHER).task)}
    write(tmp_path / "in", json.loads(json.dumps(config)), network)
    export(tmp_path / "in", tmp_path / "out", "track-mjx")
    said = " ".join(capsys.readouterr().out.split())
    assert "its activation is elu: track-mjx evaluates it as silu" in said
    assert "observations are clipped at 5 here, and not upstream" in said


@pytest.mark.slow
def test_a_teacher_of_the_preset_trains_and_is_upstreams_to_the_shape(shared_data, tmp_path):
    source = next((shared_data / "teacher_2026" / "nested").iterdir())
    run, network = tmp_path / "run", load_teacher(source).policy.config
    sizes = [
        f"network.latent_dim={network.latent_dim}",
        f"network.encoder_hidden_sizes={list(network.encoder_hidden_sizes)}",
        f"network.decoder_hidden_sizes={list(network.decoder_hidden_sizes)}",
    ]
    few = ["ppo.num_envs=16", "ppo.unroll_length=8", "ppo.num_minibatches=2", "ppo.num_steps=256"]
    command = ["train-teacher", "--preset", "vnl_playground", f"run_dir={run}"]
    assert main([*command, *few, *sizes]) == 0
    written = export(run / "teacher", tmp_path / "out", "track-mjx")
    trained, back = load_teacher(run / "teacher"), load_teacher(written)
    assert_equal(back.policy, trained.policy)
    theirs = shapes(source)
    for key in ("mean", "std", "summed_variance"):
        theirs["0"][key].pop("privileged_state", None)
    assert shapes(written) == theirs
    found = config_of(written)
    for section in ("env_config", "train_setup"):
        assert config_of(source)[section].keys() <= found[section].keys()
    # and another training goes on from it
    again = [f"run_dir={tmp_path / 'again'}", f"init_from={written}", "ppo.guidance=0"]
    assert main([*command, *few, *sizes, *again]) == 0
