"""`benchmarks/compile.py`: what it compiles, how it measures, and what it says of what failed."""

import json
import math
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from toy_trainers import TRAINING, toy_distillation

from vnl_mjx.analysis.benchmark import compilation
from vnl_mjx.analysis.benchmark.compilation import PROGRAMS, Compilation
from vnl_mjx.training.vae_distillation import VaeDistillation

FIGURES = {
    "trace_s": 1.0,
    "compile_s": 2.0,
    "cpu_s": 4.0,
    "peak_mb": 500.0,
    "start_mb": 100.0,
    "lines": 10,
    "instructions": 20,
}


@pytest.fixture(scope="module")
def trainer(toy_walker, toy_clips):
    config = replace(TRAINING, num_envs=4, unroll_length=2, batch_size=8)
    task, teacher, student, clips = toy_distillation(toy_walker, toy_clips, "mjx")
    return VaeDistillation(task, student, teacher, clips, config)


def worker(*statements: str) -> list[str]:
    return [sys.executable, "-c", "; ".join(("import json, os, sys", *statements))]


@pytest.mark.slow
def test_programs_are_those_of_the_training(trainer):
    _, (key, data) = compilation.program_of(trainer, "ours", "first states")
    learn, (state, visited, _) = compilation.program_of(trainer, "ours", "update")
    assert key.shape == (2,) and data is trainer.data
    assert visited.teacher_action.shape == (2, 4, trainer.env.task.action_size)
    learnt, statistics = jax.eval_shape(learn, state, visited, key)
    assert jax.tree.map(jnp.shape, learnt) == jax.tree.map(jnp.shape, state)
    assert statistics.learning_rate.shape == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing:DeprecationWarning")  # brax does
def test_upstream_carries_whole_simulations_and_has_its_clips_as_constants(trainer):
    reset, rollout = (
        compilation.program_of(trainer, "upstream", program) for program in PROGRAMS["upstream"]
    )
    state = jax.eval_shape(reset[0], *reset[1])
    moved, (observations, *_) = jax.eval_shape(rollout[0], *rollout[1])
    assert jax.tree.structure(moved) == jax.tree.structure(state)
    assert observations.shape[:2] == (2, 4)
    for data in (state.pipeline_state, state.info["first_pipeline_state"]):
        assert data.qacc_smooth.shape == (4, trainer.env.task.physics.model.nv)
    poses = 2 * compilation.UPSTREAM_FRAMES * trainer.env.task.physics.model.nq
    constants = jax.make_jaxpr(reset[0])(*reset[1]).consts
    assert poses in [math.prod(x.shape) for x in constants]


def test_compiling_is_measured(trainer):
    found = compilation.compile_here(*compilation.program_of(trainer, "ours", "first states"))
    assert found.keys() == FIGURES.keys()
    assert all(value > 0 for value in found.values())
    assert found["peak_mb"] >= found["start_mb"]


def test_each_program_is_compiled_twice_in_its_own_process(tmp_path):
    calls = tmp_path / "calls"
    command = worker(
        f"open({str(calls)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))",
        "folder = os.environ['JAX_COMPILATION_CACHE_DIR']",
        "found = os.listdir(folder)",
        "open(folder + '/x', 'w').close()",
        "print('noise')",
        f"print(json.dumps(dict({FIGURES!r}, trace_s=0.5 if found else 1.0)))",
    )
    rows = list(compilation.measure(command, ["upstream"]))
    assert rows == [
        Compilation("upstream", program, **FIGURES, cached_s=2.5)
        for program in ("reset", "rollout")
    ]
    assert calls.read_text().splitlines() == ["upstream reset"] * 2 + ["upstream rollout"] * 2


@pytest.mark.parametrize(
    ("statement", "failure"),
    [
        ("os.kill(os.getpid(), 9)", "killed by signal 9 (9: out of memory)"),
        ("sys.exit('error: no such clip')", "error: no such clip"),
        ("import time; time.sleep(60)", "not done after 1 s"),
    ],
)
def test_what_fails_says_why(statement, failure):
    row = next(compilation.measure(worker(statement), ["ours"], limit_s=1.0))
    assert row == Compilation("ours", "first states", failure=failure)


def made(subject: str, factor: float) -> list[Compilation]:
    figures = {name: factor * value for name, value in FIGURES.items()}
    return [Compilation(subject, program, **figures, cached_s=1.0) for program in PROGRAMS[subject]]


def test_sums_and_ratios():
    report = compilation.report(made("ours", 1.0) + made("upstream", 10.0))
    assert json.loads(json.dumps(report)) == report
    assert report["totals"]["ours"]["seconds"] == 9.0
    assert report["totals"]["upstream"]["peak_mb"] == 5000.0  # the largest, not the sum
    assert report["ours / upstream"]["seconds"] == pytest.approx(9.0 / 60.0)
    assert compilation.table(made("ours", 1.0)).row_count == 4


def test_no_ratio_to_what_failed():
    rows = [*made("ours", 1.0), Compilation("upstream", "reset", failure="killed")]
    report = compilation.report(rows)
    assert report["totals"].keys() == {"ours"} and not report["ours / upstream"]
    assert compilation.table(rows).row_count == 5
