"""The Slurm example: what it submits exists, and a run that was stopped goes back into the queue."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from vnl_mjx.commands.compile_cache import CACHE_VARIABLE
from vnl_mjx.config.loading import load_distillation_config

SCRIPT = Path(__file__).parents[1] / "examples" / "slurm" / "train_vae.sbatch"


@pytest.fixture
def submit(tmp_path):
    """Runs the script with a Slurm that notes its calls; `finished`: the run gets to its end."""

    def run(*arguments: str, finished: bool = True, status: int = 0) -> tuple[int, list[list[str]]]:
        bin_folder, calls = tmp_path / "bin", tmp_path / "calls"
        bin_folder.mkdir()
        done = "mkdir -p runs/vae-7/eval; touch runs/vae-7/eval/metrics.json" if finished else ":"
        for name, then in {"srun": f"{done}; exit {status}", "scontrol": ":"}.items():
            command = bin_folder / name
            command.write_text(f'#!/bin/bash\nprintf "%s\\n" {name} "$@" "" >> "{calls}"\n{then}\n')
            command.chmod(0o755)
        variables = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
        environ = {k: v for k, v in os.environ.items() if k != "RUN_DIR"}
        done = subprocess.run(["bash", SCRIPT, *arguments], cwd=tmp_path, env=environ | variables)
        return done.returncode, [call.splitlines() for call in calls.read_text().split("\n\n")[:-1]]

    return run


def test_it_submits_a_command_with_keys_that_exist(submit):
    status, [srun] = submit("training_config.num_steps=5e8")
    assert status == 0
    command = srun[srun.index("vnl-mjx") :]
    assert command[:2] == ["vnl-mjx", "distill"]
    config = load_distillation_config(command[2:])
    assert (config.run_dir, config.resume, config.device) == ("runs/vae-7", "auto", "gpu")
    assert config.num_steps == 500_000_000
    assert f"export {CACHE_VARIABLE}=" in SCRIPT.read_text()


def test_its_environments_can_be_shared_by_its_gpus():
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)", SCRIPT.read_text(), re.MULTILINE))
    num_gpus = int(options["nodes"]) * int(options["gpus-per-node"])
    [num_envs] = re.findall(r"training_config\.num_envs=(\d+)", SCRIPT.read_text())
    assert options["ntasks-per-node"] == "1"
    assert int(num_envs) % num_gpus == 0


@pytest.mark.parametrize("ended", [0, 143])  # 143: SIGTERM while Python was starting
def test_a_stopped_run_is_requeued(submit, ended):
    status, calls = submit(finished=False, status=ended)
    assert status == 0
    assert calls[1:] == [["scontrol", "requeue", "7"]]


def test_a_failed_run_is_not_requeued(submit):
    status, calls = submit(finished=False, status=2)
    assert status == 2
    assert [call[0] for call in calls] == ["srun"]
