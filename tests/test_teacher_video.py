"""Videos beside a training: drawn by another process, and never able to stop the run."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from video_helpers import perfect_rollout

from vnl_mjx.commands.train import teacher_video
from vnl_mjx.commands.train.teacher_video import TeacherVideos


class Recorder:
    """In place of a `VideoQueue`: what it is asked for."""

    asked: ClassVar[list[tuple]] = []

    def __init__(self, walker):
        self.is_done = False

    def add(self, name, motions, path):
        self.asked.append((motions, path))


def test_one_video_at_a_time_with_the_clip_as_a_ghost(toy_config, toy_clips, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_video, "VideoQueue", Recorder)
    monkeypatch.setattr(Recorder, "asked", [])
    videos = TeacherVideos(toy_config, tmp_path / "videos")
    for env_steps in (1001, 2002):
        videos.start(perfect_rollout(toy_clips), toy_clips, env_steps)
    ((motions, path),) = Recorder.asked
    assert path == tmp_path / "videos" / "1001.mp4"
    assert motions.title == f"{toy_clips.names[0]}, 1,001 steps" and motions.columns == 2
    assert [pane.view for pane in motions.panes] == ["side", "top"]
    for pane in motions.panes:
        np.testing.assert_allclose(pane.ghost_qpos, pane.qpos, atol=1e-7)  # it was perfect


@pytest.mark.render
@pytest.mark.slow
def test_a_video_is_drawn(backend, toy_config, toy_clips, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_video, "PANE_SIZE", (64, 64))
    videos, said = TeacherVideos(toy_config, tmp_path / "videos"), []
    videos.start(perfect_rollout(toy_clips), toy_clips, 1001)
    videos.finish(said.append)
    assert [p.name for p in (tmp_path / "videos").iterdir()] == ["1001.mp4"] and not said


def test_a_failure_costs_one_warning_and_no_more_videos(toy_config, toy_clips, tmp_path):
    broken = replace(toy_config, source=str(tmp_path / "none.xml"))
    videos, said = TeacherVideos(broken, tmp_path / "videos"), []
    videos.start(perfect_rollout(toy_clips), toy_clips, 1000)
    videos.finish(said.append)
    (line,) = said
    assert "no videos in this run" in line and "none.xml" in line
    videos.start(perfect_rollout(toy_clips), toy_clips, 2000)
    videos.finish(said.append)
    assert len(said) == 1
    assert list((tmp_path / "videos").iterdir()) == []
