"""`benchmarks/gpu.py` on the toy walker: what it measures, and that no job loses another's results."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import gpu
from gpu_subjects import Toy, with_envs

from vnl_mjx.analysis.benchmark.scale import device_time, learning, runner
from vnl_mjx.analysis.benchmark.scale.environments import Environments
from vnl_mjx.analysis.benchmark.scale.jobs import Job, fastest_envs, job_list
from vnl_mjx.analysis.benchmark.scale.learning import distil_to_target, learn_by_ppo
from vnl_mjx.analysis.benchmark.scale.measuring import Effort, copied, rates, repeated
from vnl_mjx.analysis.benchmark.scale.rates import measure_distillation
from vnl_mjx.analysis.benchmark.scale.runner import Runner
from vnl_mjx.config.schema import TrainingSection

BRIEF = Effort(min_seconds=0.0, min_repetitions=2, max_seconds=5.0)
NUM_ENVS = 8


@pytest.fixture(scope="module")
def toy() -> Toy:
    return Toy()


@pytest.fixture(scope="module")
def distillation(toy):
    return toy.distillation("mujoco", NUM_ENVS)


@pytest.fixture(scope="module")
def found(distillation) -> dict:
    """What "rates" and "profile" found."""
    notes = {}
    measure_distillation(distillation.trainer, BRIEF, notes.__setitem__)
    device_time.profile_update(distillation.trainer, notes.__setitem__)
    return json.loads(json.dumps(notes))


def test_rates_of_every_layer(found):
    steps = NUM_ENVS * 8
    for name in ("distillation", "teacher", "environment", "physics"):
        assert found[name]["env_steps"] == steps and found[name]["repetitions"] == 2
        rate, seconds = found[name]["steps_per_second"], found[name]["seconds"]
        assert rate["min"] == pytest.approx(steps / seconds["max"])
    programs = found["distillation"]["programs"]
    assert set(programs) == {"rollout", "update"} and set(found["physics"]["programs"]) == {
        "physics"
    }
    assert programs["rollout"]["seconds"] > 0 and programs["rollout"]["total_bytes"] > 10_000
    assert found["distillation"]["peak"]["host_bytes"] > 10**8
    # qpos, qvel and the places of five bodies, at the least
    assert found["distillation"]["environment_bytes"] > 4 * (11 + 10 + 5 * 12)


def test_recorded_actions_lead_where_the_teacher_went(found, distillation):
    for name in ("reward", "resets", "diverged", "overflowed"):
        assert found["teacher"][name] == pytest.approx(found["environment"][name], rel=1e-4)
    trainer = distillation.trainer
    environments = Environments(trainer)
    teacher, environment, physics = environments.stages.values()
    start = trainer.init(0).environments
    led, actions, _ = teacher(copied(start), trainer.data)
    replayed, tally = environment(copied(start), actions, trainer.data)
    alone = physics(copied(start.imitation.physics), actions)
    assert tally.resets == 0  # else physics alone would be elsewhere
    assert np.abs(alone.qpos - start.imitation.physics.qpos).max() > 1e-3
    for other in (replayed.imitation.physics, alone):
        np.testing.assert_allclose(other.qpos, led.imitation.physics.qpos, atol=1e-4)


def test_shares_of_an_update(found):
    profile = found["profile"]
    assert sum(profile["parts"].values()) == pytest.approx(1.0)
    assert set(profile["parts"]) == {"physics", "networks", "task", "learning", "other"}
    seconds = [row["seconds"] for row in profile["operations"]]
    assert seconds == sorted(seconds, reverse=True) and len(seconds) == device_time.NUM_LISTED
    callback = next(row for row in profile["operations"] if "callback" in row["operation"])
    assert callback["part"] == "physics" and callback["count"] == 8  # one per control step


def test_time_to_target(distillation, monkeypatch):
    """A student earns 50, 80, 94 and 96 of its teacher's 100, and 90 on the other back end."""
    earned = iter([100.0, 50.0, 80.0, 94.0, 96.0, 90.0, 100.0])
    monkeypatch.setattr(learning, "_mean_reward", lambda *_, **__: next(earned))
    notes = []
    note = lambda name, figures: notes.append((name, dict(figures)))  # noqa: E731
    trainer, task = distillation.trainer, distillation.trainer.env.task
    distil_to_target(trainer, distillation.held_out, lambda: task, note, 1000.0)
    assert [name for name, _ in notes] == ["ratio"] * 5
    assert [figures["reached"] for _, figures in notes] == [False, False, False, True, True]
    last = notes[-1][1]
    assert (last["ratio"], last["ratio_elsewhere"]) == (0.96, 0.9)
    assert [row["updates"] for row in last["curve"]] == [1, 2, 3, 4]
    assert last["env_steps"] == 4 * NUM_ENVS * 8
    assert last["train_seconds"] == last["curve"][-1]["train_seconds"] > 0


def test_a_student_that_does_not_get_there_is_given_up(distillation, monkeypatch):
    monkeypatch.setattr(learning, "_mean_reward", lambda *_, teacher_acts=False: 1.0 + teacher_acts)
    notes = {}
    trainer, task = distillation.trainer, distillation.trainer.env.task
    distil_to_target(trainer, distillation.held_out, lambda: task, notes.__setitem__, 1e-9)
    assert not notes["ratio"]["reached"] and notes["ratio"]["updates"] == 1
    assert notes["ratio"]["ratio"] == notes["ratio"]["ratio_elsewhere"] == 0.5


@pytest.mark.slow
def test_two_updates_are_not_enough_to_learn(toy):
    notes = {}
    learn_by_ppo(toy.learning("mujoco").trainer, 2, notes.__setitem__, passing_reward=0.9)
    found = notes["learning"]
    assert found["reward_before"] < 0.9 and not found["passed"]
    assert found["env_steps"] == 2 * 64 * 16


def test_minibatches_grow_with_the_environments():
    training = TrainingSection()
    for num_envs in (512, 16384):
        scaled = with_envs(training, num_envs)
        assert scaled.batch_size == num_envs and scaled.steps_per_update == 20 * num_envs
    assert with_envs(training, 7).batch_size == 7


def test_repetitions_by_hand():
    give = iter([2.0, 2.0, 2.0, 9.0]).__next__
    assert repeated(give, Effort(5.0, 2, 10.0)) == [2.0, 2.0, 2.0]
    give = iter([30.0, 30.0]).__next__
    assert repeated(give, Effort(100.0, 5, 10.0)) == [30.0, 30.0]  # two, and no more
    assert rates(100, [1.0, 4.0, 2.0])["steps_per_second"]["median"] == 50.0


def test_the_most_important_jobs_come_first():
    jobs = [job.name for job in job_list(["warp", "mjx"], [512, 4096, 16384], 1024)]
    assert len(jobs) == len(set(jobs))
    assert jobs[:4] == ["rates/warp/4096", "learning/warp", "rates/warp/16384", "ratio/warp"]
    for backend in ("warp", "mjx"):
        wanted = [f"{kind}/{backend}/{n}" for kind in ("rates", "ppo") for n in (512, 4096, 16384)]
        wanted += [f"{kind}/{backend}" for kind in ("learning", "ratio", "profile")]
        assert set(wanted) < set(jobs)


def test_the_fastest_width_is_that_of_the_distillation():
    def result(rate):
        return {"found": {"distillation": {"steps_per_second": {"median": rate}}}}

    results = {
        "rates/warp/512": result(5),
        "rates/warp/4096": result(9),
        "rates/mjx/16": result(99),
    }
    results["rates/warp/8192"] = {"found": {}}
    assert fastest_envs(results, "warp", 1) == 4096
    assert fastest_envs(results, "mujoco", 1) == 1


def test_time_within_an_operation_counts_once():
    events = [(0, 10, "while"), (1, 4, "a"), (4, 9, "b"), (5, 6, "c"), (10, 12, "a")]
    own = device_time.own_nanoseconds(events)
    assert own == [("while", 2), ("a", 3), ("b", 4), ("c", 1), ("a", 2)]


HLO = """HloModule jit_rollout, is_scheduled=true

FileNames
1 "/x/vnl_mjx/training/rollout.py"
2 "/x/site-packages/mujoco/mjx/_src/smooth.py"

FunctionNames
1 "a"
2 "b"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1 end_line=2 column=3 end_column=4}
2 {file_name_id=2 function_name_id=2 line=1 end_line=2 column=3 end_column=4}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=1 parent_frame_id=3}

%body (x: f32[2]) -> f32[2] {
  %add.1 = f32[2] add(%x, %x), metadata={op_name="jit(rollout)/add" stack_frame_id=1}
  ROOT %mul.2 = f32[2] multiply(%x, %x), metadata={op_name="jit(rollout)/mul" stack_frame_id=3}
  %old.3 = f32[2] add(%x), metadata={op_name="n" source_file="/x/vnl_mjx/models/vae.py" source_line=2}
}
"""


def test_an_operation_is_of_the_code_that_it_was_traced_through():
    origins = device_time.origins_of(HLO)
    parts = {name: origin.part for name, origin in origins.items()}
    assert parts == {"add.1": "other", "mul.2": "physics", "old.3": "networks"}
    assert origins["mul.2"].name == "jit(rollout)/mul"
    assert device_time.origins_of(HLO, "learning")["add.1"].part == "learning"
    assert device_time.module_name(HLO) == "jit_rollout"


def test_on_a_gpu_its_streams_count_and_nothing_else():
    def event(name, start, duration, **stats):
        return SimpleNamespace(
            name=name, start_ns=start, duration_ns=duration, stats=list(stats.items())
        )

    kernel = event("fusion_1", 0, 3e9, hlo_op="mul.2", hlo_module="jit_rollout")
    lines = [
        SimpleNamespace(name="Stream #1", events=[kernel, event("warp_kernel", 3e9, 1e9)]),
        SimpleNamespace(name="XLA Ops", events=[kernel]),
    ]
    host = SimpleNamespace(name="/host:CPU", lines=[SimpleNamespace(name="t", events=[kernel])])
    planes = [host, SimpleNamespace(name="/device:GPU:0", lines=lines)]
    found = device_time.summed(planes, {"jit_rollout": device_time.origins_of(HLO)})
    assert found["busy_seconds"] == pytest.approx(4.0)
    assert found["parts"] == {"physics": 0.75, "other": 0.25}
    assert [row["operation"] for row in found["operations"]] == ["mul.2", "warp_kernel"]


SCRIPT = """
import json, sys, time
name, into = sys.argv[1:]
if name == "rates/mujoco/2":
    print("out of memory")
    sys.exit(1)
found = {"machine": {"date": "today"}, "ppo": {"steps_per_second": {"median": 5, "min": 4, "max": 6}}}
json.dump(found, open(into, "w"))
if name == "ppo/mujoco/3":
    time.sleep(60)
"""


def test_a_job_that_fails_or_hangs_loses_no_results(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner, "markdown", lambda document: "tables")
    started = []

    def command(job, num_envs, into):
        started.append((job.name, num_envs))
        return [sys.executable, "-c", SCRIPT, job.name, str(into)]

    jobs = [Job("ppo", "mujoco", 1), Job("rates", "mujoco", 2), Job("ppo", "mujoco", 3)]
    Runner(tmp_path, command, 64, resume=False, limit_s=2.0).run(jobs, 100.0)
    document = json.loads((tmp_path / "gpu.json").read_text())
    results = document["jobs"]
    assert [result["status"] for result in results.values()] == ["done", "failed", "took too long"]
    assert results["rates/mujoco/2"]["error"] == "out of memory"
    assert results["ppo/mujoco/3"]["found"] == results["ppo/mujoco/1"]["found"] != {}
    assert document["machine"] == {"date": "today"}
    assert "ppo 5 steps/s" in capsys.readouterr().out
    results["ppo/mujoco/3"]["status"] = runner.NO_BUDGET
    (tmp_path / "gpu.json").write_text(json.dumps(document))
    started.clear()
    Runner(tmp_path, command, 64, True, 2.0).run([*jobs, Job("ratio", "mujoco")], 100.0)
    assert started == [("ppo/mujoco/3", 3), ("ratio/mujoco", 64)]
    Runner(tmp_path, command, 64, resume=False).run(jobs, 1.0)
    assert "the budget of 1 s is spent before ppo/mujoco/1" in capsys.readouterr().out


def test_wrong_arguments_are_one_line(capsys):
    wrong = {"--backends": "gpu", "--num-envs": "a", "--jobs": "rate", "--walker toy": "a.b=1"}
    for name, value in wrong.items():
        given = [value] if name == "--walker toy" else [name, value]
        assert gpu.main(["--walker", "toy", "--list", *given]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"{name}: expected") and message.count("\n") == 1
        assert value in message


def one_call(out: Path, *arguments: str) -> dict:
    command = [sys.executable, gpu.__file__, "--walker", "toy", "--num-envs", "16"]
    subprocess.run([*command, "--seconds", "0.1", "--out", out, *arguments], check=True)
    document = json.loads((out / "gpu.json").read_text())
    assert {result["status"] for result in document["jobs"].values()} == {"done"}
    return document


@pytest.mark.slow
def test_one_call(tmp_path):
    """Every kind of job in processes of their own, and the tables."""
    document = one_call(tmp_path, "--backends", "mujoco")
    assert document["jobs"]["learning/mujoco"]["found"]["learning"]["passed"]
    assert document["machine"]["devices"] == [d.device_kind for d in jax.devices()]
    tables = (tmp_path / "gpu.md").read_text()
    assert tables.count("\n## ") == 6


@pytest.mark.slow
def test_rates_of_a_back_end_that_compiles(tmp_path):
    document = one_call(tmp_path, "--backends", "mjx", "--jobs", "rates")
    assert list(document["jobs"]) == ["rates/mjx/16"]
