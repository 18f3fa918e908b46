"""Environments on several devices: the same training, and nothing exchanged but sums."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import QUICK_COMPILING

from vnl_mjx import devices
from vnl_mjx.errors import UserError

SCRIPT = Path(__file__).parent / "on_devices.py"
EXCHANGES = ("all-gather", "all-to-all", "collective-permute")


@pytest.fixture(scope="module")
def report() -> dict:
    """One update on one device against eight."""
    flags = f"{QUICK_COMPILING} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, SCRIPT, "mujoco", "1"],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["distillation", "ppo"])
def test_eight_devices_do_what_one_does(report, trainer):
    found = report[trainer]
    assert found["rollout"] < 1e-4  # sums over environments, in another order
    assert found["learning"] < 1e-3
    assert found["params"] < 1e-3  # several steps of Adam, which divides by small numbers
    assert found["split"] > 10  # arrays of the state that lie on eight devices, an eighth on each


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["distillation", "ppo"])
def test_devices_exchange_sums_only(report, trainer):
    assert report[trainer]["exchanges"]["all-reduce"] > 0
    assert [report[trainer]["exchanges"][name] for name in EXCHANGES] == [0, 0, 0]


def test_a_mesh_has_as_many_devices_as_there_are():
    assert devices.environment_mesh(1).size == 1
    assert devices.environment_mesh().size == len(jax.devices())
    for wanted in (0, len(jax.devices()) + 1):
        with pytest.raises(UserError, match=f"num_devices: expected 1 ... .* found {wanted}"):
            devices.environment_mesh(wanted)


def test_what_is_as_long_as_there_are_environments_is_split():
    mesh = devices.single_device()
    tree = {"envs": jnp.zeros((6, 2)), "clips": jnp.zeros(4), "scalar": jnp.float32(0), "none": ()}
    placed = devices.by_environment(tree, mesh, 6)
    assert placed["envs"] == devices.split(mesh) != devices.replicated(mesh)
    assert placed["clips"] == placed["scalar"] == devices.replicated(mesh)


def test_one_device_needs_no_spreading():
    assert devices.sharded(np.sin, devices.single_device()) is np.sin
