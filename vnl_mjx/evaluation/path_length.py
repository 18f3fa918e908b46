"""How far the root went over the floor, in simulation and in the clip."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.rollout import Rollout

MOVING_SPEED = 0.05  # m/s, of a motion whose speed or path means something
# It is measured over chords of so long, which leave out the sway within a stride.
_CHORD_SECONDS = 0.25


@dataclass(frozen=True)
class PathLengths:
    """How far the root went over the floor in simulation and in what the episode saw of the clip; m, s."""

    path: np.ndarray
    seconds: np.ndarray
    clip_path: np.ndarray
    clip_seconds: np.ndarray

    @property
    def moving(self) -> np.ndarray:
        """Whether the clip moved, bool [episode]."""
        return self.clip_path > MOVING_SPEED * self.clip_seconds


def path_lengths(rollout: Rollout, clips: ReferenceClips) -> PathLengths:
    """How far the root went in each episode, and how far the clip's root in the same frames."""
    episodes, layout = rollout.episodes, clips.layout
    clip_position, _ = root_pose(np.asarray(clips.qpos()), layout)
    rows = []
    for episode, (clip, start) in enumerate(
        zip(episodes.clip.tolist(), episodes.start_frame.tolist(), strict=True)
    ):
        qpos, last = rollout.qpos_of(episode), start
        if len(qpos) > 1:
            last = int(rollout.steps.frame[len(qpos) - 2, episode])
        first = int(np.asarray(clips.starts)[clip])
        reference = clip_position[first + start : first + last + 1]
        rows.append(
            (
                path_length(root_pose(qpos, layout)[0][:, :2], rollout.control_hz),
                (len(qpos) - 1) / rollout.control_hz,
                path_length(reference[:, :2], clips.rate_hz),
                (len(reference) - 1) / clips.rate_hz,
            )
        )
    return PathLengths(*np.array(rows).T)


def path_length(position: np.ndarray, rate_hz: float) -> float:
    """Length of the path of [frame, 2] positions in metres, without the sway within a stride."""
    step = max(1, round(_CHORD_SECONDS * rate_hz))
    places = position[np.append(np.arange(0, len(position) - 1, step), len(position) - 1)]
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
