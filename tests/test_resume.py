"""A run that is killed and started again ends with the same bits as one that never was."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import users_environment

from tests.toy_run import write_toy_run
from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import main
from vnl_mjx.commands.train.distillation import Distillation
from vnl_mjx.commands.train.run_folder import read_metrics


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory, toy_config):
    folder = tmp_path_factory.mktemp("toy")
    return folder, write_toy_run(folder, toy_config)


def start(overrides: list[str], run_dir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "vnl_mjx.cli", "distill", f"run_dir={run_dir}", *overrides]
    return subprocess.Popen(
        command,
        env=users_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(overrides: list[str], run_dir: Path) -> str:
    process = start(overrides, run_dir)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def checkpoints(run_dir: Path) -> list[int]:
    folder = run_dir / "checkpoints"
    return (
        sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
    )


def wait_for_checkpoint(process: subprocess.Popen, run_dir: Path, more_than: int) -> None:
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoints(run_dir)[-1:] > [more_than]:
            return
        time.sleep(0.01)
    pytest.fail(f"no checkpoint after {more_than}: {process.communicate()[0]}")


def final_state(run_dir: Path) -> dict[str, np.ndarray]:
    step = checkpoints(run_dir)[-1]
    assert step == 3200
    return read_arrays(run_dir / "checkpoints" / str(step) / "state")


def rows(run_dir: Path) -> list[int]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["env_steps"] for line in lines]


def strings(document) -> list[str]:
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        return [text for part in document for text in strings(part)]
    return [document] if isinstance(document, str) else []


@pytest.mark.slow
def test_kill_and_resume_is_bit_identical(toy_run):
    folder, overrides = toy_run
    finish(overrides, folder / "whole")
    generator = random.Random(0)
    killed = folder / "killed"
    for _ in range(2):
        before = (checkpoints(killed) or [0])[-1]
        process = start(overrides, killed)
        wait_for_checkpoint(process, killed, before)
        time.sleep(generator.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if checkpoints(killed)[-1] >= 2880:
            break
    output = finish(overrides, killed)
    assert "resuming at" in output
    whole, resumed = final_state(folder / "whole"), final_state(killed)
    assert whole.keys() == resumed.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name], err_msg=name)
    assert rows(killed) == sorted(rows(killed))


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_save_and_stop(toy_run, number, status):
    folder, overrides = toy_run
    run_dir = folder / number.name
    endless = [*overrides, "training_config.num_steps=100000000"]
    process = start(endless, run_dir)
    wait_for_checkpoint(process, run_dir, 0)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    assert "Traceback" not in output
    assert f"saved at {checkpoints(run_dir)[-1]:,} environment steps" in output
    # What a run writes can be copied and shared: no absolute path in any file of it.
    for path in run_dir.rglob("*"):
        assert path.is_dir() or str(folder).encode() not in path.read_bytes(), path
    recorded = strings(json.loads((run_dir / "config.json").read_text()))
    assert not [text for text in recorded if Path(text).is_absolute()]


@pytest.mark.slow
def test_a_signal_ends_an_evaluation(distilled, tmp_path, monkeypatch, capsys):
    """TRIALS T20: what was learnt is saved before, and the evaluation is made up for after."""
    words = ["distill", *distilled[1], "eval_config.interval_steps=32"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main([*words, f"run_dir={whole}"]) == 0
    evaluate = Distillation.evaluate

    def be_stopped(training, *arguments):
        signal.raise_signal(signal.SIGTERM)
        return evaluate(training, *arguments)

    for expected in ("saved at 32", "resuming at 32"):
        with monkeypatch.context() as patched:
            patched.setattr(Distillation, "evaluate", be_stopped)
            assert main([*words, f"run_dir={stopped}"]) == 0
        output = capsys.readouterr().out
        assert expected in output and "stopped by SIGTERM, saved at 32 env" in output
        assert checkpoints(stopped) == [32] and rows(stopped) == [32]
    assert main([*words, f"run_dir={stopped}"]) == 0
    assert evaluations(stopped) == evaluations(whole)
    assert len(evaluations(whole)) == 2


def evaluations(run_dir: Path) -> list[dict]:
    return [row for row in read_metrics(run_dir) if "eval/reward_ratio" in row]
