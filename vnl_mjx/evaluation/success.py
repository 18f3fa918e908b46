"""Measures success: whether an episode tracked the clip to its end within some distance.

An episode that failed before its end succeeds at no threshold, so thresholds above the task's own limits
add nothing.
"""

from collections.abc import Mapping

import numpy as np

from vnl_mjx.evaluation.per_episode import episode_max

DISTANCES_M = {f"{mm}mm": mm / 1000 for mm in (10, 20, 50, 100)}
BODY_LENGTH_SHARES = {f"{percent}_percent": percent / 100 for percent in (5, 10, 20, 50)}
# Thresholds of track-mjx and its successors: 4.5 rad is the root of `bad_pose_dist` 20 (rounded), 0.1 m
# that of `too_far_dist` 0.01. Their rotation threshold is for the half angle.
MAX_ROOT_M = 0.1
MAX_JOINT_DISTANCE_RAD = 4.5
MAX_ROTATION_DEG = 60.0


def success_metrics(
    survived: np.ndarray, errors: Mapping[str, np.ndarray], length: float
) -> dict[str, np.ndarray]:
    """Returns 1 or 0 per episode, [episode] each, from `tracking.step_errors` and the body's length, m.

    Returns:
        `success_root_10mm`, `success_root_5_percent` (of the body's length) and so on: the root was
        never farther than this from the reference's; `success_bodies_..` the same of the mean
        distance of the tracked bodies; `success_joints`, `success_rotation`: never beyond 4.5 rad
        (Euclidean norm) and 60 degrees; `success`: these two, and the root never farther than 0.1 m.
    """
    farthest = {
        part: 1e-3 * episode_max(errors[name])
        for part, name in (("root", "root_error_mm"), ("bodies", "mpjpe_global_mm"))
    }
    limits = dict(DISTANCES_M)
    limits |= {name: share * length for name, share in BODY_LENGTH_SHARES.items()}
    figures = {
        f"success_{part}_{name}": survived & (distance <= limit)
        for part, distance in farthest.items()
        for name, limit in limits.items()
    }
    joints = episode_max(errors["joint_distance_rad"]) <= MAX_JOINT_DISTANCE_RAD
    rotation = episode_max(errors["root_angle_deg"]) <= MAX_ROTATION_DEG
    near = farthest["root"] <= MAX_ROOT_M
    figures |= {"success_joints": survived & joints, "success_rotation": survived & rotation}
    figures["success"] = survived & joints & rotation & near
    return {name: value.astype(np.float64) for name, value in figures.items()}
