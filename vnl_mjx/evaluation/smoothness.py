"""Measures smoothness of motion and actions, distance, and energetic cost."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.evaluation.per_episode import episode_mean, episode_median, ratio
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.evaluation.tracking import BodyMotion, frames_seen, strides

MOVING_SPEED = 0.05  # m/s, of a motion whose speed or path means something
# It is measured over chords of so long, which leave out the sway within a stride.
_CHORD_SECONDS = 0.25
JERK_WINDOW_S = 0.4
_LEAST_SPEED = 0.05  # m/s, mean of a window: what moves less is noise over next to nothing


@dataclass(frozen=True)
class PathLengths:
    """Holds the root's path lengths in simulation and in the clip's frames of the same episode; m, s."""

    path: np.ndarray
    seconds: np.ndarray
    clip_path: np.ndarray
    clip_seconds: np.ndarray

    @property
    def moving(self) -> np.ndarray:
        """Whether the clip moved, bool [episode]."""
        return self.clip_path > MOVING_SPEED * self.clip_seconds


def path_lengths(rollout: Rollout, clips: ReferenceClips) -> PathLengths:
    """Computes the root's path length in each episode, and the clip's in the same frames."""
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
    """Returns the length of a path [frame, 2], metres, without the sway within a stride."""
    step = max(1, round(_CHORD_SECONDS * rate_hz))
    places = position[np.append(np.arange(0, len(position) - 1, step), len(position) - 1)]
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())


def smoothness_metrics(
    rollout: Rollout,
    clips: ReferenceClips,
    simulated: BodyMotion,
    reference: BodyMotion,
    paths: PathLengths,
) -> dict[str, np.ndarray]:
    """Computes the metrics of each episode, [episode] each; NaN if there is nothing to measure.

    Simulation and reference are sampled alike, so that their jerks can be compared.
    """
    own, clips_own = strides(rollout.control_hz, clips.rate_hz)
    seen = np.arange(len(reference.present))[:, None] < frames_seen(rollout, clips)
    jerks = (
        normalized_jerk(bodies[::stride], present[::stride], rate_hz / stride)
        for bodies, present, rate_hz, stride in (
            (simulated.bodies_w, simulated.present, rollout.control_hz, own),
            (reference.bodies_w, seen, clips.rate_hz, clips_own),
        )
    )
    figures = dict(zip(("normalized_jerk", "reference_normalized_jerk"), jerks, strict=True))
    steps, valid = rollout.steps, rollout.valid
    energy = np.where(valid, steps.power, 0.0).sum(axis=0, dtype=np.float64) / rollout.control_hz
    moved = np.where(paths.path > MOVING_SPEED * paths.seconds, paths.path, 0.0)
    return (
        figures
        | action_changes(steps.action, valid)
        | {
            "power_w": episode_mean(np.asarray(steps.power, np.float64), valid),
            "energy_per_metre": ratio(energy, moved),
        }
    )


def normalized_jerk(positions: np.ndarray, present: np.ndarray, rate_hz: float) -> np.ndarray:
    """Computes the median over bodies and sliding windows of the dimensionless squared jerk, [episode].

    For a body in a window of D seconds it is D^5 / L^2 times the integral of its squared jerk, where L is
    the length of its path: the normalised jerk of Teulings et al. 1997 ("Parkinsonism reduces coordination
    of fingers, wrist, and arm in fine motor control") without its root and factor of a half, one of the
    dimensionless measures of Hogan and Sternad 2009 ("Sensitivity of smoothness measures to movement
    duration, amplitude, and arrests"). Windows of 0.4 s are ProtoMotions'
    (`protomotions/agents/evaluators/smoothness_calculator.py`), which takes the mean and adds a constant to
    L; here windows of too little motion are left out.

    `positions` [state, episode, body, 3] are in metres; `present`, bool [state, episode], covers a first
    part of each episode. NaN if no window is whole, or nothing moves.
    """
    intervals = max(3, round(JERK_WINDOW_S * rate_hz))
    if len(positions) <= intervals:
        return np.full(positions.shape[1], np.nan)
    seconds = intervals / rate_hz
    path = _sliding_sum(_norm(np.diff(positions, axis=0)), intervals)
    squared = np.square(_norm(np.diff(positions, n=3, axis=0)) * rate_hz**3)
    # third differences miss the jerk at the ends of a window, so the mean stands for them
    integral = _sliding_sum(squared, intervals - 2) / (intervals - 2) * seconds
    counts = present[intervals:, :, None] & (path > _LEAST_SPEED * seconds)
    return episode_median(np.where(counts, seconds**5 * ratio(integral, path**2), np.nan))


def action_changes(action: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
    """Returns mean first and second differences of actions [time, episode, nu] in [-1, 1], [episode] each."""
    action = np.asarray(action, np.float64)
    names = "action_change", "action_second_difference"
    return {
        name: episode_mean(np.abs(np.diff(action, n=order, axis=0)).mean(axis=-1), valid[order:])
        for order, name in enumerate(names, start=1)
    }


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


def _sliding_sum(values: np.ndarray, length: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=0).sum(axis=-1)
