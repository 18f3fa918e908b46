"""What trials with realistic use met: each row of TRIALS is named by a test; here are those that held."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from preprocess_helpers import motion
from toy_run import write_toy_run

from vnl_mjx.cli import main
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.hdf5 import read_clips, write_clips
from vnl_mjx.commands.train import training_run
from vnl_mjx.config.loading import load_distillation_config
from vnl_mjx.demo import DEMO_CLIPS

TESTS = Path(__file__).parent
TOY = str(TESTS / "fixtures" / "toy_walker.xml")
ROWS = [f"T{number}" for number in range(1, 24)]


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_named_by_a_test(row):
    """A docstring names it: "TRIALS T5", or several rows after the word."""
    named = re.compile(rf'"""(?:TRIALS )?[^"]*\b{row}\b')
    files = [path for path in TESTS.glob("test_*.py") if path != Path(__file__)]
    own = [] if row not in ("T4", "T23") else [Path(__file__)]
    assert any(named.search(path.read_text()) for path in (*files, *own))


def test_two_runs_of_one_second_have_their_own_folders(monkeypatch, tmp_path):
    """TRIALS T4: jobs of an array, which begin together without run_dir."""
    folders: list[Path] = []
    fake = SimpleNamespace(execute=lambda: 0)
    monkeypatch.setattr(training_run, "TrainingRun", lambda _, to, __: folders.append(to) or fake)
    monkeypatch.setattr(training_run.time, "strftime", lambda *_: "20261129-000000")
    for process in (101, 102):
        monkeypatch.setattr(training_run.os, "getpid", lambda number=process: number)
        assert training_run.train(load_distillation_config([])) == 0
    assert len(set(folders)) == 2


# --- held: environments -------------------------------------------------------------------------


HOSTILE = {
    "HOME": "/proc/nothing",
    "XDG_CACHE_HOME": "/proc/nothing",
    "TMPDIR": "/nowhere",
    "TERM": "dumb",
    "COLUMNS": "10",
    "NO_PROXY": "",
    "https_proxy": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "VNL_MJX_CACHE": "/proc/nothing",
}


@pytest.mark.parametrize("locale", ["C", "tr_TR.UTF-8"])
def test_a_hostile_environment_costs_nothing(tmp_path, locale):
    """TRIALS T23: no home, cache, temporary folder or network; a dumb terminal of 10 columns; python -O."""
    out = tmp_path / "é.h5"
    program = [sys.executable, "-O", "-X", "utf8=0", "-m", "vnl_mjx.cli"]
    environment = os.environ | HOSTILE | {"LC_ALL": locale, "PYTHONPATH": str(TESTS.parent)}
    for words in (
        ["clips", "split", DEMO_CLIPS, out, "--seconds", "2"],
        ["inspect", "--json", out],
    ):
        done = subprocess.run(
            [*program, *words], env=environment, capture_output=True, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    assert b'"' in done.stdout and out.is_file()


def test_a_working_folder_that_is_gone_gets_one_line_or_nothing(tmp_path):
    """TRIALS T23."""
    gone = tmp_path / "gone"
    script = "import os, sys; os.mkdir(sys.argv[1]); os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
    script += "from vnl_mjx.cli import main; sys.exit(main(['inspect', sys.argv[2]]))"
    words = [sys.executable, "-P", "-c", script, str(gone), str(DEMO_CLIPS)]
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr


# --- held: recordings ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def poses(toy_walker):
    return motion(toy_walker, 200)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "longdouble"])
def test_any_precision_is_read(toy_walker, poses, tmp_path, kind):
    """TRIALS T23."""
    found = preprocessed(toy_walker, tmp_path, qpos=poses.astype(kind))
    atol = 2e-3 if kind == "float16" else 1e-5
    np.testing.assert_allclose(found, poses, atol=atol)


@pytest.mark.parametrize("rate", [30.0, 100.0, 120.0])
def test_other_rates_are_resampled(toy_walker, poses, tmp_path, rate):
    """TRIALS T23."""
    found = preprocessed(toy_walker, tmp_path, qpos=poses, rate_hz=rate)
    assert len(found) == pytest.approx(200 * 50 / rate, abs=1.5)


def test_signs_gaps_and_the_order_of_names_change_nothing(toy_walker, poses, tmp_path):
    """TRIALS T23."""
    changed = poses.copy()
    changed[::2, 3:7] *= -1
    changed[50:52] = np.nan
    order = [*range(7), *reversed(range(7, poses.shape[1]))]
    names = [*reversed(toy_walker.joint_names)]
    found = preprocessed(toy_walker, tmp_path, qpos=changed[:, order], joint_names=np.array(names))
    np.testing.assert_allclose(np.abs(found[:, 3:7]), np.abs(poses[:, 3:7]), atol=1e-2)
    np.testing.assert_allclose(found[:, 7:], poses[:, 7:], atol=1e-2)


def preprocessed(walker, folder, **arrays):
    names = np.array(walker.joint_names)
    np.savez(folder / "in.npz", **({"rate_hz": 50.0, "joint_names": names} | arrays))
    words = ["preprocess", folder / "in.npz", folder / "out.h5", f"walker_config.mjcf_path={TOY}"]
    assert main([*map(str, words), "quality_config.frozen_s=100"]) == 0
    return np.asarray(read_clips(folder / "out.h5", walker).qpos())


@pytest.mark.slow
def test_twenty_thousand_clips(toy_walker, poses, tmp_path, capsys):
    """TRIALS T23."""
    many = np.tile(poses, (200, 1))
    write_clips(tmp_path / "many.h5", clips_from_poses(toy_walker, many, [2] * 20_000, 50.0))
    assert main(["inspect", "--json", str(tmp_path / "many.h5")]) == 0
    assert "20000" in json.dumps(json.loads(capsys.readouterr().out))


@pytest.mark.slow
def test_the_smallest_student_trains(toy_config, tmp_path):
    """TRIALS T23: one environment, a latent of 1, KL weight 0, no hidden layers."""
    small = ["num_envs=1", "batch_size=4", "num_steps=8", "kl_weight=0"]
    layers = [f"vae_config.{name}_hidden_sizes=[]" for name in ("encoder", "decoder", "prior")]
    settings = [*write_toy_run(tmp_path, toy_config), *(f"training_config.{one}" for one in small)]
    settings += [*layers, "vae_config.latent_dim=1", f"run_dir={tmp_path / 'run'}"]
    assert main(["distill", *settings]) == 0
