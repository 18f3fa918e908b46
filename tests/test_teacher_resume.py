"""A training of a teacher that is killed and started again ends with the bits of one that was not."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.toy_teacher import NUM_STEPS, toy_overrides
from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.commands.train.run_folder import only_writer
from vnl_mjx.errors import UserError


@pytest.fixture(scope="module")
def toy(tmp_path_factory, toy_config):
    folder = tmp_path_factory.mktemp("toy")
    return folder, toy_overrides(folder, toy_config)


def start(overrides: list[str], run_dir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "vnl_mjx.cli", "train-teacher", f"run_dir={run_dir}"]
    return subprocess.Popen(
        [*command, *overrides], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(overrides: list[str], run_dir: Path) -> str:
    with start(overrides, run_dir) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def steps_in(folder: Path, prefix: str = "") -> list[int]:
    names = [p.name.removeprefix(prefix) for p in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def wait_for_checkpoint(process: subprocess.Popen, run_dir: Path, more_than: int) -> None:
    deadline = time.monotonic() + 500
    while process.poll() is None and time.monotonic() < deadline:
        if steps_in(run_dir / "checkpoints")[-1:] > [more_than]:
            return
        time.sleep(0.01)
    pytest.fail(f"no checkpoint after {more_than}: {process.communicate()[0]}")


def flat(tree, prefix: str = "") -> dict[str, np.ndarray]:
    if not isinstance(tree, dict):
        return {prefix: np.asarray(tree)}
    return {k: v for key, part in tree.items() for k, v in flat(part, f"{prefix}/{key}").items()}


@pytest.mark.slow
def test_kill_and_resume_is_bit_identical(toy):
    folder, overrides = toy
    finish(overrides, folder / "whole")
    generator = random.Random(0)
    killed = folder / "killed"
    for _ in range(2):
        before = (steps_in(killed / "checkpoints") or [0])[-1]
        process = start(overrides, killed)
        wait_for_checkpoint(process, killed, before)
        time.sleep(generator.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if steps_in(killed / "checkpoints")[-1] >= NUM_STEPS - 320:
            break
    assert "resuming at" in finish(overrides, killed)
    for part in ("checkpoints/{}/state", "teacher/PPONetwork_{}/policy"):
        whole, resumed = (
            flat(read_arrays(run / part.format(NUM_STEPS))) for run in (folder / "whole", killed)
        )
        assert whole.keys() == resumed.keys() and len(whole) > 10
        for name, array in whole.items():
            np.testing.assert_array_equal(array, resumed[name], err_msg=name)
    kept = [
        (steps_in(run / "checkpoints"), steps_in(run / "teacher", "PPONetwork_"))
        for run in (folder / "whole", killed)
    ]
    assert kept[0] == kept[1] and kept[0][0] == kept[0][1]
    lines = (killed / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["env_steps"] for line in lines]
    assert steps == sorted(steps) and steps[-1] == NUM_STEPS


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_save_and_stop(toy, number, status):
    folder, overrides = toy
    run_dir = folder / number.name
    process = start([*overrides, "ppo.num_steps=100000000"], run_dir)
    wait_for_checkpoint(process, run_dir, 0)
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    assert "Traceback" not in output
    last = steps_in(run_dir / "checkpoints")[-1]
    assert f"saved at {last:,} environment steps" in output
    assert steps_in(run_dir / "teacher", "PPONetwork_")[-1] == last


@pytest.mark.slow
def test_the_gpu_s_back_end_trains_here_too(toy):
    folder, overrides = toy
    few = ["physics_config.backend=mjx", "ppo.num_steps=64", "eval_config.interval_steps=0"]
    output = finish([*overrides, *few], folder / "mjx")
    assert "64/64 steps (100%)" in output
    assert steps_in(folder / "mjx" / "teacher", "PPONetwork_") == [64]


def test_a_folder_has_one_writer(tmp_path):
    """TRIALS T5: another training in the same folder is refused until the first one ends."""
    with only_writer(tmp_path):
        with (
            pytest.raises(UserError, match="another training is writing to"),
            only_writer(tmp_path),
        ):
            pass
    with only_writer(tmp_path):
        pass
