"""`vnl-mjx train-task` and `eval-task`: from the command line to figures, on a tiny student."""

import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vnl_mjx
from vnl_mjx.checkpoints.arrays import read_arrays
from vnl_mjx.checkpoints.run import flatten
from vnl_mjx.cli import main
from vnl_mjx.commands.train.fine_tuning import DecoderStart
from vnl_mjx.commands.train.task_training import build_task_policy
from vnl_mjx.compat.function_layers import evaluate
from vnl_mjx.compat.functions import task_functions
from vnl_mjx.config.task import GOAL_SUMMARIES, CloningSection, TaskNetworkSection
from vnl_mjx.demo import DEMO_JOYSTICK, DEMO_STUDENT, DEMO_TEACHER
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy, action_distribution
from vnl_mjx.tasks.downstream.goals import GOALS
from vnl_mjx.tasks.downstream.joystick import Joystick
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamTask
from vnl_mjx.training.brax_parts import fresh_normalizer
from vnl_mjx.training.cloning import cloned
from vnl_mjx.training.motion_matching import Anchor, MatchedClips
from vnl_mjx.utils.task_checkpointing import load_task
from vnl_mjx.utils.vae_checkpointing import load_student

TINY = (
    "network.policy_hidden_sizes=[32]",
    "network.value_hidden_sizes=[32]",
    "ppo.num_envs=8",
    "ppo.unroll_length=4",
    "ppo.num_minibatches=2",
    "ppo.num_epochs=2",
    "cloning.num_steps=2000",
    "cloning.num_rounds=2",
    "cloning.gradient_steps=20",
    "cloning.part_s=0.2",
    "eval_config.num_episodes=3",
    "eval_config.video_at_end=false",
)


@pytest.fixture(scope="module")
def loaded(distilled):
    return vnl_mjx.load(distilled[0] / "run")


@pytest.fixture(scope="module")
def joystick(loaded):
    low_level = LowLevel.of(loaded.student)
    data = DownstreamData.of(low_level, loaded.clips, loaded.env.task)
    return DownstreamTask(Joystick(), loaded.env.task, low_level), data


def test_help_knows_every_goal():
    assert set(GOAL_SUMMARIES) == set(GOALS)


def test_what_is_wrong_is_said_in_one_line(capsys, distilled, tmp_path):
    run = distilled[0] / "run"
    for words, found in (
        (["jostick"], "unknown goal 'jostick'; the nearest name is 'joystick'"),
        (["joystick", "student", "velocity"], "found 3 paths: joystick, student, velocity"),
        (["joystick", "velocity"], "velocity: does not exist"),
        (["low_level=" + str(tmp_path / "nothing")], "does not exist"),
        ([f"low_level={distilled[0] / 'clips.h5'}"], "expected a student or a teacher"),
        (["ppo.guidance=1"], "ppo.guidance: expected 0"),
        (["mode=prior"], "mode"),
        (["no_module:Goal"], "cannot import 'no_module'"),
        (["pathlib:Path"], "expected 'pathlib:Path' to make a Goal, found PosixPath"),
        (
            ["vnl_mjx.tasks.downstream.goal:Goal"],
            "cannot make a goal from 'vnl_mjx.tasks.downstream.goal:Goal': Can't instantiate abstract class",
        ),
    ):
        assert main(["train-task", *words, f"run_dir={tmp_path / 'run'}"]) == 2
        error = capsys.readouterr().err
        assert found in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert main(["eval-task", str(run)]) == 2
    assert "expected the run of a task (vnl-mjx train-task), found a student" in (
        capsys.readouterr().err
    )


def test_a_moved_run_says_what_it_misses(capsys, distilled, toy_config, tmp_path):
    """Its body came with it; of a run of before, the body is asked for first."""
    moved = tmp_path / "far" / "away" / "run"
    shutil.copytree(distilled[0] / "run", moved)
    words = ["train-task", "joystick", f"student={moved}", f"run_dir={tmp_path / 'run'}"]
    assert main(words) == 2
    assert "give clips=FILE, or --clips FILE" in capsys.readouterr().err
    shutil.rmtree(moved / "body")
    assert main(words) == 2
    assert "give walker_config.mjcf_path=FILE, or --mjcf FILE" in capsys.readouterr().err
    assert main([*words, f"walker_config.mjcf_path={toy_config.source}"]) == 2
    assert "give clips=FILE, or --clips FILE" in capsys.readouterr().err


def test_joints_that_creep_on_read_as_those_of_the_clips(joystick, loaded):
    task, data = joystick
    state = task.reset(jax.random.key(0), data)
    joints = np.asarray(loaded.clips.joints)
    far = state.physics.qpos.at[7:].add(10.0)
    moved = state.replace(physics=state.physics.replace(qpos=far), previous_qpos=far)
    body, layout = task.body(moved, data.low_level), loaded.env.task.layout
    start, stop = (i - layout.reference_size for i in layout.slices()["joint_angles"])
    np.testing.assert_allclose(body[start:stop], np.quantile(joints, 0.9, axis=0), atol=1e-5)
    plain = task.body(moved, LowLevel.of(loaded.student))
    np.testing.assert_allclose(plain[start:stop], far[7:], atol=1e-6)


def test_the_part_of_a_clip_that_was_asked_for_is_found(joystick, loaded):
    task, data = joystick
    matched = MatchedClips.of(task, data.starts, 10, 10 + task.imitation.frames_needed)
    chosen = len(matched.clip) // 2
    first = data.starts.at(matched.clip[chosen], matched.frame[chosen])
    state = task.started(task.physics.reset(first.qpos(), first.qvel()), jax.random.key(0))
    # in its own pose and at its own pace, asked for what it does
    command = matched.goal[chosen]
    state = state.replace(goal=command[:2], pace=jnp.array(2 * [[command[2], 0.0, command[3]]]))
    where = matched.nearest(task, state)
    found = int(jnp.argmax((matched.clip == where[0]) & (matched.frame == where[1])))
    np.testing.assert_allclose(matched.goal[found], command, atol=1e-5)
    np.testing.assert_allclose(matched.joints[found], first.joints, atol=1e-5)


def test_the_bundled_joystick_is_described_and_loads(capsys):
    assert main(["inspect", str(DEMO_JOYSTICK), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "task" and found["tables"]["Policy of a task"]["goal"] == "joystick"
    assert main(["eval", str(DEMO_JOYSTICK)]) == 2
    assert "evaluate it with vnl-mjx eval-task" in capsys.readouterr().err
    with pytest.raises(UserError, match="found a policy of a task"):
        vnl_mjx.load(DEMO_JOYSTICK)
    # its student is the bundled one, by its hash
    loaded = load_task(DEMO_JOYSTICK)
    assert loaded.metadata["identity"]["low_level_sha256"] == load_student(DEMO_STUDENT).sha256


def test_clips_that_are_too_short_are_said(joystick):
    task, data = joystick
    with pytest.raises(UserError, match="cloning.part_s: expected clips of more than 10000 frames"):
        MatchedClips.of(task, data.starts, 10, 10_000)


def test_a_low_level_that_falls_is_said(loaded, joystick):
    goal, (_, data) = Joystick(), joystick
    goal.lowest_m = 10.0
    task = DownstreamTask(goal, loaded.env.task, data.low_level)
    few = CloningSection(num_steps=640, num_rounds=1, part_s=0.1)
    with pytest.raises(UserError, match="cloning: expected a low level that stays up for 0.1 s"):
        cloned(SimpleNamespace(), None, task, data, few, 0)


def test_an_anchor_puts_the_body_where_the_clip_is(joystick, loaded):
    task, data = joystick
    state, walker = task.reset(jax.random.key(1), data), task.walker
    place = data.starts.at(1, 3)
    anchor = Anchor.of(state.physics, place, walker.root_body)
    there = anchor.physics(state.physics, walker.root)
    aim = np.asarray(place.body_positions)[walker.root_body, :2]
    np.testing.assert_allclose(there.xpos[walker.root_body, :2], aim, atol=1e-5)
    # only along the floor and about the vertical: nothing that the body feels changes
    felt = task.body(state, data.low_level)
    moved = state.replace(
        physics=there, previous_qpos=anchor.pose(state.previous_qpos, walker.root)
    )
    np.testing.assert_allclose(task.body(moved, data.low_level), felt, atol=1e-4)


@pytest.mark.parametrize(
    ("mode", "residual"),
    [
        ("prior_decoder", "sigma_ball"),
        ("prior_decoder", "tanh"),
        ("prior_decoder", "none"),
        ("decoder_only", "none"),
        ("scratch", "none"),
    ],
)
def test_what_is_exported_of_a_policy_is_what_acts(joystick, loaded, mode, residual):
    _, data = joystick
    low_level = data.low_level.replace(mode=mode, residual=residual)
    task = DownstreamTask(Joystick(), loaded.env.task, low_level)
    model = build_task_policy(task, TaskNetworkSection(policy_hidden_sizes=(16,)))
    size = model.policy_config.observation_size
    params = model.init(jax.random.key(0)).policy
    policy = FrozenPolicy(params, jnp.zeros(size), jnp.ones(size), model.policy_config)
    functions = task_functions(policy, low_level)
    assert [f.name for f in functions] == ["policy", "low_level"][: 1 if mode == "scratch" else 2]
    for function in functions:
        inputs = function.draw(20)
        inputs["proprioception"][:, 0] = 100.0  # beyond what the low level reads
        found = evaluate(function.layers, inputs)
        for name, value in zip(function.outputs, function(*inputs.values()), strict=True):
            np.testing.assert_allclose(found[name], value, atol=2e-5)


@pytest.mark.parametrize("which", ["own", "bundled"])
def test_what_is_fine_tuned_begins_as_the_students_decoder(joystick, loaded, which):
    student = loaded.student if which == "own" else load_student(DEMO_STUDENT).for_use()
    vae, key = student.networks.config, jax.random.key(0)
    start = DecoderStart.of(student)
    sizes = {"goal": 4, "body": vae.proprioception_size}
    env = SimpleNamespace(observation_sizes=sizes, action_size=vae.action_size)
    model = build_task_policy(env, TaskNetworkSection(), start)
    fresh = fresh_normalizer(4 + vae.proprioception_size)
    params, known = start.begun(model.init(key), fresh, model.policy_config, 0.1)
    policy = FrozenPolicy(params.policy, known.mean, known.std, model.policy_config)
    body = 0.3 * jax.random.normal(key, (20, vae.proprioception_size))
    latent = jax.random.normal(key, (20, vae.latent_dim))
    output = policy.act(jnp.concatenate([jnp.ones((20, 4)), body], axis=-1), latent=latent)
    np.testing.assert_allclose(output.action, student.decode(body, latent), atol=2e-5)
    std = action_distribution(output.logits)[1]
    np.testing.assert_allclose(std, 0.1, rtol=1e-5)


@pytest.mark.slow
def test_a_run_is_trained_evaluated_and_gone_on_with(distilled, tmp_path, capsys):
    student = distilled[0] / "run"
    words = ["train-task", "joystick", f"low_level={student}", *TINY]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*words, f"run_dir={whole}", "ppo.num_steps=256"]) == 0
    assert "cloned from the student" in capsys.readouterr().out
    for steps in (128, 256):
        assert main([*words, f"run_dir={parts}", f"ppo.num_steps={steps}"]) == 0
    ends = [load_task(run) for run in (whole, parts)]
    for a, b in zip(*(jax.tree.leaves(end.policy.params) for end in ends), strict=True):
        np.testing.assert_array_equal(a, b)
    # not a byte of the student changed, and it lies beside the policy
    before = load_student(student)
    assert ends[0].low_level.sha256 == before.sha256
    kept = read_arrays(whole / "checkpoints" / "256" / "student")
    assert {k: v.tobytes() for k, v in flatten(before.params).items()} == {
        k: np.asarray(v).tobytes() for k, v in kept.items()
    }
    assert main([*words, f"run_dir={parts}", "ppo.num_steps=256", "residual=tanh"]) == 2
    assert "residual was sigma_ball, now tanh" in capsys.readouterr().err
    report = tmp_path / "report"
    words = ["eval-task", str(whole), "--episodes", "4", "--seconds", "2", "--no-video"]
    assert main([*words, "--output", str(report)]) == 0
    found = json.loads((report / "metrics.json").read_text())
    assert set(found["policies"]) == {"policy", "prior_mean", "zero_control"}
    mine = found["policies"]["policy"]
    assert mine["num_episodes"] == 4 and mine["seconds"] == 2.0
    assert mine["measures"]["speed_error_m_per_s"]["mean"] > 0
    assert mine["latent"]["beyond"] == 0.0  # within the ball
    assert found["policies"]["prior_mean"]["latent"]["distance_95"] == pytest.approx(0, abs=1e-4)
    assert (report / "measures.png").stat().st_size > 1000
    assert main(["export", str(whole), str(tmp_path / "files"), "--to", "npz"]) == 0
    contract = json.loads((tmp_path / "files" / "contract.json").read_text())
    assert contract["goal"]["name"] == "joystick" and contract["goal"]["action_repeat"] == 2
    assert {"policy", "low_level", "prior"} < set(contract["functions"])


@pytest.mark.slow
def test_the_tutorial_runs(distilled, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = Path(__file__).parents[1] / "examples" / "reuse_primitives.py"
    run = distilled[0] / "run"
    monkeypatch.setattr(sys, "argv", [str(file), str(run), "--quick", "--work", "sprint"])
    runpy.run_path(str(file), run_name="__main__")
    said = capsys.readouterr().out
    assert "the prior's mean" in said and "round 2" in said
    assert (tmp_path / "sprint" / "report" / "measures.png").is_file()


@pytest.mark.slow
def test_teachers_and_scratch_train_too(tmp_path):
    steps = "ppo.num_steps=64"
    for name, words in {
        "teacher": [f"low_level={DEMO_TEACHER}", "mode=decoder_only"],
        "scratch": [f"low_level={DEMO_STUDENT}", "mode=scratch"],
        "fine_tuned": [f"low_level={DEMO_STUDENT}", "mode=fine_tuned", "ppo.action_repeat=1"],
        "goal": ["goal=examples/extend/latent_task.py:Height", f"low_level={DEMO_STUDENT}"],
    }.items():
        assert main(["train-task", *words, f"run_dir={tmp_path / name}", steps, *TINY]) == 0
        found = json.loads((tmp_path / name / "eval" / "metrics.json").read_text())
        assert ("latent" in found) == (name not in ("scratch", "fine_tuned"))
