"""`vnl-mjx view` of a policy: an episode step by step, who acts, the page, the video, what is refused."""

import contextlib
import re
import socket

import jax.numpy as jnp
import numpy as np
import pytest
from policy_helpers import OnTheReference
from toy_run import toy_task, write_toy_run
from toy_student import ToyStudent, untrained_student
from video_helpers import probe_video

from vnl_mjx import cli
from vnl_mjx.evaluation.rollout import EpisodeRunner
from vnl_mjx.physics.backends import make_physics
from vnl_mjx.report.rendering.live import (
    LiveEpisode,
    SteeredStudent,
    latent_activity,
    viewed_student_policies,
)
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.policies import TeacherPolicy
from vnl_mjx.tasks.vae_distillation import StudentPolicy


@pytest.fixture(scope="module")
def task(toy_config, toy_walker) -> ImitationTask:
    config = toy_task(toy_config)
    return ImitationTask(
        config, toy_walker, make_physics(toy_walker.model, config.physics, num_threads=1)
    )


@pytest.fixture(scope="module")
def toy(task) -> ToyStudent:
    return untrained_student(task)


@pytest.fixture(scope="module")
def policies(task, toy, toy_clips):
    return viewed_student_policies(task, toy_clips, toy)


@pytest.fixture(scope="module")
def episode(task, toy_clips) -> LiveEpisode:
    return LiveEpisode(task, toy_clips)


@pytest.fixture(scope="module")
def teacher_folder(toy_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    write_toy_run(folder, toy_config)
    return folder


# --- Who acts -----------------------------------------------------------------------------------


def test_without_an_offset_they_act_as_in_an_evaluation(toy, task):
    observation = jnp.linspace(
        -1.0, 1.0, task.layout.reference_size + task.layout.proprioception_size
    )
    observation, zero = Observation.of(everything=observation[None]), jnp.zeros((1, 3))
    key = jnp.zeros(2, jnp.uint32)
    student = StudentPolicy(toy.params, toy.teacher, jnp.bool_(False), toy.student)
    expected = student.act(observation, student.initial_memory(1), key)
    steered = SteeredStudent(toy.params, toy.teacher, zero, toy.student).act(observation, (), key)
    np.testing.assert_allclose(steered.action, expected.action, atol=1e-6)
    np.testing.assert_allclose(steered.extra, expected.extra.posterior.mean, atol=1e-6)
    teacher = TeacherPolicy(toy.teacher, offset=zero).act(observation, (), key)
    np.testing.assert_allclose(teacher.action, expected.extra.teacher_action, atol=1e-6)


def test_an_offset_is_added_to_the_latent(toy, task):
    size = task.layout.reference_size + task.layout.proprioception_size
    observation, key = jnp.ones((1, size)), jnp.zeros(2, jnp.uint32)
    seen, offset = Observation.of(everything=observation), jnp.array([[0.0, 1.5, 0.0]])
    mean = toy.teacher.act(observation).latent_mean
    teacher = TeacherPolicy(toy.teacher, offset=offset).act(seen, (), key)
    expected = toy.teacher.act(observation, latent=mean + offset).action
    np.testing.assert_array_equal(teacher.action, expected)
    assert np.abs(expected - toy.teacher.act(observation).action).max() > 1e-3
    student = SteeredStudent(toy.params, toy.teacher, offset, toy.student).act(seen, (), key)
    reference, body = toy.teacher.split(toy.teacher.normalize(observation))
    latent = toy.student.encode(toy.params, body, reference).mean + offset
    np.testing.assert_allclose(
        student.action, toy.student.decode(toy.params, body, latent), atol=1e-6
    )


# --- Step by step -------------------------------------------------------------------------------


def test_an_episode_goes_as_the_rollout_does(task, toy_clips, policies, episode):
    """But for the noise at the start, which is drawn otherwise: so small that nothing shows."""
    policy = policies["teacher"]
    runner = EpisodeRunner(task, policy.ending)
    rollout = runner.run(policy.actor(), toy_clips, runner.draw(toy_clips, 1, 0), 1, num_steps=5)
    begun = episode.start(0)
    assert begun.reward == 0.0 and not begun.failed and episode.num_steps == 0
    np.testing.assert_allclose(begun.qpos, rollout.start_qpos[0], atol=5e-3)
    for step in range(5):
        told = episode.step(policy, policy.actor())
        assert told.reward == pytest.approx(float(rollout.steps.reward[step, 0]), rel=0.1)
        assert (told.failed, told.over) == (bool(rollout.steps.terminated[step, 0]), False)
        row = rollout.reference_rows(toy_clips)[step, 0]
        np.testing.assert_array_equal(told.reference_qpos, np.asarray(toy_clips.qpos())[row])
    assert episode.num_steps == 5 and episode.control_hz == rollout.control_hz


def test_it_ends_at_the_end_of_the_clip_and_who_acts_may_change(task, toy_clips, policies):
    one = toy_clips.select([1])
    stub = ImitationTask(task.config, task.walker, OnTheReference(task.physics, one))
    episode, steps = LiveEpisode(stub, one), []
    episode.start(0)
    while not steps or not (steps[-1].failed or steps[-1].over):
        policy = policies[("teacher", "student")[len(steps) % 2]]
        steps.append(episode.step(policy, policy.actor()))
        assert len(steps) < 200
    assert steps[-1].over and not steps[-1].failed
    np.testing.assert_allclose(steps[-1].qpos, steps[-1].reference_qpos, atol=1e-5)
    seconds = (int(one.lengths[0]) - 1 - task.config.traj_length) / one.rate_hz
    assert len(steps) == pytest.approx(seconds * episode.control_hz, abs=2)


def test_activity_is_of_each_latent_dimension(policies, episode):
    activity = latent_activity(episode, policies["student"])
    assert activity.shape == (3,) and (activity > 0).all()


# --- The page -----------------------------------------------------------------------------------


def test_the_page_plays_and_heeds_its_controls(toy_clips, toy_walker, policies, episode):
    viser = pytest.importorskip("viser", reason="needs the extra `viewer`")
    pytest.importorskip("mjviser", reason="needs the extra `viewer`")
    from vnl_mjx.report.rendering.live_page import LivePage

    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    activity = {name: np.array([0.1, 0.5, 0.3]) for name in policies}
    try:
        scene = build_scene(toy_walker)
        page = LivePage(server, scene, episode, toy_clips, policies, activity, "toy", 0, 3)
        assert page.num_episodes == 1 and list(page._sliders) == [1, 2, 0]  # the most active first
        period = 1.0 / episode.control_hz
        page.advance(3.5 * period)
        assert episode.num_steps == 3
        assert "**student**" in page._text.content and "reward" in page._text.content
        page._pause.value = True
        page.advance(1.0)
        assert episode.num_steps == 3
        page._pause.value = False
        page._sliders[1].value = 0.5
        np.testing.assert_allclose(page._offset(), [[0.0, 0.5, 0.0]])
        page._who.value = "prior"
        page.advance(period)
        assert "**prior**" in page._text.content and "reward" not in page._text.content
        assert page._noise_scale() == 1.0 and not np.asarray(page._offset()).any()
        page._clip.value = toy_clips.names[1]
        page.advance(0.0)
        assert page.num_episodes == 2 and episode.num_steps == 0
    finally:
        server.stop()


# --- The command --------------------------------------------------------------------------------


@pytest.mark.render
def test_view_films_a_teacher_on_a_clip(backend, teacher_folder, toy_config, tmp_path, capsys):
    arguments = [
        "view",
        str(teacher_folder / "teacher"),
        "--clips",
        str(teacher_folder / "clips.h5"),
    ]
    arguments += [
        "--mjcf",
        toy_config.source,
        "--clip",
        "2",
        "--size",
        "256x128",
        "--seconds",
        "0.2",
    ]
    output = tmp_path / "a.mp4"
    assert cli.main([*arguments, "--views", "side", "--ghost", "--output", str(output)]) == 0
    assert "256x128" in probe_video(output)
    assert re.search(r"a\.mp4: [\d.]+ s at 50 frames/s", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--who", "prior"], "expected some of teacher, reference"),
        (["--who", "teacher,teacher"], "once each"),
        (["--who", "reference"], "expected a policy, found the reference alone"),
        (["--clip", "9"], "expected 0 ... 3"),
        (["--start", "5"], "expected at most 0.66 s"),
        (["--all"], "--all: goes with a clip file"),
        (["--scale", "2"], "--scale: goes with a clip file"),
    ],
)
def test_refusals(arguments, message, teacher_folder, toy_config, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vnl_mjx.commands.view.view.choose_backend", lambda: "egl")
    common = ["--clips", str(teacher_folder / "clips.h5"), "--mjcf", toy_config.source]
    assert cli.main(["view", str(teacher_folder / "teacher"), *common, *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_checkpoint_and_options_of_policies(
    tmp_path, teacher_folder, monkeypatch, capsys
):
    monkeypatch.setattr("vnl_mjx.commands.view.view.choose_backend", lambda: "egl")
    (tmp_path / "notes").mkdir()
    assert cli.main(["view", str(tmp_path)]) == 2
    assert "found a folder with notes" in capsys.readouterr().err
    assert cli.main(["view", str(teacher_folder / "clips.h5"), "--who", "student"]) == 2
    assert "--who: goes with a run folder or a checkpoint" in capsys.readouterr().err
