"""Damaged inputs of every kind break no rule of `benchmarks/fuzz.py`: 300 of them; 10,000 by hand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent.parent / "benchmarks" / "fuzz.py"


@pytest.mark.slow
def test_300_damaged_inputs_break_no_rule(tmp_path):
    command = [sys.executable, str(FUZZ), "--cases=300", f"--work={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "valid input refused" not in done.stdout
    assert re.search(r"^300 inputs in .* 0 faults of 0 kinds$", done.stdout, re.M), done.stdout
    all_inputs = re.search(r"\| all \| 300 \| (\d+) \| (\d+) \|", done.stdout)
    assert all_inputs and min(map(int, all_inputs.groups())) > 30  # refused, and accepted
