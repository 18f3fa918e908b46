"""Computes positions of bodies in simulation and reference, and their errors, step by step.

Each state is compared with the frame that the reward of its step read (`Rollout.reference_rows`).
All errors are [time, episode] or [...]; a mean per joint or body is over `WalkerConfig.body_names`.
"""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.quaternions import points_in_frame, rotation_between
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.walker import Walker


@dataclass(frozen=True)
class BodyMotion:
    """Holds a walker in consecutive states, [state, episode, ...]; entries not present are meaningless.

    Attributes:
        present: bool, covers a first part of each episode.
        bodies_w: [.., tracked body, 3] world, m.
        root_w: [.., 3] the root body, world, m.
        root_quaternion: [.., 4] of the root body.
        end_effectors_b: [.., end effector, 3] in the frame of the root body, m.
        contacts: [.., foot] whether it stands on the floor, bool.
    """

    present: np.ndarray
    bodies_w: np.ndarray
    root_w: np.ndarray
    root_quaternion: np.ndarray
    end_effectors_b: np.ndarray
    contacts: np.ndarray

    @property
    def bodies_b(self) -> np.ndarray:
        """The bodies in the frame of the root body [.., tracked body, 3], m."""
        points = self.bodies_w.reshape(-1, *self.bodies_w.shape[-2:])
        root = self.root_w.reshape(-1, 3), self.root_quaternion.reshape(-1, 4)
        return points_in_frame(*root, points).reshape(self.bodies_w.shape)

    def at(self, state: np.ndarray) -> "BodyMotion":
        """Returns the requested states [time, episode], each of its own episode."""
        episode = np.arange(state.shape[1])
        return BodyMotion(**{name: values[state, episode] for name, values in vars(self).items()})


def simulated_motion(rollout: Rollout, computer: FeatureComputer) -> BodyMotion:
    """Returns the simulation's states before the first and after each step; computes bodies from poses."""
    present = np.concatenate([np.ones((1, rollout.num_episodes), bool), rollout.valid])
    qpos = np.concatenate([rollout.start_qpos[None], rollout.steps.qpos])
    own = present.T  # an episode after the other, as features of clips are computed
    lengths = own.sum(axis=1)
    features = computer(
        qpos.transpose(1, 0, 2)[own].astype(np.float64), lengths, rollout.control_hz
    )
    state = np.minimum(np.arange(len(present))[:, None], lengths - 1)
    names = "body_positions", "body_quaternions", "end_effectors", "contacts"
    rows = np.cumsum(lengths) - lengths + state
    return _gathered(computer.walker, present, rows, *(features[name] for name in names))


def reference_motion(rollout: Rollout, clips: ReferenceClips, walker: Walker) -> BodyMotion:
    """Returns the clip's frames of each episode, from its start frame to one after the last frame read."""
    clip, start = rollout.episodes.clip, rollout.episodes.start_frame
    frames = start + np.arange(compared_state(rollout, clips).max(initial=0) + 2)[:, None]
    last = np.asarray(clips.lengths)[clip] - 1
    rows = np.asarray(clips.starts)[clip] + np.minimum(frames, last)
    features = clips.body_positions, clips.body_quaternions, clips.end_effectors, clips.contacts
    return _gathered(walker, frames <= last, rows, *map(np.asarray, features))


def _gathered(
    walker: Walker,
    present: np.ndarray,
    rows: np.ndarray,
    positions: np.ndarray,
    quaternions: np.ndarray,
    end_effectors: np.ndarray,
    contacts: np.ndarray,
) -> BodyMotion:
    """Gathers features of clips [frame, ...] by `rows`, [state, episode]."""
    return BodyMotion(
        present=present,
        bodies_w=positions[:, walker.tracked_bodies][rows].astype(np.float64),
        root_w=positions[:, walker.root_body][rows].astype(np.float64),
        root_quaternion=quaternions[:, walker.root_body][rows].astype(np.float64),
        end_effectors_b=end_effectors[rows].astype(np.float64),
        contacts=contacts[rows] > 0.5,
    )


def compared_state(rollout: Rollout, clips: ReferenceClips) -> np.ndarray:
    """Returns the state of `reference_motion` that each step is compared with, [time, episode]."""
    first = np.asarray(clips.starts)[rollout.episodes.clip] + rollout.episodes.start_frame
    return rollout.reference_rows(clips) - first


def frames_seen(rollout: Rollout, clips: ReferenceClips) -> np.ndarray:
    """Returns how many states of `reference_motion` each episode went through, [episode]."""
    states = np.where(rollout.valid, compared_state(rollout, clips), 0)
    return 1 + states.max(axis=0, initial=0)


def strides(control_hz: float, rate_hz: float) -> tuple[int, int]:
    """Returns the numbers of control steps and of frames in the shortest common period."""
    return max(1, round(control_hz / rate_hz)), max(1, round(rate_hz / control_hz))


def pose_errors(qpos: np.ndarray, reference: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """Computes errors of poses [..., nq] in the world, [...] each; zero for a root that is not free.

    The errors are the root's distance, the rotation angle between its orientations, and the mean absolute
    difference and Euclidean norm of the joints' difference.
    """
    qpos, reference = np.asarray(qpos, np.float64), np.asarray(reference, np.float64)
    position, quaternion = root_pose(qpos, layout)
    expected_position, expected_quaternion = root_pose(reference, layout)
    turned = rotation_between(expected_quaternion, quaternion)
    joints = (qpos - reference)[..., layout.joint_qpos]
    return {
        "root_error_mm": 1e3 * np.linalg.norm(position - expected_position, axis=-1),
        "root_angle_deg": np.degrees(np.linalg.norm(turned, axis=-1)),
        "joint_error_rad": np.abs(joints).mean(axis=-1),
        "joint_distance_rad": np.linalg.norm(joints, axis=-1),
    }


def body_errors(simulated: BodyMotion, reference: BodyMotion) -> dict[str, np.ndarray]:
    """Computes errors of body positions, mm, between corresponding states.

    `mpjpe_root_relative_mm` and `end_effector_error_mm` use each side's own root frame;
    `mpjpe_procrustes_mm` is taken after `aligned`.
    """
    bodies_w, reference_w = simulated.bodies_w, reference.bodies_w
    metres = {
        "mpjpe_global_mm": mean_distance(bodies_w, reference_w),
        "mpjpe_root_relative_mm": mean_distance(simulated.bodies_b, reference.bodies_b),
        "mpjpe_procrustes_mm": mean_distance(aligned(bodies_w, reference_w), reference_w),
        "end_effector_error_mm": mean_distance(
            simulated.end_effectors_b, reference.end_effectors_b
        ),
    }
    return {name: 1e3 * error for name, error in metres.items()}


def pose_step_errors(rollout: Rollout, clips: ReferenceClips) -> dict[str, np.ndarray]:
    """Returns `pose_errors` of every step, [time, episode]; NaN if it did not happen or diverged."""
    reference = np.asarray(clips.qpos())[rollout.reference_rows(clips)]
    return _of_valid(rollout, pose_errors(rollout.steps.qpos, reference, clips.layout))


def _of_valid(rollout: Rollout, errors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.where(rollout.valid, error, np.nan) for name, error in errors.items()}


def step_errors(
    rollout: Rollout, clips: ReferenceClips, simulated: BodyMotion, reference: BodyMotion
) -> dict[str, np.ndarray]:
    """Returns all errors of every step, [time, episode]; NaN if the step did not happen or diverged."""
    state = compared_state(rollout, clips)
    after = np.broadcast_to(np.arange(1, len(state) + 1)[:, None], state.shape)
    errors = body_errors(simulated.at(after), reference.at(state))
    own, clips_own = strides(rollout.control_hz, clips.rate_hz)
    moving = rates_of_change(simulated.bodies_w, simulated.present, own, rollout.control_hz)
    asked = rates_of_change(reference.bodies_w, reference.present, clips_own, clips.rate_hz)
    episode = np.arange(rollout.num_episodes)
    names = "velocity_error_m_per_s", "acceleration_error_m_per_s2"
    for name, values, clip_values in zip(names, moving, asked, strict=True):
        errors[name] = mean_distance(values[1:], clip_values[state, episode])
    return pose_step_errors(rollout, clips) | _of_valid(rollout, errors)


def all_step_errors(
    rollout: Rollout, clips: ReferenceClips, computer: FeatureComputer
) -> dict[str, np.ndarray]:
    """Returns `step_errors`, and computes the motion of the bodies for it."""
    simulated = simulated_motion(rollout, computer)
    return step_errors(rollout, clips, simulated, reference_motion(rollout, clips, computer.walker))


def mean_distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the mean distance over points, [...], of [..., point, 3]."""
    return np.linalg.norm(points - others, axis=-1).mean(axis=-1)


def aligned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotates and shifts `points` [..., point, 3] to the least-squares fit to `target`.

    Points are neither scaled nor mirrored, because simulated bodies have their true size. Kabsch 1976, "A
    solution for the best rotation to relate two sets of vectors". (Procrustes errors in human pose
    estimation often also scale, which makes them smaller.)
    """
    center, target_center = (p.mean(axis=-2, keepdims=True) for p in (points, target))
    own, wanted = points - center, target - target_center
    left, _, right = np.linalg.svd(np.swapaxes(own, -1, -2) @ wanted)
    mirrored = np.sign(np.linalg.det(left) * np.linalg.det(right))
    left[..., :, 2] *= mirrored[..., None]
    return own @ (left @ right) + target_center


def rates_of_change(
    positions: np.ndarray, present: np.ndarray, stride: int, rate_hz: float
) -> tuple[np.ndarray, np.ndarray]:
    """Computes velocities (m/s) and accelerations (m/s^2) of positions [state, episode, ...], m.

    Uses central differences over `stride` states before and after. NaN if one of these is not `present`,
    bool [state, episode], which covers a first part of each episode.
    """
    velocity, acceleration = (np.full(positions.shape, np.nan) for _ in range(2))
    if len(positions) > 2 * stride:
        middle = slice(stride, len(positions) - stride)
        before, after = positions[: -2 * stride], positions[2 * stride :]
        seconds = stride / rate_hz
        velocity[middle] = (after - before) / (2.0 * seconds)
        acceleration[middle] = (after - 2.0 * positions[middle] + before) / seconds**2
        missing = ~present[2 * stride :]
        velocity[middle][missing] = acceleration[middle][missing] = np.nan
    return velocity, acceleration
