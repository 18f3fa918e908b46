"""How well a policy tracks: figures against physics that is put where it should be, and the command."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dm_control_tasks import walking_about
from policy_helpers import OnTheReference, untrained_policy
from toy_run import toy_task, write_toy_run
from video_helpers import probe_video, walking

from vnl_mjx import cli
from vnl_mjx.clips.assembly import clips_from_poses
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.clips.hdf5 import write_clips
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.contact import FootSlip
from vnl_mjx.evaluation.metrics import log_row
from vnl_mjx.evaluation.protocol import (
    SAMPLED,
    PolicyEvaluator,
    evaluated_teacher,
)
from vnl_mjx.evaluation.rollout import EpisodeRunner, Rollout
from vnl_mjx.evaluation.smoothness import path_lengths
from vnl_mjx.evaluation.teacher_evaluation import evaluate_tracking, judge
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import GivenAction

LENGTH = 40


@pytest.fixture(scope="module")
def task(toy_config, toy_walker) -> ImitationTask:
    """Without noise at the start, 100 control steps per second."""
    config = replace(toy_task(toy_config), reset_noise_scale=0.0)
    return ImitationTask(config, toy_walker, make_physics(toy_walker.model, config.physics))


@pytest.fixture(scope="module")
def clip(toy_walker) -> ReferenceClips:
    """One clip that goes 10 cm a second."""
    return walking_about(toy_walker, [LENGTH])


def played(
    task: ImitationTask,
    policy: FrozenPolicy,
    clips: ReferenceClips,
    num_random_starts: int = 0,
    evaluator: PolicyEvaluator | None = None,
    **how,
) -> tuple[dict[str, Any], Rollout]:
    """Each clip from its first frame, then as many episodes from drawn ones."""
    rollout = (evaluator or PolicyEvaluator()).run_one(
        evaluated_teacher(task, policy, "teacher"),
        clips,
        clips.num_clips + num_random_starts,
        **how,
    )
    return evaluate_tracking(rollout, clips, task.walker, task.config.reward), rollout


def evaluate(task: ImitationTask, clip: ReferenceClips, **told: float | bool):
    """Of a simulation that is told where to be."""
    physics = OnTheReference(task.physics, clip, **told)
    termination = replace(task.config.termination, healthy_z_range=(-1.0, 1.0))
    config = replace(task.config, termination=termination)
    stub = ImitationTask(config, task.walker, physics)
    return played(stub, untrained_policy(stub), clip)


def test_a_simulation_on_the_reference_has_no_error(task, clip):
    evaluation, rollout = evaluate(task, clip)
    figures = evaluation["all"]
    assert figures["survival"] == 1.0 and figures["diverged"] == 0
    assert figures["root_error_mm"] < 1e-4
    assert figures["root_error_max_mm"] < 1e-4
    assert figures["root_angle_deg"] < 1e-3
    assert figures["joint_error_rad"] < 1e-6
    assert figures["reward_fraction"] == pytest.approx(1.0, abs=1e-5)
    assert figures["speed_ratio"] == pytest.approx(1.0, abs=0.02)
    paths = path_lengths(rollout, clip)
    assert paths.clip_path / paths.clip_seconds == pytest.approx(0.1, rel=0.1)
    # to the last frame that still has `traj_length` frames ahead, though the task's limit is 20
    assert rollout.steps.frame.max() >= LENGTH - 1 - task.config.traj_length
    ideal = 2 * (LENGTH - 1 - task.config.traj_length)
    assert ideal <= figures["episode_seconds"] * rollout.control_hz <= ideal + 2
    assert [row["met"] for row in judge(evaluation, task.walker)] == [True] * 4


def test_one_frame_late_is_measured_as_one_frame(task, clip):
    evaluation, rollout = evaluate(task, clip, late=1)
    frames = rollout.steps.frame[rollout.steps.alive]
    position = np.asarray(clip.position, np.float64)
    behind = position[np.maximum(frames - 1, 0)] - position[frames]
    expected = 1e3 * np.linalg.norm(behind, axis=1)
    figures = evaluation["all"]
    assert expected.mean() > 1.0
    assert figures["root_error_mm"] == pytest.approx(expected.mean(), rel=1e-4)
    assert figures["root_error_max_mm"] == pytest.approx(expected.max(), rel=1e-4)
    # the clip turns by 0.4 rad/s and sways
    assert figures["root_angle_deg"] == pytest.approx(np.degrees(0.4 / 50), rel=0.5)
    assert figures["reward_fraction"] < 1.0 - 1e-4


def test_nothing_counts_after_a_failure(task, clip):
    evaluation, rollout = evaluate(task, clip, displaced=1.0, event=10)
    figures = evaluation["all"]
    steps = round(figures["episode_seconds"] * rollout.control_hz)
    assert figures["survival"] == 0.0
    frames = rollout.steps.frame[:steps, 0]
    assert frames[-1] == 10 and frames[-2] < 10  # the step that failed counts, no later one
    # position, bodies of the last step earn nothing; with the end it would be 1 metre for ever
    assert figures["root_error_mm"] == pytest.approx(1000.0 / steps, rel=1e-3)
    assert figures["reward_fraction"] > 1.0 - 1.0 / steps
    possible = 2 * (LENGTH - 1 - task.config.traj_length)
    assert figures["completed_fraction"] == pytest.approx(
        figures["reward_fraction"] * steps / possible
    )
    assert not judge(evaluation, task.walker)[0]["met"]


def test_a_diverged_step_is_counted_and_leaves_no_trace_in_the_errors(task, clip):
    figures = evaluate(task, clip, diverges=True, event=10)[0]["all"]
    assert (figures["diverged"], figures["survival"]) == (1, 0.0)
    assert figures["root_error_mm"] < 1e-4 and figures["root_angle_deg"] < 1e-3
    assert figures["joint_error_rad"] < 1e-6


def test_each_clip_from_its_first_frame_then_from_drawn_ones(task, toy_clips, monkeypatch):
    policy, calls = untrained_policy(task), []
    run = partial(played, task, clips=toy_clips, num_random_starts=6, seed=3)
    run = partial(run, evaluator=PolicyEvaluator())
    first, rollout = run(policy=policy, progress=lambda _, *x: calls.append(x))
    episodes = rollout.episodes
    np.testing.assert_array_equal(episodes.clip, [0, 1] * 4)
    np.testing.assert_array_equal(episodes.start_frame[:2], 0)
    starts = episodes.start_frame[2:]
    assert len(set(starts.tolist())) > 1 and starts.max() < task.config.start_frame_range
    assert calls[-1][0] <= calls[-1][1] and len(calls) > 1
    _, again = run(policy=policy)
    jax.tree.map(np.testing.assert_array_equal, rollout, again)
    with monkeypatch.context() as patch:  # other parameters compile nothing
        patch.setattr(task.physics, "step", None)
        _, other = run(policy=untrained_policy(task, seed=1))
    assert np.abs(other.steps.qpos - rollout.steps.qpos).max() > 1e-4
    _, sampled = run(policy=policy, how=SAMPLED)
    assert np.abs(sampled.steps.qpos[0] - rollout.steps.qpos[0]).max() > 1e-6
    summary = json.loads(json.dumps(first))
    assert set(summary["clips"]) == set(toy_clips.names)
    assert [row["start_frame"] for row in summary["episodes"]] == episodes.start_frame.tolist()
    assert summary["all"]["speed_ratio"] is None  # they stand
    assert judge(summary, task.walker)[3]["met"] is None
    assert set(log_row(first["all"])) >= {
        "eval/survival",
        "eval/reward_fraction",
        "eval/root_error_mm",
    }


def test_figures_of_a_clip_are_those_of_its_episodes(task, toy_clips):
    summary = played(task, untrained_policy(task), toy_clips, 2)[0]
    episodes, pooled = summary["episodes"], summary["all"]
    own = [row for row in episodes if row["clip"] == toy_clips.names[1]]
    figures = summary["clips"][toy_clips.names[1]]
    assert pooled["num_episodes"] == 4 and figures["num_episodes"] == 2
    for name in ("reward_per_step", "root_error_mm", "joint_error_rad", "reward_fraction"):
        assert figures[name] == pytest.approx(np.mean([row[name] for row in own]))
    for name in ("reward_per_step", "root_error_mm", "completed_fraction"):
        assert pooled[name] == pytest.approx(np.mean([row[name] for row in episodes]))
    terms = {name: value for name, value in pooled.items() if name.startswith("term_")}
    assert sum(terms.values()) == pytest.approx(pooled["reward_per_step"], rel=1e-5)
    imitation = sum(terms[f"term_{name}_reward"] for name in ("pos", "quat", "joint", "endeff"))
    assert imitation / 4.0 == pytest.approx(pooled["reward_fraction"], rel=1e-5)


def test_a_recurrent_policy_keeps_its_memory_from_step_to_step(task, toy_clips):
    policy = untrained_policy(task, lstm_num_layers=1)
    one = toy_clips.select([0])
    _, rollout = played(task, policy, one)
    clips, key = jax.tree.map(jnp.asarray, one), rollout.episodes.key[0]
    state = task.reset_to(key, clips, jnp.int32(0), jnp.int32(0), key)
    memory = policy.initial_memory()

    @jax.jit
    def step(state, memory):
        output = policy.act(task.observe(state, clips).flat(), memory)
        return task.step(state, output.action, clips)[0], output.memory

    for number in range(8):
        state, memory = step(state, memory)
        np.testing.assert_allclose(state.physics.qpos, rollout.steps.qpos[number, 0], atol=1e-5)
    assert max(np.abs(part).max() for part in memory) > 1e-3


def test_a_guide_acts_in_place_of_a_policy(task, toy_clips):
    runner = EpisodeRunner(task, guide=lambda state, clips: jnp.full(task.action_size, 2.0))
    played = runner.run(GivenAction(), toy_clips, runner.draw(toy_clips, 2, 0), seed=0)
    assert played.valid.any()
    assert np.all(played.steps.action[played.valid] == 1.0)  # the limit of every action


def test_sliding_feet_slip_at_the_speed_of_the_slide_and_feet_in_the_air_do_not(toy_walker):
    slip, still = FootSlip(toy_walker), walking(toy_walker, speed=0.0)
    bodies = Kinematics(toy_walker.model)(still)
    height = FootHeights(toy_walker)(bodies.positions, bodies.quaternions).min()
    on_floor = walking(toy_walker, speed=0.2)
    on_floor[:, 2] -= height
    still[:, 2] -= height
    assert slip(on_floor, 50.0) == pytest.approx(0.2, rel=1e-3)
    assert slip(still, 50.0) == pytest.approx(0.0, abs=1e-6)
    on_floor[:, 2] += 0.01
    assert np.isnan(slip(on_floor, 50.0))


def test_clips_that_are_too_short_are_refused(task, toy_walker):
    short = walking_about(toy_walker, [LENGTH, 5])
    with pytest.raises(UserError, match="has 5 frames"):
        played(task, untrained_policy(task), short)


def test_targets_are_judged_by_the_worst_clip_for_speed(rodent):
    figures = {"survival": 0.98, "reward_fraction": 0.93, "root_error_mm": 4.0}
    clips = {"a": {"speed_ratio": 1.04}, "b": {"speed_ratio": 0.90}, "c": {"speed_ratio": None}}
    rows = judge({"all": figures, "clips": clips}, rodent)
    assert [row["met"] for row in rows] == [False, True, True, False]
    assert rows[3]["found"] == "-10.0% (b)"


@pytest.mark.slow
def test_command_measures_the_bundled_teacher(tmp_path, capsys):
    output = tmp_path / "new" / "figures.json"
    options = ["--episodes", "2", "--baselines", "--json", str(output)]
    assert cli.main(["eval-teacher", *options]) == 0
    document = json.loads(output.read_text())
    clips, pooled = document["clips"], document["all"]
    assert pooled["num_episodes"] == len(clips) + 2
    assert pooled["survival"] > 0.5 and 0.5 < pooled["reward_fraction"] < 1.0
    assert 0.0 < pooled["root_error_mm"] < 30.0
    assert document["targets"][0]["met"] == (pooled["survival"] >= 0.99)
    idle, posed = (document["baselines"][name] for name in ("no action", "pose control"))
    assert idle["num_episodes"] == pooled["num_episodes"]
    assert idle["reward_fraction"] < posed["reward_fraction"] < pooled["reward_fraction"]
    text = capsys.readouterr().out
    assert "root position error" in text and "reward" in text
    assert str(tmp_path) not in output.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/teacher"], "no/such/teacher"),
        (["--clips", "no/such/clips.h5"], "no such file"),
        (["--held-out", "--train"], "not allowed with"),
        (["--episodes", "-1"], "expected a whole number"),
    ],
)
def test_mistakes_are_answered_in_one_line(arguments, message, capsys):
    assert cli.main(["eval-teacher", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_held_out_clips_are_asked_for_where_a_file_marks_none(rodent, tmp_path, capsys):
    write_clips(tmp_path / "unmarked.h5", walking_about(rodent, [20, 20]))
    path = str(tmp_path / "unmarked.h5")
    assert cli.main(["eval-teacher", "--held-out", "--clips", path]) == 2
    error = capsys.readouterr().err
    assert "mark them with vnl-mjx clips hold-out" in error and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.render
def test_command_films_each_clip_with_its_reference(toy_config, toy_walker, tmp_path, backend):
    write_toy_run(tmp_path, toy_config)
    still = clips_from_poses(toy_walker, walking(toy_walker, 12, 0.0), [12], 50.0, names=("a b",))
    write_clips(tmp_path / "one.h5", still)
    videos = tmp_path / "videos"
    arguments = [str(tmp_path / "teacher"), "--clips", str(tmp_path / "one.h5")]
    assert cli.main(["eval-teacher", *arguments, "--video", str(videos)]) == 0
    assert {path.name for path in videos.iterdir()} == {"a_b.mp4", "a_b.png"}
    assert "960x480" in probe_video(videos / "a_b.mp4")
