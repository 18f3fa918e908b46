"""`vnl-mjx inspect` on real runs, teachers and clip files, and on what is none of these."""

import json
import shutil

import h5py
import numpy as np
import pytest

from vnl_mjx import cli
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.clips.file import write_clip_file
from vnl_mjx.clips.hdf5 import append_clips, write_clips


@pytest.fixture(scope="module")
def toy_run(distilled):
    """A folder with teacher, clips and a finished run of two updates."""
    return distilled[0]


def inspect_json(path, capsys) -> dict:
    capsys.readouterr()
    assert cli.main(["inspect", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(path, capsys) -> str:
    assert cli.main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("part", ["", "checkpoints", "checkpoints/64"])
def test_student(toy_run, part, capsys):
    found = inspect_json(toy_run / "run" / part, capsys)
    assert found["kind"] == "student" and not found["warnings"]
    tables, details = found["tables"], found["details"]
    assert tables["Student"]["environment steps"] == "64"
    assert tables["Student"]["checkpoints here"] == "32, 64"
    assert tables["Student"]["latent"] == "3"
    contract = details["identity"]["observation"]
    assert tables["Observation and action"]["reference_joints"] == (
        "[{}:{}] reference".format(*contract["reference_joints"])
    )
    last = max(stop for _, stop in contract.values())
    assert tables["Observation and action"]["observation"].startswith(f"{last} = ")
    assert tables["Clips"]["file"] == "clips.h5, 4 clips"
    assert details["last_metrics"]["env_steps"] == 64
    assert "loss/total" in tables["Training metrics at the checkpoint"]
    assert tables["Versions"]["mujoco"]


def test_an_earlier_checkpoint_shows_its_own_metrics(toy_run, capsys):
    found = inspect_json(toy_run / "run" / "checkpoints" / "32", capsys)
    assert found["details"]["last_metrics"]["env_steps"] == 32


def test_student_table(toy_run, capsys):
    assert cli.main(["inspect", str(toy_run / "run")]) == 0
    text = capsys.readouterr().out
    assert "Observation and action" in text and "reference_joints" in text


def test_teacher(toy_run, capsys):
    found = inspect_json(toy_run / "teacher", capsys)
    assert found["kind"] == "teacher"
    (rows,) = found["tables"].values()
    assert rows["latent"] == "3" and rows["encoder"] == "16"
    assert found["details"]["network"]["latent_dim"] == 3
    (step,) = (toy_run / "teacher").iterdir()
    assert inspect_json(step, capsys)["details"]["sha256"] == found["details"]["sha256"]


def test_clips(rodent, tmp_path, capsys):
    qpos = np.tile(rodent.model.qpos0, (12, 1))
    clips = clips_from_poses(rodent, qpos, [6, 6], 50.0, names=("rest", "rest_again"))
    write_clips(tmp_path / "clips.h5", clips)
    found = inspect_json(tmp_path / "clips.h5", capsys)
    assert found["kind"] == "clips"
    expected = [{"name": "rest", "frames": 6}, {"name": "rest_again", "frames": 6}]
    assert found["details"]["clips"] == expected
    assert found["tables"]["Reference clips"]["rate"] == "50 Hz"


def test_clips_of_another_body_are_described_with_what_is_needed(toy_run, capsys):
    rows = inspect_json(toy_run / "clips.h5", capsys)["tables"]["Recording"]
    assert rows["joints"].startswith("4: hip_front")
    assert "walker_config.mjcf_path" in rows["walker"]


def test_our_own_clip_file(rodent, tmp_path, capsys):
    qpos = np.tile(rodent.model.qpos0, (6, 1))
    clips = clips_from_poses(rodent, qpos, [6], 50.0, names=("rest",))
    clips = clips.replace(info=(ClipInfo(source="day.h5", made_by="by hand"),))
    with write_clip_file(tmp_path / "clips.h5", rodent, 50.0, {}) as writer:
        append_clips(writer, clips, {"penetration_mm": 1.5})
    found = inspect_json(tmp_path / "clips.h5", capsys)
    rows = found["tables"]["Clip file"]
    assert (rows["clips"], rows["seconds"], rows["from"]) == ("1", "0.1", "day.h5")
    assert "synthetic" in rows["made motion"]
    assert found["tables"]["Quality"]["below the floor, mm (lowest point)"] == "at most 1.5 (rest)"
    assert found["details"]["clips"][0]["made_by"] == "by hand"
    with h5py.File(tmp_path / "clips.h5", "r+") as file:
        file.attrs["rate_hz"] = 0.0
    assert "rate_hz: expected a positive number" in refusal(tmp_path / "clips.h5", capsys)


def test_recorded_files(shared_data, capsys):
    folder = shared_data / "reference"
    found = inspect_json(folder / "rodent_mocap_4x250.h5", capsys)
    assert found["tables"]["Reference clips"]["clips"] == "4"
    assert "marker" in found["tables"]["Recording"]["also stored"]
    arm = inspect_json(folder / "stac_mouse_arm_1clip.h5", capsys)["tables"]["Recording"]
    assert "walker_config.mjcf_path" in arm["walker"] and arm["joints"].startswith("4: ")
    pickled = inspect_json(folder / "stac_rodent_50f.p", capsys)["tables"]["Recording"]
    assert pickled["frames"].startswith("50")
    assert "key points" in refusal(folder / "rodent_keypoints_1000f.mat", capsys)
    found = inspect_json(shared_data / "teacher" / "small_lstm", capsys)
    assert any("never trained" in warning for warning in found["warnings"])


def test_what_is_none_of_these(toy_run, tmp_path, capsys):
    assert "does not exist; expected a run folder" in refusal(tmp_path / "missing", capsys)
    (tmp_path / "notes.txt").write_text("hello")
    assert "is not of a known kind" in refusal(tmp_path / "notes.txt", capsys)
    assert "found a folder with notes.txt" in refusal(tmp_path, capsys)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["measurements/force"] = np.zeros((3, 2))
    assert "found 'measurements'" in refusal(tmp_path / "other.h5", capsys)
    whole = (toy_run / "clips.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refusal(tmp_path / "cut.h5", capsys)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    shutil.copy(toy_run / "run" / "config.json", tmp_path / "run")
    assert "without a complete checkpoint yet" in refusal(tmp_path / "run", capsys)
