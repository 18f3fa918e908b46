"""`vnl-mjx bench --teacher` on the toy walker, and that what it replays is what the training does."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.toy_teacher import STEPS_PER_UPDATE, toy_overrides
from vnl_mjx import cli
from vnl_mjx.analysis.benchmark.ppo import PpoNetworks, record
from vnl_mjx.analysis.benchmark.subjects import FLOOR, BarePhysics
from vnl_mjx.commands import bench
from vnl_mjx.commands.bench_subjects import TeacherSubject
from vnl_mjx.config.loading import load_teacher_config
from vnl_mjx.training.ppo import Ppo

ONE_STEP = (
    "ppo.num_minibatches=1",
    "ppo.num_epochs=1",
    "ppo.entropy.weight=0",
    "ppo.learning_rate.schedule=constant",
)
VARIED = ("task.randomization.friction=[0.2,2]", "task.randomization.link_mass=[0.5,1.5]")


@pytest.fixture(scope="module")
def overrides(tmp_path_factory, toy_config):
    return toy_overrides(tmp_path_factory.mktemp("bench"), toy_config)


def open_trainer(overrides, *more) -> Ppo:
    return TeacherSubject(load_teacher_config([*overrides, *more])).open_run().trainer


@pytest.fixture(scope="module")
def measured(overrides):
    """Trainer, state and recording of an update, on bodies that differ, and what the update gave."""
    trainer = open_trainer(overrides, *ONE_STEP, *VARIED)
    state, _ = trainer.update(trainer.init(3))
    recording = record(trainer, state)
    return trainer, state, recording, trainer.update(jax.tree.map(jnp.copy, state))


def test_the_recording_is_the_rollout_of_the_update(measured):
    _, _, recording, (after, result) = measured
    assert recording.actions.shape[:2] == recording.finished.shape == (4, 8)
    assert recording.finished.sum() == result.rollout.episodes
    assert jnp.sum(recording.segment.steps.reward) == pytest.approx(float(result.rollout.reward))
    # One compiled step and one scan of steps round differently in their last bits.
    last = jax.tree.map(lambda x: x[-1], recording.simulations)
    np.testing.assert_allclose(
        last.qpos, after.rollout.environments.imitation.physics.qpos, atol=1e-3
    )


def test_bare_physics_steps_the_recorded_states_on_their_bodies(measured):
    trainer, _, recording, _ = measured
    assert len(np.unique(recording.simulations.variant)) > 1
    bare = BarePhysics(trainer.env.task, trainer.config.num_envs)
    assert bare.seconds(recording)["physics"] > 0
    stepped = ~recording.finished[-1]  # what was finished is not what was stepped
    assert stepped.any()
    found = bare._arrays["qpos"][stepped]
    np.testing.assert_allclose(found, recording.simulations.qpos[-1][stepped], atol=1e-5)


@pytest.fixture(scope="module")
def networks(measured):
    trainer, state, recording, _ = measured
    return PpoNetworks(trainer, state, recording.segment)


@pytest.mark.slow  # among those that compile as a user's run does: Adam makes much of last bits
def test_the_networks_take_the_gradient_step_of_the_update(measured, networks):
    _, state, recording, (after, result) = measured
    weights = result.learning.weights  # in force then; the benchmark takes those of the end
    params, _ = networks._learn(state, recording.segment, weights, state.key)
    moved = jax.tree.map(lambda new, old: new - old, after.params, state.params)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(moved)) > 1e-4
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), params, after.params)


def test_the_networks_act_on_every_observation(measured, networks):
    _, state, recording, _ = measured
    arguments = (state.params, state.normalizer, recording.segment)
    _, (noise, actions) = networks._act(*arguments, jax.random.PRNGKey(0))
    assert noise.shape == recording.segment.steps.latent_noise.shape
    assert actions.shape == recording.actions.shape and jnp.abs(actions).max() < 1
    assert set(networks.seconds()) == {"rollout networks", "update networks"}


def test_quick_report(overrides, capsys):
    assert cli.main(["bench", "--teacher", "--quick", "--json", *overrides]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["measured"] == "train-teacher"
    assert (report["env_steps"], report["num_minibatches"]) == (STEPS_PER_UPDATE, 2)
    assert set(FLOOR) < set(report["seconds"])
    assert 0 < report["ratio"]["min"] <= report["ratio"]["median"] <= report["ratio"]["max"]
    assert report["targets"] == {"ratio": 0.9}
    assert "start" not in report and "memory_mb" not in report


def test_first_updates_of_another_width(overrides):
    subject = TeacherSubject(load_teacher_config(overrides)).with_envs(3)
    assert (subject.num_envs, subject.config.ppo.num_minibatches) == (3, 1)
    brief = subject.brief(2)
    assert brief.num_steps == 3 * 3 * 4  # one more update than is waited for
    assert brief.eval_config.interval_steps == brief.checkpoint_config.interval_steps == 0
    report = bench._first_updates(subject, 2)
    assert set(report["seconds"]) == {"imports", "load", "prepare", "first update", "total"}
    assert 50 < report["peak_memory_mb"] < 5000


def test_what_cannot_start_is_one_line(overrides):
    config = load_teacher_config(overrides)
    missing = replace(config.reference_config, paths=("nowhere.h5",))
    with pytest.raises(Exception, match="train-teacher with 8 environments did not start") as error:
        bench._first_updates(TeacherSubject(replace(config, reference_config=missing)), 1)
    assert "\n" not in str(error.value)


def test_refuses_another_back_end(overrides, capsys):
    given = ["bench", "--teacher", *overrides, "physics_config.backend=mjx"]
    assert cli.main(given) == 2
    assert "bench measures the back end mujoco, found mjx" in capsys.readouterr().err


def test_shows_the_configuration_that_it_measures(capsys):
    assert cli.main(["bench", "--teacher", "--show-config", "ppo.num_envs=64"]) == 0
    assert "num_envs: 64" in capsys.readouterr().out
