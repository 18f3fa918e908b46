"""`vnl-mjx bench` on the toy walker, and that what it replays is what the distillation does."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.toy_run import write_toy_run
from vnl_mjx import cli
from vnl_mjx.analysis.benchmark.distillation import record
from vnl_mjx.analysis.benchmark.subjects import FLOOR, BarePhysics, Measurement
from vnl_mjx.commands import bench
from vnl_mjx.commands.bench_subjects import DistillationSubject
from vnl_mjx.config.loading import load_distillation_config


@pytest.fixture(scope="module")
def overrides(tmp_path_factory, toy_config):
    return write_toy_run(tmp_path_factory.mktemp("bench"), toy_config)


@pytest.fixture(scope="module")
def trainer(overrides):
    return DistillationSubject(load_distillation_config(overrides)).open_run().trainer


def test_the_recording_is_the_rollout_of_the_update(trainer):
    state, _ = trainer.update(trainer.init(3))
    recording = record(trainer, state)
    after, result = trainer.update(jax.tree.map(jnp.copy, state))
    assert recording.actions.shape[:2] == recording.finished.shape == (4, 8)
    assert recording.finished.sum() == result.rollout.episodes
    # One compiled step and one scan of steps round differently in their last bits.
    last = jax.tree.map(lambda x: x[-1], recording.simulations)
    np.testing.assert_allclose(last.qpos, after.environments.imitation.physics.qpos, atol=1e-3)


def test_bare_physics_steps_the_recorded_states(trainer):
    state = trainer.init(5)
    recording = record(trainer, state)
    bare = BarePhysics(trainer.env.task, trainer.config.num_envs)
    seconds = bare.seconds(recording)
    assert seconds["physics"] > 0
    assert not recording.finished.any()  # else the rows below would be those of a reset
    np.testing.assert_allclose(bare._arrays["qpos"], recording.simulations.qpos[-1], atol=1e-5)


def test_quick_report(overrides, capsys):
    assert cli.main(["bench", "--quick", "--json", *overrides]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["env_steps"] == 32
    assert set(FLOOR) < set(report["seconds"])
    assert 0 < report["ratio"]["min"] <= report["ratio"]["median"] <= report["ratio"]["max"]
    assert "start" not in report and "memory_mb" not in report


def test_ratio_by_hand():
    seconds = {"physics": [6.0, 8.0], "rollout networks": [1.0, 1.0], "update networks": [1.0, 2.0]}
    measured = Measurement(seconds | {"end to end": [10.0, 11.0]}, env_steps=100, resets=0)
    assert measured.floor() == [8.0, 11.0]
    assert measured.ratio() == [0.8, 1.0]
    assert measured.ratio_of_fastest() == 0.8
    report = measured.to_dict()
    assert report["steps_per_second"]["end to end"]["max"] == 10.0
    assert report["ratio"] == {"median": pytest.approx(0.9), "min": 0.8, "max": 1.0}


def test_tables_and_the_order_of_sizes(overrides, monkeypatch, capsys):
    started = []

    def first_updates(subject, num_updates):
        started.append((subject.num_envs, num_updates))
        seconds = {"imports": 1.0, "first update": 2.5, "total": 3.5}
        return {"seconds": seconds, "peak_memory_mb": 100.0 + started[-1][0]}

    names = (*FLOOR, "end to end", "rollout", "physics calls", "reset forward", "update")
    measured = Measurement({name: [1.0, 2.0] for name in names}, env_steps=32, resets=0)
    monkeypatch.setattr(bench, "_first_updates", first_updates)
    monkeypatch.setattr(bench, "measure", lambda *args: measured)
    assert cli.main(["bench", "--memory-envs", "4,16", *overrides]) == 0
    assert started == [(8, 1), (4, 2), (16, 2)]
    text = capsys.readouterr().out
    for words in (
        "end to end / floor",
        "imports",
        "2.5",
        "4 environments",
        "116",
        "1.00",
        "something else was running",
    ):
        assert words in text


def test_first_updates_reports_every_phase(overrides):
    subject = DistillationSubject(load_distillation_config(overrides)).with_envs(2)
    assert subject.config.training_config.batch_size == math.gcd(8, 16)
    report = bench._first_updates(subject, 2)
    phases = {"imports", "load", "prepare", "first update"}
    assert report["seconds"].keys() == phases | {"total"}
    assert report["seconds"]["total"] == pytest.approx(sum(report["seconds"][p] for p in phases))
    assert 50 < report["peak_memory_mb"] < 5000


def test_refusals_are_one_line(overrides, capsys):
    assert cli.main(["bench", "--quick", *overrides, "physics_config.backend=mjx"]) == 2
    assert "bench measures the back end mujoco, found mjx" in capsys.readouterr().err
    assert cli.main(["bench", *overrides, "teacher_config.checkpoint_path=nowhere"]) == 2
