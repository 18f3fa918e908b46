"""The tutorials' scripts, each command of them with little to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vnl_mjx.cli import main
from vnl_mjx.demo import DEMO_CLIPS, DEMO_TEACHER

EXAMPLES = Path(__file__).parents[1] / "examples"
LITTLE = {
    "train-teacher": [
        "ppo.num_envs=8",
        "ppo.unroll_length=4",
        "ppo.num_minibatches=2",
        "ppo.num_epochs=1",
        "ppo.num_steps=64",
        "eval_config.video_at_end=false",
    ],
    "distill": [
        "training_config.num_envs=8",
        "training_config.unroll_length=4",
        "training_config.batch_size=16",
        "training_config.num_steps=64",
    ],
    "eval": [
        "video_config.num_clips=0",
        "prior_config.seconds=0",
        "eval_config.acting=deterministic",
        "eval_config.starts_per_clip=1",
    ],
    "train-task": [
        "ppo.num_envs=8",
        "ppo.unroll_length=4",
        "ppo.num_minibatches=2",
        "ppo.num_steps=64",
        "cloning.num_steps=2000",
        "cloning.gradient_steps=5",
        "eval_config.num_episodes=2",
        "eval_config.video_at_end=false",
    ],
}
SHIM = f"""#!{sys.executable}
import sys
from vnl_mjx.cli import main
sys.exit(main(sys.argv[1:] + {LITTLE!r}.get(sys.argv[1], [])))
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script with a `vnl-mjx` that has little to do; returns what it said."""
    command = tmp_path / "bin" / "vnl-mjx"
    command.parent.mkdir()
    command.write_text(SHIM)
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"

    def run(script, *arguments):
        words = ["bash", str(EXAMPLES / script), *map(str, arguments)]
        done = subprocess.run(
            words, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return run


@pytest.mark.slow
def test_stac_files_become_a_student(run, tmp_path):
    walk, session = tmp_path / "walk.h5", tmp_path / "session.h5"
    assert main(["gait", str(walk), "--speed", "0.2", "--seconds", "26"]) == 0
    assert main(["clips", "export", str(walk), str(session), "--to", "stac"]) == 0
    said = run("stac_files.sh", "rat", session)
    assert (tmp_path / "rat" / "student" / "report" / "report.html").is_file()
    assert "clips.h5" in said


@pytest.mark.slow
def test_a_checkpoint_becomes_a_student_and_functions(run, tmp_path):
    few = tmp_path / "few.h5"
    assert main(["clips", "select", str(DEMO_CLIPS), str(few), "--clips", "0-4"]) == 0
    run("checkpoint.sh", "mine", DEMO_TEACHER, few)
    contract = json.loads((tmp_path / "mine" / "functions" / "contract.json").read_text())
    assert {"encoder", "prior", "decoder"} <= set(contract["functions"])


@pytest.mark.slow
def test_a_student_and_a_task_from_nothing(run, tmp_path):
    run("from_nothing.sh", "first")
    assert (tmp_path / "first" / "joystick" / "eval" / "metrics.json").is_file()
