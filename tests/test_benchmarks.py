"""Every script of `benchmarks/` runs, very small, on the toy walker."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.made_records import write_made_record
from tests.toy_run import write_toy_run
from tests.toy_teacher import toy_overrides

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def overrides(tmp_path_factory, toy_config) -> dict[str, list[str]]:
    """Of a distillation, and of a teacher's training."""
    return {
        "distill": write_toy_run(tmp_path_factory.mktemp("distill"), toy_config),
        "teacher": toy_overrides(tmp_path_factory.mktemp("teacher"), toy_config),
    }


def run(script: str, *arguments: object) -> str:
    """What a script prints."""
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("script", "kind"), [("distillation", "distill"), ("ppo", "teacher")])
@pytest.mark.slow
def test_end_to_end_over_the_floor(script, kind, overrides, tmp_path):
    given = ("--quick", f"--json={tmp_path / 'found.json'}", *overrides[kind])
    assert "end to end / floor" in run(f"{script}.py", *given)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["env_steps"] == 32
    seconds = {name: values["min"] for name, values in found["seconds"].items()}
    assert all(value > 0 for name, value in seconds.items() if name != "reset forward")
    assert 0 < found["ratio"]["median"] < 1.1
    assert seconds["physics"] < seconds["physics calls"] < seconds["end to end"]


@pytest.mark.bench
def test_floor_where_jax_simulates(overrides):
    given = (*overrides["distill"], "physics_config.backend=mjx", "--repetitions=1")
    assert "on mjx" in run("distillation.py", "--quick", "--envs=4", *given)


@pytest.mark.slow
def test_start_of_a_process(overrides):
    printed = run("start.py", "--teacher", "--envs=4", *overrides["teacher"])
    assert printed.startswith("4 environments: imports") and "first update" in printed


@pytest.mark.slow
def test_compile(overrides):
    given = ("--envs=4", *overrides["distill"], "training_config.unroll_length=2")
    found = json.loads(run("compile.py", *given, "--program", "ours", "first states"))
    assert all(value > 0 for value in found.values())


@pytest.mark.bench
def test_scaling(overrides):
    printed = run("scaling.py", "--devices=1,2", "--envs=64", *overrides["distill"])
    assert "exchanged by all-reduce" in printed


@pytest.mark.bench
def test_gpu_jobs(overrides, tmp_path):
    given = (*overrides["distill"], f"--out={tmp_path}", "--num-envs=8", "--backends=mujoco")
    run("gpu.py", "--jobs=operations,target", *given, "training_config.num_steps=64")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: result["status"] for name, result in found.items()} == {
        "operations/mujoco/8": "done",
        "target/mujoco/8": "done",
    }
    assert found["target/mujoco/8"]["found"]["train_seconds"] > 0
    parts = found["operations/mujoco/8"]["found"]["parts"]
    assert sum(parts.values()) == pytest.approx(1.0) and {"physics", "learning"} < set(parts)
    assert "operations/mujoco/8" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow
def test_clip_draw(overrides):
    given = [text for text in overrides["teacher"] if "held_out" not in text]
    assert "of a control step" in run("clip_draw.py", "--envs=16", "--clips=20", *given)


@pytest.mark.slow
def test_contacts():
    sizes = ("--envs=2", "--updates=1", "ppo.unroll_length=2", "ppo.num_minibatches=2")
    assert "bound of the model" in run("contacts.py", *sizes)


@pytest.mark.slow
def test_features():
    assert "features / loop" in run("features.py", "--frames=3250")


@pytest.mark.bench
def test_evaluation(overrides, tmp_path, run_as_user):
    given = ("training_config.num_steps=32", f"run_dir={tmp_path}")
    run_as_user("distill", *overrides["distill"], *given)
    printed = run("evaluation.py", tmp_path, "--starts-per-clip=1", "--repetitions=1")
    assert "programs compiled after the first: 0" in printed


@pytest.mark.slow
def test_synthetic_units(tmp_path):
    record = write_made_record(tmp_path / "made.rec.h5", num_rows=6000)
    given = ("--seeds=1", "--per-group=2", "--rates=20", "--shifts=60", f"--json={tmp_path / 'a'}")
    assert "clock shifted by" in run("synthetic_units.py", f"--record={record}", *given)
    driven = [row for row in json.loads((tmp_path / "a").read_text()) if "/" in row["truth"]]
    assert driven and all(row["best"] == row["truth"] for row in driven)


@pytest.mark.slow
def test_mistakes_are_one_line():
    command = [sys.executable, str(BENCHMARKS / "ppo.py"), "num_env=3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown key num_env") and done.stderr.count("\n") == 1
