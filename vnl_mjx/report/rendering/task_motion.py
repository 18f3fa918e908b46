"""Turns an episode of a task into a motion to draw, with its arena and the goal's marks."""

from typing import Any

import numpy as np

from vnl_mjx.evaluation.task_evaluation import TaskEpisodes
from vnl_mjx.report.rendering.side_by_side import SideBySide, one_motion
from vnl_mjx.tasks.downstream.task import DownstreamTask


def task_motion(
    played: TaskEpisodes, task: DownstreamTask, seconds: float | None = None, **look: Any
) -> SideBySide:
    """Returns the first episode, up to some seconds; `look` has the options of `one_motion`."""
    frames = None if seconds is None else round(seconds * played.control_hz)
    qpos, marks = played.qpos_of(0)[:frames], played.marks[played.alive[:, 0], 0]
    return one_motion(
        qpos,
        played.control_hz,
        marks=np.concatenate([marks[:1], marks])[:frames],
        title=task.goal.name,
        arena=task.goal.arena,
        **look,
    )
