"""Runs that a version before checkpoint format 2 left: they can be read, and not gone on with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vnl_mjx.cli import main
from vnl_mjx.commands.stored import load_stored_student
from vnl_mjx.errors import UserError
from vnl_mjx.utils.vae_checkpointing import load_student


def made_old(run_dir: Path) -> Path:
    """A copy of the run as an older version left it; its training state cannot be used."""
    old = run_dir.with_name(f"{run_dir.name}_old")
    shutil.copytree(run_dir, old)
    for checkpoint in (old / "checkpoints").iterdir():
        shutil.rmtree(checkpoint / "state")
        path = checkpoint / "metadata" / "metadata"
        document = json.loads(path.read_text()) | {"format_version": 1}
        del document["sha256"]  # younger than the format
        for name in ("latent", "network"):
            document.get("vae", {}).pop(name, None)
        path.write_text(json.dumps(document))
    return old


@pytest.fixture(scope="module")
def student(distilled):
    """A run of two updates, the same as an older version left it, and the overrides."""
    folder, overrides = distilled
    return (
        folder / "run",
        made_old(folder / "run"),
        overrides,
    )


def test_an_old_student_is_read(student, capsys):
    run_dir, old, _ = student
    new, read = load_student(run_dir), load_student(old)
    np.testing.assert_equal(read.params, new.params)
    assert read.student.config == new.student.config
    stored = load_stored_student(str(old))
    assert stored.same_clips and stored.task.action_size == new.student.config.action_size
    assert main(["inspect", str(old)]) == 0
    assert "64" in capsys.readouterr().out


def test_an_old_student_s_training_does_not_go_on(student, capsys):
    _, old, overrides = student
    assert main(["distill", f"run_dir={old}", *overrides]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "expected checkpoints of format 2, found format 1" in line
    assert f"vnl-mjx eval {old}" in line and "another run_dir" in line


def test_a_newer_format_is_refused(student, tmp_path):
    run_dir, _, _ = student
    newer = tmp_path / "newer"
    shutil.copytree(run_dir, newer)
    for path in newer.glob("checkpoints/*/metadata/metadata"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 3}))
    with pytest.raises(UserError, match="reads up to 2; update vnl-mjx"):
        load_student(newer)
