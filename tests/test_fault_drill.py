"""The fault drill, very small: one training, few faults of each kind; TRIALS T4, T5, T8, T19, T20, T23."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fault_drill.py"


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
    drills = ["kills", "disk", "damage", "one_writer", "clock"]
    options = ["--kinds=distill", "--kills=2", "--times=1", "--work", tmp_path / "work"]
    command = [sys.executable, SCRIPT, *drills, *options, "--json", tmp_path / "found.json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["name"]: row for row in json.loads((tmp_path / "found.json").read_text())}
    assert found["kills distill"]["attempts"] == 2
    for name, row in found.items():
        assert row["attempts"] or row["notes"], name
