"""How far a simulation is from its reference, step by step.

A step's state is compared with the frame that the reward of this step read (`Rollout.reference_rows`).
All errors are [time, episode] or [...]; a mean per joint or body is over `WalkerConfig.body_names`.
"""

import numpy as np

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.body_motion import (
    BodyMotion,
    compared_state,
    reference_motion,
    simulated_motion,
    strides,
)
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.quaternions import rotation_between
from vnl_mjx.walkers.layout import Layout


def pose_errors(qpos: np.ndarray, reference: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """Errors of poses [..., nq] in the world, [...] each; of a root that is not free, zero.

    Distance of the root, angle of the rotation between its orientations, mean absolute difference of the
    joints and its Euclidean norm.
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
    """Errors of body positions, mm, of states that correspond.

    `mpjpe_root_relative_mm` and `end_effector_error_mm` are in the frame of each one's own root body,
    `mpjpe_procrustes_mm` after `aligned`.
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
    """Returns `pose_errors` of every step, [time, episode]; NaN where it did not happen or diverged."""
    reference = np.asarray(clips.qpos())[rollout.reference_rows(clips)]
    return _of_valid(rollout, pose_errors(rollout.steps.qpos, reference, clips.layout))


def _of_valid(rollout: Rollout, errors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.where(rollout.valid, error, np.nan) for name, error in errors.items()}


def step_errors(
    rollout: Rollout, clips: ReferenceClips, simulated: BodyMotion, reference: BodyMotion
) -> dict[str, np.ndarray]:
    """Every error of every step, [time, episode]; NaN where the step did not happen or diverged."""
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
    """`step_errors` where nothing else needs the motion of the bodies."""
    simulated = simulated_motion(rollout, computer)
    return step_errors(rollout, clips, simulated, reference_motion(rollout, clips, computer.walker))


def mean_distance(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean over points of their distances, [...] of [..., point, 3]."""
    return np.linalg.norm(points - others, axis=-1).mean(axis=-1)


def aligned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`points` [..., point, 3] turned and shifted to be nearest to `target` in least squares.

    Neither scaled nor mirrored: bodies of a simulation have their true size. Kabsch 1976, "A
    solution for the best rotation to relate two sets of vectors". (Procrustes errors of human pose
    estimation often scale as well, and are then smaller.)
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
    """Velocities and accelerations by central differences within each episode, m/s and m/s^2.

    Args:
        positions: [state, episode, ...] metres.
        present: bool [state, episode], of each episode a first part.
        stride: states from the middle to either end.
        rate_hz: states per second.

    Returns:
        Two arrays as `positions`; NaN where a state lacks one of the two others.
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
