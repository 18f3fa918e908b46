"""Every mistake of a user: one clear line, exit status 2, and nothing already saved is harmed."""

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.quick_eval import QUICK_EVAL
from tests.toy_run import write_toy_run
from vnl_mjx.cli import main


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory, toy_config):
    folder = tmp_path_factory.mktemp("toy")
    return folder, write_toy_run(folder, toy_config)


@pytest.fixture(scope="module")
def finished(toy_run, distilled):
    """A short finished run, a copy of its own, and its overrides."""
    (own, _), (folder, overrides) = toy_run, distilled
    shutil.copytree(folder / "run", own / "done")
    return own / "done", overrides


def refused(capsys, *argv: str) -> str:
    """Runs the command, which must fail properly; returns its one line."""
    assert main([*argv]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("vnl-mjx: error: "), captured.err
    assert "Traceback" not in captured.out + captured.err
    return lines[0]


def digest(folder) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()


@pytest.mark.parametrize(
    "override, expected",
    [
        ("teacher_config.checkpoint_path=/no/such/folder", "does not exist"),
        ("teacher_config.checkpoint_path={folder}", "no track-mjx checkpoint"),
        ("teacher_config.step=77", "no step 77"),
        ("walker_config.mjcf_path=/no/such/walker.xml", "/no/such/walker.xml"),
        ("walker_config.mjcf_path={folder}/clips.h5", "clips.h5"),
        ("teacher_config.reference_data_path=/no/such/file.h5", "/no/such/file.h5"),
        ("teacher_config.reference_data_path={folder}/teacher", "expected files *.h5"),
        (
            "teacher_config.reference_data_path={folder}/teacher/PPONetwork_0/config/metadata",
            "HDF5",
        ),
        ("training_config.num_env=3", "did you mean training_config.num_envs"),
        ("training_config.num_envs=many", "training_config.num_envs"),
        ("training_config.num_envs=0", "training_config.num_envs"),
        ("training_config.batch_size=7", "divisor"),
        ("training_config.num_steps=1", "at least one update"),
        ("training_config.learning_rate=-1", "learning_rate"),
        ("vae_config.activation=sulu", "silu"),
        ("vae_config.latent_dim=2.5", "latent_dim"),
        ("reference_config.clip_length=6", "needs"),
        ("physics_config.backend=cuda", "mjx"),
        ("training_config.kl_schedule.end_step=9", "is now training_config.kl_weight"),
        ("training_config.loss_terms.smooth.function=no/such.py:smooth", "no/such.py"),
        ("training_config.loss_terms.smooth.weight=2", "loss_terms.smooth.function"),
        ("run_dir=/proc/nothing/here", "run_dir"),
        ("resume=always", "no checkpoint"),
        ("training_config.seed", "key=value"),
    ],
)
def test_bad_configuration(capsys, toy_run, tmp_path, override, expected):
    folder, overrides = toy_run
    line = refused(
        capsys, "distill", *overrides, f"run_dir={tmp_path / 'run'}", override.format(folder=folder)
    )
    assert expected in line


def edit_clips(folder, tmp_path, edit):
    path = tmp_path / "clips.h5"
    shutil.copy(folder / "clips.h5", path)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def put_nan(file):
    file["all_clips/joints"][1, 7, 2] = np.nan


def drop_joints(file):
    joints = file["all_clips/joints"][..., :2]
    del file["all_clips/joints"]
    file["all_clips/joints"] = joints


def drop_dataset(file):
    del file["all_clips/quaternion"]


@pytest.mark.parametrize(
    "edit, expected",
    [(put_nan, "NaN"), (drop_joints, "joints"), (drop_dataset, "quaternion")],
)
def test_bad_clips(capsys, toy_run, tmp_path, edit, expected):
    folder, overrides = toy_run
    path = edit_clips(folder, tmp_path, edit)
    line = refused(
        capsys,
        "distill",
        *overrides,
        f"run_dir={tmp_path / 'run'}",
        f"teacher_config.reference_data_path={path}",
    )
    assert expected in line and "clips.h5" in line


def test_truncated_files(capsys, toy_run, tmp_path):
    folder, overrides = toy_run
    run_dir = f"run_dir={tmp_path / 'run'}"
    clips = tmp_path / "cut.h5"
    clips.write_bytes((folder / "clips.h5").read_bytes()[:3000])
    key = f"teacher_config.reference_data_path={clips}"
    assert "cut.h5" in refused(capsys, "distill", *overrides, run_dir, key)

    teacher = tmp_path / "teacher"
    shutil.copytree(folder / "teacher", teacher)
    (store,) = (teacher / "PPONetwork_0" / "policy").glob("manifest.ocdbt")
    store.write_bytes(store.read_bytes()[:10])
    key = f"teacher_config.checkpoint_path={teacher}"
    assert "damaged" in refused(capsys, "distill", *overrides, run_dir, key)


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            "training_config.learning_rate.value=0.5",
            "training_config.learning_rate.value was 1e-05, now 0.5",
        ),
        ("vae_config.latent_dim=4", "vae_config.latent_dim was 3, now 4"),
        ("training_config.seed=1", "training_config.seed was 0, now 1"),
        ("reference_config.clip_length=20", "cannot resume"),
        ("resume=never", "already holds a run"),
    ],
)
def test_resuming_with_other_settings(capsys, finished, change, expected):
    run_dir, overrides = finished
    before = digest(run_dir)
    assert expected in refused(capsys, "distill", f"run_dir={run_dir}", *overrides, change)
    assert digest(run_dir) == before


def test_resuming_with_other_data(capsys, toy_run, finished, tmp_path):
    folder, _ = toy_run
    run_dir, overrides = finished

    def move(file):
        file["all_clips/joints"][0] += 0.01

    before = digest(run_dir)
    key = f"teacher_config.reference_data_path={edit_clips(folder, tmp_path, move)}"
    line = refused(capsys, "distill", f"run_dir={run_dir}", *overrides, key)
    assert "clips_sha256" in line
    assert digest(run_dir) == before


def test_evaluating_what_is_no_student(capsys, finished, toy_run, tmp_path):
    folder, _ = toy_run
    run_dir, _ = finished
    assert "does not exist" in refused(capsys, "eval", "checkpoint_path=/no/such/run")
    assert "is a teacher, expected a student" in refused(
        capsys, "eval", f"checkpoint_path={folder / 'teacher'}"
    )
    assert "no step 5" in refused(capsys, "eval", f"checkpoint_path={run_dir}", "step=5")


@pytest.mark.slow
def test_a_moved_run_is_evaluated_with_the_clips_given(capsys, finished, toy_run, tmp_path):
    """Its body came with it."""
    folder, _ = toy_run
    run_dir, _ = finished
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(run_dir, moved)
    assert "give clips=FILE" in refused(capsys, "eval", f"checkpoint_path={moved}")
    data = f"clips={folder / 'clips.h5'}"
    assert main(["eval", str(moved), data, *QUICK_EVAL]) == 0
    assert (moved / "report" / "report.html").stat().st_size > 100_000
    shutil.rmtree(moved / "body")
    assert "walker_config.mjcf_path" in refused(capsys, "eval", str(moved), data)


@pytest.mark.slow
def test_a_walker_of_ones_own(capsys, finished, toy_run, toy_config, tmp_path):
    """The same body from another file is the same run; a changed body is another walker."""
    _, overrides = toy_run
    run_dir, short = finished
    text = Path(toy_config.source).read_text()
    copy, heavier = tmp_path / "copy.xml", tmp_path / "heavier.xml"
    copy.write_text(text)
    heavier.write_text(text.replace('density="', 'density="1'))
    assert heavier.read_text() != text
    key = "walker_config.mjcf_path"
    assert main(["distill", f"run_dir={tmp_path / 'own'}", *short, f"{key}={copy}"]) == 0
    document = json.loads((tmp_path / "own" / "config.json").read_text())
    assert document["walker_source"] == "body/copy.xml"  # the run's own copy
    assert main(["eval", str(tmp_path / "own"), *QUICK_EVAL]) == 0
    capsys.readouterr()
    line = refused(capsys, "distill", f"run_dir={run_dir}", *overrides, f"{key}={heavier}")
    assert "walker_sha256" in line
    copy.unlink()
    shutil.rmtree(tmp_path / "own" / "body")
    line = refused(capsys, "eval", f"checkpoint_path={tmp_path / 'own'}")
    assert "walker_config.mjcf_path" in line


def test_a_full_disk(capsys, finished, toy_run, tmp_path, monkeypatch):
    """Found before a byte is written; the next start resumes from what was complete."""
    _, overrides = toy_run
    run_dir, _ = finished
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    usage = shutil.disk_usage(copy)._replace(free=9_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    before = digest(copy / "checkpoints")
    line = refused(capsys, "distill", f"run_dir={copy}", *overrides)
    assert "the disk is full: 9 MB free, 10 MB needed" in line
    assert digest(copy / "checkpoints") == before
