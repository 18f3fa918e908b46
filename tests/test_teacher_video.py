"""Videos beside a training: drawn by another process, and never able to stop the run."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from vnl_mjx.commands import teacher_video
from vnl_mjx.commands.teacher_video import TeacherVideos


def evaluation_of(clips, num_steps: int = 10):
    """What the videos read of an evaluation: one episode per clip, from frame 2."""
    frames = 3 + np.arange(num_steps)[:, None].repeat(clips.num_clips, axis=1)
    first = np.asarray(clips.starts)

    def qpos_of(clip):
        return np.asarray(clips.qpos())[first[clip] + 2 : first[clip] + 3 + num_steps]

    return SimpleNamespace(
        rollout=SimpleNamespace(
            qpos_of=qpos_of,
            steps=SimpleNamespace(frame=frames),
            episodes=SimpleNamespace(start_frame=np.full(clips.num_clips, 2)),
            control_hz=50.0,
        )
    )


@pytest.fixture
def poses(toy_config, toy_clips, tmp_path, monkeypatch):
    """The poses of a begun video, which nothing has drawn."""
    command = []
    process = SimpleNamespace(poll=lambda: None)
    videos = TeacherVideos(toy_config, tmp_path / "videos")
    with monkeypatch.context() as patch:
        patch.setattr(
            teacher_video.subprocess, "Popen", lambda given, **_: command.extend(given) or process
        )
        videos.start(evaluation_of(toy_clips), toy_clips, 1001)
    assert command[:3] == [sys.executable, "-m", "vnl_mjx.commands.teacher_video"]
    return [*command[3:]]


def test_the_ghost_is_the_reference_of_the_same_frames(poses, toy_clips):
    with np.load(poses[0]) as stored:
        np.testing.assert_array_equal(stored["ghost"], stored["qpos"])  # the episode was perfect
        assert str(stored["title"]) == f"{toy_clips.names[0]}, 1,001 steps"
        assert json.loads(str(stored["walker"]))["root_body"] == "torso"


@pytest.mark.render
def test_a_video_is_drawn_and_its_poses_removed(poses, backend, tmp_path):
    teacher_video.main(*map(teacher_video.Path, poses))
    assert [p.name for p in (tmp_path / "videos").iterdir()] == ["1001.mp4"]


def test_a_failure_costs_one_warning_and_no_more_videos(toy_config, toy_clips, tmp_path):
    broken = replace(toy_config, source=str(tmp_path / "none.xml"))
    videos, said = TeacherVideos(broken, tmp_path / "videos"), []
    videos.start(evaluation_of(toy_clips), toy_clips, 1000)
    videos.finish(said.append)
    (line,) = said
    assert "no videos in this run" in line and "none.xml" in line
    videos.start(evaluation_of(toy_clips), toy_clips, 2000)
    videos.finish(said.append)
    assert len(said) == 1
    assert list((tmp_path / "videos").iterdir()) == []
