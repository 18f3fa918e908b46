"""The fault drill, very small: one training, few faults of each kind; TRIALS T4, T5, T8, T19, T20, T23."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from vnl_mjx.utils.vae_checkpointing import open_vae_checkpointer

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fault_drill.py"


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    drills = ["kills", "disk", "disk_writes", "damage", "one_writer", "clock"]
    options = ["--kinds=distill", "--kills=2", "--times=1", "--work", tmp_path / "work"]
    command = [sys.executable, SCRIPT, *drills, *options, "--json", tmp_path / "found.json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["name"]: row for row in json.loads((tmp_path / "found.json").read_text())}
    assert found["kills distill"]["attempts"] == 2
    for name, row in found.items():
        assert row["attempts"] or row["notes"], name


@pytest.mark.parametrize("damage", [b"\xce{", b"{", b"\0\0", b"[]"])
def test_a_damaged_metric_costs_no_checkpoint(tmp_path, damage, caplog):
    """T19: it ranks a checkpoint, and no more."""
    items = {"student": {"a": np.ones(3)}, "teacher": {"a": np.ones(3)}}
    with closing(open_vae_checkpointer(tmp_path)) as checkpointer:
        checkpointer.save(32, {"a": np.ones(3)}, {"config": {}}, metric=0.5, items=items)
    (tmp_path / "checkpoints" / "32" / "metrics" / "metrics").write_bytes(damage)
    with closing(open_vae_checkpointer(tmp_path)) as checkpointer:
        assert checkpointer.latest_step() == 32
        checkpointer.rank(32, 0.25)  # as after an evaluation
    assert "its metric is damaged" in caplog.text
