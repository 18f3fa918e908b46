"""Several processes as one run: whom they find, what they agree on, and one set of files in the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK_COMPILING
from toy_run import write_toy_run

from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.commands.train import processes
from vnl_mjx.commands.train.processes import Launch, find_launch, training_mesh
from vnl_mjx.errors import UserError

STEPS_PER_UPDATE = 32
BY_HAND = {"JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3", "JAX_COORDINATOR_ADDRESS": "a:1"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "16"}
MPIRUN = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
}


@pytest.mark.parametrize(
    "environ, found",
    [
        ({}, None),
        (BY_HAND, Launch(4, 3, "a:1")),
        (BY_HAND | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, None),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a script of sbatch: no step
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"}, None),  # a shell within a job
        (SRUN, Launch(16, 1, None)),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "1(x16)", "CUDA_VISIBLE_DEVICES": "0,1"}, Launch(16, 1, None)),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "0"}, Launch(16, 1, None)),
        (
            SRUN | {"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "0,1"},
            Launch(16, 1, None, one_gpu_each=True),
        ),
        (MPIRUN | {"OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1:1"}, Launch(2, 0, None)),
        (MPIRUN | {"JAX_COORDINATOR_ADDRESS": "a:1"}, Launch(2, 0, "a:1")),
    ],
)  # fmt: skip
def test_the_launchers_variables_are_read(environ, found):
    assert find_launch(environ) == found


@pytest.mark.parametrize(
    "environ, message",
    [
        (BY_HAND | {"JAX_PROCESS_ID": "4"}, r"JAX_PROCESS_ID: expected 0 ... 3, found 4"),
        ({"JAX_NUM_PROCESSES": "4"}, "JAX_PROCESS_ID: expected a whole number, found nothing"),
        (
            {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"},
            "JAX_COORDINATOR_ADDRESS: expected host:port of the first of the 2",
        ),
        (MPIRUN, "JAX_COORDINATOR_ADDRESS: expected host:port"),  # Open MPI 5 names no machine
    ],
)
def test_variables_that_do_not_fit_are_named(environ, message):
    with pytest.raises(UserError, match=message):
        find_launch(environ)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:port"])
def test_an_address_of_nobody_is_one_error(monkeypatch, address):
    for name, value in (BY_HAND | {"JAX_COORDINATOR_ADDRESS": address}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"process 3 of 4: cannot join the others at {address}"):
        processes.join()


def test_one_process_agrees_with_itself():
    assert processes.is_first() and processes.highest(15) == 15
    assert processes.of_first("runs/rät") == "runs/rät"
    assert processes.number_of_first(10**12) == 10**12
    assert processes.number_of_first(None) is None
    with pytest.raises(UserError, match="disk"):
        processes.first_does(lambda: (_ for _ in ()).throw(UserError("disk")))


@pytest.mark.parametrize(
    "wanted, num_envs, rows, found, size",
    [(None, 16, 32, 8, 8), (None, 12, 32, 8, 4), (None, 16, 32, 3, 2), (6, 12, 32, 8, 6)],
)
def test_as_many_devices_as_can_share_the_environments(
    monkeypatch, wanted, num_envs, rows, found, size
):
    monkeypatch.setattr(processes, "environment_mesh", lambda n: n)
    monkeypatch.setattr(processes.jax, "devices", lambda: [None] * found)
    assert training_mesh(wanted, num_envs, rows, "ppo.num_envs") == size


def test_environments_that_cannot_be_shared_are_named(monkeypatch):
    monkeypatch.setattr(processes, "environment_mesh", lambda n: n)
    message = r"divisor of ppo.num_envs = 8, found 3; give ppo.num_envs=9, or num_devices=2"
    with pytest.raises(UserError, match=message):
        training_mesh(3, 8, 32, "ppo.num_envs")


def start(arguments: list[str], num_devices: int, **variables: str) -> subprocess.Popen:
    flags = f"{QUICK_COMPILING} --xla_force_host_platform_device_count={num_devices}"
    return subprocess.Popen(
        [sys.executable, "-m", "vnl_mjx.cli", "distill", *arguments],
        env=os.environ | {"XLA_FLAGS": flags} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(arguments: list[str]) -> list[subprocess.Popen]:
    """Two processes of two devices each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    variables = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [start(arguments, 2, **variables, JAX_PROCESS_ID=str(i)) for i in range(2)]


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def checkpoints(run_dir: Path) -> list[int]:
    return sorted(int(p.name) for p in run_dir.glob("checkpoints/*") if p.name.isdigit())


def wait_for_checkpoint(running: list[subprocess.Popen], run_dir: Path) -> None:
    deadline = time.monotonic() + 300
    while not checkpoints(run_dir):
        if time.monotonic() > deadline or any(p.poll() is not None for p in running):
            for process in running:
                process.kill()
            pytest.fail("".join(process.communicate()[0] for process in running))
        time.sleep(0.02)


def largest_difference(run_dir: Path, other: Path, env_steps: int) -> float:
    """Of the parameters of two students at the same step."""
    ours, theirs = (
        read_arrays(folder / "checkpoints" / str(env_steps) / "student")
        for folder in (run_dir, other)
    )
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)


@pytest.fixture(scope="module")
def toy(tmp_path_factory, toy_config) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("toy")
    every_update = [
        f"checkpoint_config.interval_steps={STEPS_PER_UPDATE}",
        "training_config.learning_rate=1e-3",  # the same however long the run is to be
        f"logging_config.interval_steps={STEPS_PER_UPDATE}",
        "checkpoint_config.keep_last=100",
        "eval_config.num_episodes=1",
    ]
    return folder, [*write_toy_run(folder, toy_config), *every_update]


@pytest.fixture(scope="module")
def stopped(toy) -> tuple[Path, int, list[str]]:
    """A run of two processes, of which the second was told to stop: folder, step and what they said."""
    folder, overrides = toy
    run_dir = folder / "two"
    running = start_two([f"run_dir={run_dir}", *overrides])
    wait_for_checkpoint(running, run_dir)
    running[1].send_signal(signal.SIGTERM)
    outputs = [finish(process) for process in running]
    return run_dir, checkpoints(run_dir)[-1], outputs


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_after_the_same_update(stopped):
    run_dir, env_steps, (first, second) = stopped
    assert "4 devices (cpu), 2 environments each" in first
    assert f"stopped by SIGTERM, saved at {env_steps:,} environment steps" in first
    # Gloo's threads write into each other's lines.
    assert not [line for line in second.splitlines() if "peer ranks" not in line]
    names = {path.name for path in run_dir.iterdir()}
    assert names == {".lock", "body", "checkpoints", "config.json", "metrics.jsonl"}
    assert len((run_dir / "metrics.jsonl").read_text().splitlines()) == env_steps / STEPS_PER_UPDATE


@pytest.mark.slow
def test_the_run_goes_on_in_one_process_with_any_number_of_devices(stopped, toy):
    run_dir, env_steps, _ = stopped
    folder, overrides = toy
    for num_devices in (1, 4):
        env_steps += STEPS_PER_UPDATE
        arguments = [f"run_dir={run_dir}", *overrides, f"training_config.num_steps={env_steps}"]
        output = finish(start(arguments, num_devices))
        assert f"resuming at {env_steps - STEPS_PER_UPDATE:,}" in output
    whole = folder / "whole"
    finish(start([f"run_dir={whole}", *overrides, f"training_config.num_steps={env_steps}"], 1))
    # Adam divides by small numbers: sums in another order move parameters by up to half its step, 1e-3.
    for steps in checkpoints(whole):
        assert largest_difference(run_dir, whole, steps) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_gone_takes_the_other_with_it(toy, victim):
    folder, overrides = toy
    run_dir = folder / f"without_{victim}"
    running = start_two([f"run_dir={run_dir}", *overrides])
    wait_for_checkpoint(running, run_dir)
    running[victim].kill()
    killed = time.monotonic()
    for process in running:
        process.communicate(timeout=processes.HEARTBEAT_TIMEOUT_S + 60)
    assert running[1 - victim].returncode != 0
    assert time.monotonic() - killed < processes.HEARTBEAT_TIMEOUT_S + 30
