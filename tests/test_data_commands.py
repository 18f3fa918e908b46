"""`vnl-mjx preprocess`, `clips` and `gait` as a user types them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.toy_run import write_toy_run
from vnl_mjx import cli
from vnl_mjx.clips.container import FEATURES, check_some_to_train
from vnl_mjx.clips.file import open_clip_file
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import build_walker

FIXTURES = Path(__file__).parent / "fixtures"
TOY = FIXTURES / "toy_walker.xml"
BODY = [
    "source_config.rate_hz=50",
    f"walker_config.mjcf_path={TOY}",
    "walker_config.end_effector_names=[foot_front,foot_back]",
    "quality_config.penetration_mm=null",
]


@pytest.fixture
def recording(toy_walker, tmp_path) -> Path:
    """150 frames of the toy walker as a bare array."""
    seconds = np.arange(150) / 50.0
    qpos = np.tile(toy_walker.model.qpos0, (150, 1))
    qpos[:, 7:] += 0.2 * np.sin(2 * np.pi * seconds)[:, None]
    qpos[:, 0] += 0.1 * seconds
    np.save(tmp_path / "day.npy", qpos)
    return tmp_path / "day.npy"


@pytest.fixture
def clips(recording, capsys) -> Path:
    """That recording as three clips of a second."""
    path = recording.with_name("clips.h5")
    arguments = [str(recording), str(path), *BODY, "segmentation_config.clip_s=1"]
    assert cli.main(["preprocess", *arguments]) == 0
    capsys.readouterr()
    return path


def refusal(capsys, *arguments: object) -> str:
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def run(*arguments: object) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


def read(path: Path, walker):
    return read_clips(path, walker)


def test_preprocess_writes_clips_and_an_account(recording, toy_walker, capsys):
    output = recording.with_name("clips.h5")
    run("preprocess", recording, output, *BODY, "segmentation_config.clip_s=1")
    shown = capsys.readouterr().out
    assert "3 clips, 150 frames" in shown
    assert {p.name for p in recording.parent.iterdir()} == {
        "day.npy",
        "clips.h5",
        "clips.quality.json",
        "clips.quality.png",
    }
    account = json.loads(recording.with_name("clips.quality.json").read_text())
    assert [piece["status"] for piece in account["pieces"]] == ["kept"] * 3
    assert read(output, toy_walker).num_clips == 3


def test_show_config_is_a_file_that_config_reads(recording, capsys, tmp_path):
    run("preprocess", "--show-config", "segmentation_config.clip_s=2")
    (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
    run("preprocess", "--config", tmp_path / "mine.yaml", "--show-config")
    assert "clip_s: 2.0" in capsys.readouterr().out


def test_mistakes_get_one_line_and_leave_nothing(recording, clips, capsys, tmp_path):
    before = {p.name for p in tmp_path.iterdir()}
    new = tmp_path / "new.h5"
    assert "at least one file to read" in refusal(capsys, "preprocess", recording)
    assert "exists" in refusal(capsys, "preprocess", recording, clips, *BODY)
    assert "also an input" in refusal(capsys, "preprocess", clips, clips, "--overwrite", *BODY)
    assert ".h5 file" in refusal(capsys, "preprocess", recording, tmp_path / "x.txt", *BODY)
    assert "source_config.rate_hz" in refusal(capsys, "preprocess", recording, new, *BODY[1:])
    assert "no such file" in refusal(capsys, "preprocess", tmp_path / "no.npy", new, *BODY)
    rate = "source_config.rate_hz=50"
    assert "joints" in refusal(capsys, "preprocess", recording, new, rate)  # the rodent
    assert "did you mean" in refusal(
        capsys, "preprocess", recording, new, "segmentation_config.clip=1"
    )
    assert "overlap_s" in refusal(
        capsys,
        "preprocess",
        recording,
        new,
        "segmentation_config.clip_s=1",
        "segmentation_config.overlap_s=1",
    )
    assert "no folder" in refusal(capsys, "preprocess", recording, tmp_path / "no" / "x.h5", *BODY)
    assert "no clip was kept" in refusal(
        capsys, "preprocess", recording, new, *BODY, "segmentation_config.clip_s=60"
    )
    body = ["--mjcf", TOY]
    assert "clips out of 0 ... 2" in refusal(
        capsys, "clips", "select", clips, new, "--clips", "0,7", *body
    )
    assert "no clip of clips.h5 is left" in refusal(
        capsys, "clips", "select", clips, new, "--names", "x*", *body
    )
    assert "found '2-x'" in refusal(capsys, "clips", "select", clips, new, "--clips", "2-x")
    assert "--seconds" in refusal(capsys, "clips", "split", clips, new)
    assert "-0.15 to 0.7" in refusal(capsys, "gait", new, "--speed", "9")
    assert "TIME:SPEED:TURN" in refusal(capsys, "gait", new, "--profile", "1,2")
    with h5py.File(clips, "r+") as file:  # as before clip files kept their body
        del file["body"]
    assert "--mjcf" in refusal(capsys, "clips", "split", clips, new, "--seconds", "0.5")
    report = {"new.quality.json", "new.quality.png"}  # says why no clip was kept
    assert {p.name for p in tmp_path.iterdir()} == before | report


def test_folders_and_patterns_are_inputs(recording, toy_walker, tmp_path, capsys):
    for day in ("mon", "tue"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "rat.npy").write_bytes(recording.read_bytes())
        (tmp_path / day / "notes.txt").write_text("no recording")
    run("preprocess", tmp_path / "mon", tmp_path / "tue", tmp_path / "folders.h5", *BODY)
    run("preprocess", tmp_path / "*" / "*.npy", tmp_path / "pattern.h5", *BODY)
    for name in ("folders.h5", "pattern.h5"):
        found = read(tmp_path / name, toy_walker)
        assert [info.source for info in found.info] == ["mon/rat.npy", "tue/rat.npy"]
    (tmp_path / "empty").mkdir()
    for wrong in (tmp_path / "empty", tmp_path / "*.nwb"):
        assert "no recording there" in refusal(
            capsys, "preprocess", wrong, tmp_path / "new.h5", *BODY
        )


def test_split_and_merge_are_inverse(clips, toy_walker, tmp_path, capsys):
    parts, whole, body = tmp_path / "parts.h5", tmp_path / "whole.h5", ["--mjcf", TOY]
    run("clips", "split", clips, parts, "--seconds", "0.3", "--min-seconds", "0.02", *body)
    found = read(parts, toy_walker)
    assert found.num_clips == 12
    run("clips", "merge", clips, parts, whole, *body)
    assert "same recording" not in capsys.readouterr().out
    run("clips", "merge", clips, clips, tmp_path / "twice.h5", *body)
    said = " ".join(capsys.readouterr().out.split())  # TRIALS T22
    assert f"{clips} and {clips} are the same recording" in said
    merged = read(whole, toy_walker)
    original = read(clips, toy_walker)
    assert merged.num_clips == 15 and len(set(merged.names)) == 15
    for name in FEATURES:
        both = np.concatenate([np.asarray(getattr(original, name))] * 2)
        np.testing.assert_array_equal(np.asarray(getattr(merged, name)), both, err_msg=name)


def test_select_keeps_quality_and_history(clips, toy_walker, tmp_path):
    run("clips", "select", clips, tmp_path / "some.h5", "--clips", "2,0", "--mjcf", TOY)
    with open_clip_file(clips) as before, open_clip_file(tmp_path / "some.h5") as after:
        assert after.names == (before.names[2], before.names[0])
        for name, values in before.quality.items():
            np.testing.assert_array_equal(after.quality[name], values[[2, 0]])
        assert after.metadata["history"][0]["options"] == before.metadata["options"]
        assert str(tmp_path) not in json.dumps(after.metadata)


def test_mirror_adds_and_twice_is_the_original(clips, toy_walker, tmp_path):
    both, only, again = (tmp_path / f"{name}.h5" for name in ("both", "only", "again"))
    run("clips", "mirror", clips, both, "--mjcf", TOY)
    assert read(both, toy_walker).num_clips == 6
    run("clips", "mirror", clips, only, "--only", "--mjcf", TOY)
    run("clips", "mirror", only, again, "--only", "--mjcf", TOY)
    found, original = read(again, toy_walker), read(clips, toy_walker)
    assert found.names == original.names and found.info == original.info
    for name in FEATURES:
        np.testing.assert_array_equal(getattr(found, name), getattr(original, name), err_msg=name)


def test_recordings_of_one_name_are_told_apart_by_content(recording, clips, toy_walker, capsys):
    """TRIALS T11: two sessions of one file name, preprocessed apart, merged, held out by recording."""
    folder, second = recording.parent, recording.with_name("second.h5")
    np.save(recording, np.load(recording)[:100] + 0.01 * np.eye(1, toy_walker.model.nq))
    run("preprocess", recording, second, *BODY, "segmentation_config.clip_s=1")
    by_recording = ["--by", "recording", "--fraction", "0.5", "--mjcf", TOY]
    merged, marked = folder / "merged.h5", folder / "marked.h5"
    run("clips", "merge", clips, second, merged, "--mjcf", TOY)
    run("clips", "hold-out", merged, marked, *by_recording)
    info = read(marked, toy_walker).info
    assert [one.source for one in info] == ["day.npy"] * 3 + ["second/day.npy"] * 2
    assert sum(one.held_out for one in info) in (2, 3)
    one_recording = refusal(capsys, "clips", "hold-out", clips, folder / "no.h5", *by_recording)
    assert "nothing can be held out" in one_recording


def test_no_run_trains_on_a_file_whose_clips_are_all_held_out(clips, toy_walker, tmp_path):
    """TRIALS T12."""
    marked = tmp_path / "marked.h5"
    run("clips", "hold-out", clips, marked, "--names", "*", "--mjcf", TOY)
    with pytest.raises(UserError, match="all of its 3 clips are marked as held out"):
        check_some_to_train(read(marked, toy_walker))
    check_some_to_train(read(clips, toy_walker))


@pytest.mark.slow
def test_marks_are_kept_to_by_a_run(toy_config, toy_walker, tmp_path, capsys):
    overrides = write_toy_run(tmp_path, toy_config)
    marked = tmp_path / "marked.h5"
    arguments = ["--fraction", "0.5", "--seed", "4", "--mjcf", str(toy_config.source)]
    run("clips", "hold-out", tmp_path / "clips.h5", marked, *arguments)
    wanted = [i for i, info in enumerate(read(marked, toy_walker).info) if info.held_out]
    assert len(wanted) == 2
    overrides.append(f"teacher_config.reference_data_path={marked}")
    steps = ["training_config.num_steps=32", "checkpoint_config.interval_steps=32"]
    run("distill", f"run_dir={tmp_path / 'run'}", *overrides, *steps)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["identity"]["split"]["held_out"] == wanted


@pytest.mark.parametrize("layout", ["stac", "all-clips"])
def test_exports_are_read_back(clips, toy_walker, tmp_path, layout):
    exported = tmp_path / "out.h5"
    run("clips", "export", clips, exported, "--to", layout, "--mjcf", TOY)
    found, original = read_clips(exported, toy_walker, rate_hz=50.0), read(clips, toy_walker)
    np.testing.assert_array_equal(found.qpos(), original.qpos())
    np.testing.assert_array_equal(found.lengths, original.lengths)


def test_gait_makes_labelled_clips(tmp_path, capsys):
    output = tmp_path / "gait.h5"
    run("gait", output, "--speed", "0.2", "--seconds", "1", "--clips", "2")
    assert "synthetic" in capsys.readouterr().out
    walker = build_walker(WalkerConfig())
    found = read(output, walker)
    assert found.num_clips == 2 and all("synthetic" in info.made_by for info in found.info)
    assert {info.label for info in found.info} == {"walk"}
    run("clips", "hold-out", output, tmp_path / "marked.h5", "--fraction", "0.5")
    marked = read(tmp_path / "marked.h5", walker)
    assert sum(info.held_out for info in marked.info) == 1  # clips of one file are not one clip
    again = tmp_path / "again.h5"
    run("gait", again, "--speed", "0.2", "--seconds", "1", "--clips", "2")
    np.testing.assert_array_equal(read(again, walker).qpos(), found.qpos())


def test_sigterm_leaves_nothing_half_written(tmp_path):
    output = tmp_path / "gait.h5"
    command = [sys.executable, "-m", "vnl_mjx.cli", "gait", str(output), "--suite"]
    deadline = time.monotonic() + 60
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert list(tmp_path.iterdir()), "nothing was begun"
            process.terminate()
            process.wait(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_a_finalizer_is_not_lost():
    class Finalized:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    started = time.monotonic()
    with pytest.raises(SystemExit), terminate_cleanly():
        Finalized()
        time.sleep(30)
    assert time.monotonic() - started < 20
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_does_not_interrupt_the_cleaning_up():
    cleaned = []
    with pytest.raises(SystemExit), terminate_cleanly():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        finally:
            with contextlib.suppress(KeyError):
                {}["nothing"]
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)
            cleaned.append(True)
    assert cleaned
