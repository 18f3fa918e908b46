"""T19: a damaged newest checkpoint costs the steps since the one before, not the run."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.toy_run import write_toy_run
from tests.track_mjx_checkpoints import NETWORK, upstream_config, write
from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.cli import main
from vnl_mjx.compat.track_mjx_loader import load_teacher
from vnl_mjx.errors import UserError
from vnl_mjx.utils.vae_checkpointing import load_student


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": lambda path: path.unlink(),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "one bit flipped": lambda path: path.write_bytes(flipped(path.read_bytes())),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory, toy_config) -> tuple[Path, list[str]]:
    """A run with checkpoints at 32 and 64 steps, and its overrides."""
    folder = tmp_path_factory.mktemp("toy")
    overrides = [
        *write_toy_run(folder, toy_config),
        "training_config.learning_rate=1e-3",  # the same however long the run is to be
        "checkpoint_config.interval_steps=32",
        "logging_config.interval_steps=32",
        "training_config.num_steps=64",
        "eval_config.num_episodes=1",
    ]
    assert main(["distill", f"run_dir={folder / 'run'}", *overrides]) == 0
    return folder / "run", overrides


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(p for p in checkpoint.rglob("*") if p.is_file() and p.stat().st_size)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_damage_is_read_as_a_student(toy, tmp_path, damage):
    """Each file in turn: the student is that of the newest checkpoint, or of the one before."""
    whole = [load_student(toy[0], step).sha256 for step in (64, 32)]
    run, used = tmp_path / "run", set()
    shutil.copytree(toy[0], run)
    for path in files_of(run / "checkpoints" / "64"):
        kept = path.read_bytes()
        DAMAGE[damage](path)
        found = load_student(run)
        assert found.sha256 == whole[found.env_steps == 32]
        used.add(found.env_steps)
        path.write_bytes(kept)
    assert used == {64, 32}  # what a student does not need may be damaged


def test_the_step_that_was_asked_for_is_not_replaced(toy, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(toy[0], run)
    (run / "checkpoints/64/metadata/metadata").write_text("{")
    with pytest.raises(UserError, match="cannot read its metadata"):
        load_student(run, 64)
    assert main(["inspect", str(run)]) == 0
    captured = capsys.readouterr()
    assert (
        captured.err.count("\n") == 1 and "warning" in captured.err and "taking 32" in captured.err
    )
    assert "32" in captured.out


def test_a_run_goes_on_from_the_one_before(toy, tmp_path, capsys):
    """And ends with the bits of one that was not damaged."""
    run, overrides = tmp_path / "run", [*toy[1], "training_config.num_steps=64"]
    shutil.copytree(toy[0], run)
    whole = read_arrays(run / "checkpoints/64/state")
    largest = max(files_of(run / "checkpoints/64/state"), key=lambda path: path.stat().st_size)
    DAMAGE["one bit flipped"](largest)
    assert main(["distill", f"run_dir={run}", *overrides]) == 0
    captured = capsys.readouterr()
    assert "resuming at 32" in captured.out
    assert "taking 32" in captured.err
    assert (run / "damaged_checkpoints/64").is_dir()
    assert same(whole, read_arrays(run / "checkpoints/64/state"))


def test_without_a_whole_one_nothing_moves(toy, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(toy[0], run)
    for step in (32, 64):
        (run / f"checkpoints/{step}/metadata/metadata").write_text("{")
    assert main(["distill", f"run_dir={run}", *toy[1]]) == 2
    assert "damaged" in capsys.readouterr().err
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"32", "64"}


def test_teachers(tmp_path):
    for step in (3, 7):
        write(tmp_path, upstream_config(), NETWORK, step=step, seed=step)
    older = load_teacher(tmp_path, 3).sha256
    for path in files_of(tmp_path / "PPONetwork_7"):
        for name, damage in DAMAGE.items():
            if path.parent.name == "config" and name == "one bit flipped":
                continue  # people edit the configuration, so that no hash guards it
            kept = path.read_bytes()
            damage(path)
            found = load_teacher(tmp_path)
            path.write_bytes(kept)
            assert (found.step == 3) == (found.sha256 == older)
            assert found.step == 3 or found.sha256 == load_teacher(tmp_path, 7).sha256


WRITE_BEYOND_THE_LIMIT = """
import contextlib, resource, sys
from pathlib import Path
import numpy as np
from vnl_mjx.checkpoints.run import RunCheckpointer
from vnl_mjx.errors import UserError

random = np.random.default_rng(0)
state = {f"p{i}": random.random((200, 64)) for i in range(60)}
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for attempt in range(6):
    with contextlib.suppress(UserError):
        with contextlib.closing(RunCheckpointer(Path(sys.argv[1]) / str(attempt))) as run:
            run.save(1, state, {}, metric=1.0)
            run.wait()
            print("written")
"""


def test_what_cannot_be_written_prints_no_trace(tmp_path):
    """T8: TensorStore reported each array to a loop that Orbax had closed, and Python printed it."""
    command = [sys.executable, "-c", WRITE_BEYOND_THE_LIMIT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
