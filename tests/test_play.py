"""`vnl-mjx play` and `view` of a task: who acts, the page, recordings, arenas and marks, what is refused."""

import contextlib
import socket
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from video_helpers import probe_video, walking

from vnl_mjx.cli import main
from vnl_mjx.clips.hdf5 import read_clips
from vnl_mjx.commands.stored import StoredTask, load_stored_student
from vnl_mjx.commands.train.task_training import build_task_policy
from vnl_mjx.commands.view import play, view_task
from vnl_mjx.config.task import TaskNetworkSection
from vnl_mjx.evaluation.task_evaluation import TaskPlayer, task_policy
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.report.colors import BLUE, VERMILLION
from vnl_mjx.report.rendering.cameras import camera_path
from vnl_mjx.report.rendering.drawing import open_drawer
from vnl_mjx.report.rendering.ground_lines import ground_lines
from vnl_mjx.report.rendering.live_task import TaskActor
from vnl_mjx.report.rendering.scene import build_scene
from vnl_mjx.report.rendering.task_motion import task_motion
from vnl_mjx.report.rendering.task_page import measure_words
from vnl_mjx.tasks.downstream.bowl import BowlGround
from vnl_mjx.tasks.downstream.gaps import Platforms
from vnl_mjx.tasks.downstream.go_to_target import GoToTarget
from vnl_mjx.tasks.downstream.joystick import Joystick
from vnl_mjx.tasks.downstream.low_level import LowLevel
from vnl_mjx.tasks.downstream.task import DownstreamData, DownstreamTask
from vnl_mjx.utils.task_checkpointing import LoadedTask


def shown_task(run, goal, seconds=None) -> StoredTask:
    """A fresh policy, each of whose actions lasts two control steps."""
    stored = load_stored_student(str(run))
    low_level = LowLevel.of(stored.loaded.for_use())
    task = DownstreamTask(goal, stored.task, low_level, seconds)
    data = DownstreamData.of(low_level, stored.clips, stored.task)
    model = build_task_policy(task, TaskNetworkSection(policy_hidden_sizes=(16,)))
    size = model.policy_config.observation_size
    params = model.init(jax.random.key(0)).policy
    policy = FrozenPolicy(params, jnp.zeros(size), jnp.ones(size), model.policy_config)
    loaded = LoadedTask(policy, stored.loaded)
    return StoredTask(loaded, stored, task, data, task_policy(policy, 2))


@pytest.fixture(scope="module")
def run(distilled):
    return distilled[0] / "run"


@pytest.fixture(scope="module")
def driven(run) -> StoredTask:
    return shown_task(run, Joystick(), 1e7)


@pytest.fixture
def server():
    """A server of pages at a free port."""
    viser = pytest.importorskip("viser", reason="needs the extra `viewer`")
    pytest.importorskip("mjviser", reason="needs the extra `viewer`")
    found = viser.ViserServer(host="127.0.0.1", port=free_port(), verbose=False)
    yield found
    found.stop()


def free_port() -> int:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# --- Who acts -----------------------------------------------------------------------------------


def test_the_command_is_the_goal(driven):
    """From the first action after it on; it is never drawn anew."""
    still, fast = np.zeros(2, np.float32), np.array([0.4, 1.0], np.float32)
    one, other = (TaskActor(driven.task, driven.data, driven.policy, obeys=True) for _ in range(2))
    np.testing.assert_array_equal(one.start().qpos, other.start().qpos)
    commands = [still] * 4 + [fast] * 4
    differs = []
    for command in commands:
        a, b = one.step(still), other.step(command)
        differs.append(bool((a.qpos != b.qpos).any()))
        np.testing.assert_array_equal(other._state.environments.goal, command[None])
        assert set(b.measures) == {"speed_error_m_per_s", "turn_error_rad_per_s"}
    assert differs == [False] * 4 + [True] * 4


def test_a_drawn_goal_is_marked(run):
    shown = shown_task(run, GoToTarget(), 0.2)
    actor = TaskActor(shown.task, shown.data, shown.policy)
    begun, nothing = actor.start(), np.zeros(0, np.float32)
    assert begun.marks.shape == (1, 3) and np.isfinite(begun.marks).all()
    steps = [actor.step(nothing) for _ in range(shown.task.episode_steps)]
    np.testing.assert_array_equal(steps[-1].marks, begun.marks)
    assert [step.over for step in steps].index(True) == shown.task.episode_steps - 1 or any(
        step.failed for step in steps
    )
    played = TaskPlayer(shown.task).play(shown.policy, shown.data, 1, 0)
    motion = task_motion(played, shown.task, views=("top",), size=(64, 64))
    (pane,) = motion.panes
    assert motion.arena is None and pane.marks is not None and len(pane.marks) == len(pane.qpos)
    np.testing.assert_array_equal(pane.marks_at(0), pane.marks_at(10**6))


# --- The page -----------------------------------------------------------------------------------


def test_the_page_drives_records_and_begins_again(server, driven, tmp_path):
    from vnl_mjx.report.rendering.task_page import TaskPage

    walker, control_hz = driven.stored.task.walker, 1.0 / driven.task.control_timestep
    page = TaskPage(
        server,
        build_scene(walker),
        control_hz,
        play.actors(driven),
        driven.name,
        controls=play.CONTROLS,
        clips=driven.stored.clips.names,
        save=play.Recordings(driven, tmp_path, None),
    )
    commands = {c.hotkey: c for c in server.gui._command_handle_from_uuid.values()}
    assert set(commands) == {"arrowup", "arrowdown", "arrowleft", "arrowright", "space"}

    def press(key):
        for function in commands[key]._impl.trigger_cb:
            function(None)

    for key in ("arrowup", "arrowup", "arrowleft", *["arrowdown"] * 9, "arrowup"):
        press(key)
    np.testing.assert_allclose(page.command(), [0.1, 0.2])  # never below what a slider allows
    assert not page._clip.visible and page._sliders[0].visible
    period = 1.0 / control_hz
    page._wants_recording, page._recorded_who = True, "joystick"
    page.advance(0.0)
    poses = []
    for _ in range(6):
        page.advance(1.001 * period)
        poses.append(page._step.qpos)
        assert not page._step.failed
    page._wants_recording = False
    press("space")
    page.advance(period)
    assert not page.command().any() and "speed error" in page._text.content
    assert page._saved.content.startswith("joystick_1.h5: ")
    clips = read_clips(tmp_path / "joystick_1.h5", walker)
    assert clips.rate_hz == pytest.approx(control_hz) and clips.lengths.tolist() == [7]
    assert "simulation in vnl-mjx play: joystick" in clips.info[0].made_by
    np.testing.assert_allclose(np.asarray(clips.qpos())[1:], poses, atol=1e-5)

    page._who.value = "student"
    page.advance(1.001 * period)
    assert page.num_episodes == 2 and page._step.reference_qpos is not None
    assert page._clip.visible and not page._sliders[0].visible
    page._wants_recording, page._recorded_who = True, "student"
    page.advance(2.001 * period)
    page.advance(2.001 * period)
    assert page.store_recording().startswith("student_1.h5: ")  # as where the page ends meanwhile
    assert page.store_recording() == ""
    page._step = replace(page._step, failed=True)
    page._waiting = 1.0
    page.advance(0.5)
    assert page.num_episodes == 2
    page.advance(0.6)
    assert page.num_episodes == 3 and page.num_steps == 0


def test_measures_are_said_with_their_units():
    assert measure_words("speed_error_m_per_s", 0.123) == "speed error 0.12 m/s"
    assert measure_words("distance_m", 1.0) == "distance 1.00 m"
    assert measure_words("reached", 0.0) == "reached 0.00"


# --- Arenas and marks ---------------------------------------------------------------------------


@pytest.mark.parametrize("arena", [Platforms(), BowlGround()], ids=["platforms", "bowl"])
def test_an_arena_lies_in_place_of_the_floor(arena, toy_walker):
    scene = build_scene(toy_walker, arena)
    model = scene.model
    assert not scene.is_flat and model.nq == toy_walker.nq
    ground = model.geom_bodyid == 0
    assert ground.any() and not (model.geom_contype[ground] | model.geom_conaffinity[ground]).any()
    lines = ground_lines(scene)
    assert np.isfinite(lines).all()
    rise = jax.vmap(arena.ground)(jnp.asarray(lines[:, 0, :2]))
    expected = toy_walker.floor_height + np.asarray(rise)
    # a few are on the arena's edge, where a ray may go past
    assert np.mean(np.abs(lines[:, 0, 2] - expected) < 0.1 * scene.square) > 0.99


@pytest.mark.render
def test_marks_are_drawn(backend, toy_walker):
    scene, qpos = build_scene(toy_walker, max_width=128, max_height=128), walking(toy_walker, 1)
    path = camera_path(scene, qpos, 50.0, "top")
    marks = np.stack([path.lookat[0] + [0.0, 0.0, 0.5 * scene.reach], np.full(3, np.nan)])
    with open_drawer(scene, 128, 128, backend) as drawer:
        bare, marked = drawer.draw(qpos[0], path, 0), drawer.draw(qpos[0], path, 0, marks=marks)
        dotted = drawer.draw(qpos[0], path, 0, marks=marks, dots=(BLUE, VERMILLION))
        np.testing.assert_array_equal(drawer.draw(qpos[0], path, 0), bare)
    red, green, blue = marked[64, 64].astype(int)
    assert red > 2 * blue and red > green and (bare[64, 64] != marked[64, 64]).any()
    red, green, blue = dotted[64, 64].astype(int)
    assert blue > 2 * red and blue > green


@pytest.mark.render
def test_view_films_a_task(backend, run, tmp_path, monkeypatch):
    shown = shown_task(run, GoToTarget(), 0.2)
    monkeypatch.setattr(
        "vnl_mjx.commands.view.view_policy.find_stored", lambda path: ("task", path)
    )
    monkeypatch.setattr(view_task, "load_stored_task", lambda *_: shown)
    output = tmp_path / "a.mp4"
    words = ["view", str(run), "--output", str(output), "--size", "128x64", "--seconds", "0.2"]
    assert main(words) == 0
    assert "128x64" in probe_video(output)


# --- What is refused ----------------------------------------------------------------------------


def test_refusals(server, run, tmp_path, monkeypatch, capsys):
    def error(*words):
        assert main([*map(str, words)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "expected the run of vnl-mjx train-task joystick, found a student" in error("play", run)
    assert "does not exist" in error("play", tmp_path / "nothing")
    assert "--output: there is no folder" in error("play", run, "--output", tmp_path / "nothing")
    taken = server.get_port()
    assert f"--port: {taken} cannot be used" in error("play", run, "--port", taken)
    shown = shown_task(run, GoToTarget(), 0.2)
    for name in ("play", "view_policy"):
        place = f"vnl_mjx.commands.view.{name}.find_stored"
        monkeypatch.setattr(place, lambda path: ("task", path))
    monkeypatch.setattr(play, "load_stored_task", lambda *_: shown)
    assert "found the task 'go_to_target'" in error("play", run)
    monkeypatch.setattr("vnl_mjx.commands.view.view.choose_backend", lambda: "egl")
    assert "--who: goes with a student or a teacher" in error("view", run, "--who", "student")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "uv sync --inexact --extra viewer" in error("play", run)
