"""No code runs because a file of somebody else names it: checkpoints, bodies, clip files, arrays, MJCF."""

import json
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from vnl_mjx.cli import main
from vnl_mjx.demo import DEMO_STUDENT, DEMO_TEACHER

DEMO = Path(DEMO_STUDENT).parent
DEMO_CHECKPOINT = next(Path(DEMO_TEACHER).glob("PPONetwork_*")).name
ARM = Path(__file__).parent / "fixtures" / "arm.yaml"
NAMED = ("evil_module:run", "evil_module.py:run", "{}/evil_module.py:run")
REWARD = "reward.terms.own.function"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A working folder, as a user has it who unpacked something foreign: its module leaves a file `ran`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vnl_mjx.extensions._allowed", {})  # as in a new process
    text = f"open({str(tmp_path / 'ran')!r}, 'w')\ndef run(*_, **__):\n    return 0.0\n"
    (tmp_path / "evil_module.py").write_text(text)
    return tmp_path


def planted(document, key, value):
    *folders, last = key.split(".")
    for folder in folders:
        document = document.setdefault(folder, {})
    document[last] = value
    return document


def copied(source, folder, place, key, value):
    """A copy of a bundled checkpoint whose metadata name `value`."""
    shutil.copytree(source, folder)
    shutil.copyfile(DEMO / "clips.h5", folder.parent / "clips.h5")
    file = folder / place
    document = json.loads(file.read_text())
    planted(document, key, value)
    file.write_text(json.dumps(document))
    return folder


STUDENT = (DEMO / "student", "metadata/metadata")
TASK = (DEMO / "joystick", "metadata/metadata")
TEACHER = (DEMO_TEACHER, f"{DEMO_CHECKPOINT}/config/metadata")


@pytest.mark.parametrize(
    "named", [NAMED[0], *(pytest.param(named, marks=pytest.mark.slow) for named in NAMED[1:])]
)
@pytest.mark.parametrize(
    ("stored", "key", "command"),
    [
        (STUDENT, "vae.network", "inspect {}"),
        (STUDENT, "vae.latent", "eval {} video_config.num_clips=0"),
        (STUDENT, f"identity.task.{REWARD}", "view {} --output x.mp4"),
        (STUDENT, f"identity.task.{REWARD}", "export {} out --to npz"),
        (TASK, "identity.goal", "eval-task {} --no-video"),
        (TASK, "identity.goal", "play {}"),
        (TEACHER, f"vnl_mjx.task.{REWARD}", "eval-teacher {}"),
        (TEACHER, "vnl_mjx.task.termination.terms.own.function", "rollout {} out.h5"),
        (TEACHER, f"vnl_mjx.task.{REWARD}", "distill {} run_dir=run"),
        (TEACHER, f"vnl_mjx.task.{REWARD}", "record {} clips.h5 out.h5"),
    ],
)
def test_a_checkpoint_names_code(canary, capsys, stored, key, command, named):
    if command.startswith("play"):
        pytest.importorskip("mjviser", reason="needs the extra viewer")
    source, place = stored
    value = named.format(canary)
    copied(source, canary / "run0", place, key, value)
    assert main(command.format("run0").split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and value in error
    assert f"--allow-code {value.removesuffix(':run')}" in error
    assert not (canary / "ran").exists()


def test_lists_of_observations_and_a_module_of_python_itself_are_no_way_in(canary, capsys):
    attacks = {"proprioception": ["evil_module:run"], REWARD: "os:system"}
    for i, (key, value) in enumerate(attacks.items()):
        source, place = TEACHER
        copied(source, canary / f"run{i}", place, f"vnl_mjx.task.{key}", value)
        assert main(["eval-teacher", f"run{i}"]) == 2
        assert "--allow-code" in capsys.readouterr().err
    assert not (canary / "ran").exists()


def test_code_that_the_user_names_runs(canary, capsys):
    source, place = STUDENT
    copied(source, canary / "run0", place, f"identity.task.{REWARD}", "/lab/evil_module.py:run")
    words = ["export", "run0", "out", "--to", "prior-network"]
    assert main([*words, "--allow-code", "evil_module.py"]) == 0, capsys.readouterr().err


@pytest.fixture
def clip_file(canary, arm, arm_poses, capsys):
    """Writes a clip file of an arm, in whose copy of the body one key is changed."""
    recording, body = canary / "arm.npz", f"walker_config.mjcf_path={ARM}"
    np.savez(recording, qpos=arm_poses, rate_hz=50.0, joint_names=np.array(arm.joint_names))
    assert main(["preprocess", str(recording), "clips.h5", body]) == 0
    capsys.readouterr()
    return lambda key, value: change_body(canary / "clips.h5", key, value)


def change_body(file, key, value):
    with h5py.File(file, "r+") as held:
        place = held["body"].attrs["mjcf"].decode()
        given = yaml.safe_load(held["body"][place][()].tobytes())
        planted(given, key, value)
        del held["body"][place]
        held["body"].create_dataset(
            place, data=np.frombuffer(yaml.safe_dump(given).encode(), np.uint8)
        )


@pytest.mark.parametrize("named", NAMED)
def test_the_body_in_a_clip_file_names_code(canary, clip_file, capsys, named):
    clip_file("task.reward.terms.own.function", named.format(canary))
    assert main(["train-teacher", "clips.h5", "run_dir=run"]) == 2
    assert "--allow-code" in capsys.readouterr().err
    assert not (canary / "ran").exists()


def test_the_body_in_a_clip_file_reads_no_variable_of_the_environment(
    clip_file, capsys, monkeypatch
):
    monkeypatch.setenv("SECRET", "hush")
    clip_file("task.reward.family", "${oc.env:SECRET}")
    assert main(["train-teacher", "clips.h5", "--show-config"]) == 2
    said = capsys.readouterr()
    assert "placeholder" in said.err and "hush" not in said.err + said.out


def test_the_body_in_a_clip_file_reads_no_file_outside_of_it(canary, clip_file, capsys):
    shutil.copyfile(ARM.with_suffix(".xml"), canary / "own.xml")
    clip_file("source", str(canary / "own.xml"))
    assert main(["view", "clips.h5", "--output", "x.mp4"]) == 2
    assert "outside" in capsys.readouterr().err


class Attack:
    def __reduce__(self):
        return open, ("ran", "w")


@pytest.mark.parametrize("name", ["x.pkl", "x.p", "x.npy", "x.npz", "x.yaml"])
def test_arrays_and_yaml_hold_programs(canary, capsys, name):
    held = np.array([Attack()], object)
    if name.endswith(".npy"):
        np.save(name, held, allow_pickle=True)
    elif name.endswith(".npz"):
        np.savez(name, qpos=held)
    elif name.endswith(".yaml"):
        Path(name).write_text("source: !!python/object/apply:os.system ['touch ran']\n")
    else:
        Path(name).write_bytes(pickle.dumps({"qpos": Attack()}))
    (canary / "ran").unlink(missing_ok=True)
    for command in (
        ["preprocess", name, "out.h5"],
        ["fit", name, "out.h5"],
        ["preprocess", "missing.h5", "out.h5", "--config", name],
        ["preprocess", "missing.h5", "out.h5", f"walker_config.mjcf_path={name}"],
    ):
        assert main(command) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (canary / "ran").exists()


def test_an_mjcf_that_asks_for_a_plugin_is_refused(canary, capsys):
    plugin = '<mujoco><extension><plugin plugin="./evil.so"/></extension><worldbody/></mujoco>'
    (canary / "x.xml").write_text(plugin)
    assert main(["body", "x.xml", "x.yaml"]) == 2
    assert "plugin" in capsys.readouterr().err
