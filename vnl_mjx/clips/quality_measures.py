"""Measures of poses and features that `quality` puts together, each over one clip."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vnl_mjx.clips.conditioning.segments import stretches
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.quaternions import rotate, rotation_between
from vnl_mjx.walkers.walker import Walker

JOINT_TOLERANCE_RAD = 0.01
FLOOR_TOLERANCE_M = 0.002  # MuJoCo's soft contacts let a standing rat sink by 1 mm
_ROUND_OFF_RAD = 1e-6  # float32 of a joint at its limit
_STILL = 1e-6  # m or rad between frames: float32 round-off of a pose that is repeated


def marker_errors(
    keypoints: np.ndarray,
    body_positions: np.ndarray,
    body_quaternions: np.ndarray,
    bodies: Sequence[int] | np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """Distance [frame, K] of each recorded keypoint from its marker on the body, metres.

    `keypoints` [frame, K, 3] are in the world, metres, NaN where the tracker lost it; `bodies` [K] are the
    rows of the bodies that the markers sit on, `offsets` [K, 3] metres in their frames.
    """
    rows = np.asarray(bodies)
    markers = body_positions[:, rows] + rotate(offsets, body_quaternions[:, rows])
    return np.linalg.norm(markers - keypoints, axis=-1)


def joint_limits(walker: Walker, joints: np.ndarray) -> dict[str, Any]:
    """How far joints [frame, joint] are beyond their ranges, and in how many frames."""
    model, own = walker.model, walker.layout.joint_ids
    low, high = model.jnt_range[own].T
    beyond = np.maximum(low - joints, joints - high) * (model.jnt_limited[own] != 0)
    worst, name = _largest(beyond, walker.joint_names)
    share = float(np.mean((beyond > JOINT_TOLERANCE_RAD).any(axis=1))) if len(beyond) else 0.0
    return {
        "joint_limit_rad": worst if worst > _ROUND_OFF_RAD else 0.0,
        "joint_limit_joint": name if worst > _ROUND_OFF_RAD else "",
        "joint_limit_share": share,
    }


def below_floor(
    walker: Walker, features: Mapping[str, np.ndarray], good: np.ndarray, feet: FootHeights
) -> dict[str, Any]:
    """How deep feet, and any body's origin, are below the floor in the good frames."""
    positions = features["body_positions"][good]
    model = walker.model
    solid = np.flatnonzero((model.body_weldid != 0) & (model.body_geomnum > 0))
    names = [walker.body_names[body] for body in solid]
    depth, lowest = _largest(walker.floor_height - positions[:, solid, 2], names)
    below = np.zeros((len(positions), 0))
    if len(walker.feet):
        below = -feet(positions, features["body_quaternions"][good])
    return {
        "penetration_mm": max(1000.0 * float(below.max()), 0.0) if below.size else 0.0,
        "penetration_share": float(np.mean((below > FLOOR_TOLERANCE_M).any(axis=1)))
        if below.size
        else 0.0,
        "body_below_floor_mm": max(1000.0 * depth, 0.0),
        "lowest_body": lowest if depth > 0.0 else "",
    }


def speeds(walker: Walker, features: Mapping[str, np.ndarray], good: np.ndarray) -> dict[str, Any]:
    """The largest velocities of root and joints in the good frames."""
    joint, name = _largest(np.abs(features["joints_velocity"][good]), walker.joint_names)
    linear, angular = (
        np.linalg.norm(features[which][good], axis=1).max(initial=0.0)
        for which in ("velocity", "angular_velocity")
    )
    return {
        "speed": float(linear),
        "angular_speed": float(angular),
        "joint_speed": joint,
        "fastest_joint": name,
    }


def changes(
    walker: Walker, pose: Mapping[str, np.ndarray], good: np.ndarray, rate_hz: float
) -> dict[str, Any]:
    """How far root and joints move from each frame to the next, where both are good."""
    pairs = np.flatnonzero(good[1:] & good[:-1])
    before = {name: values[pairs] for name, values in pose.items()}
    after = {name: values[pairs + 1] for name, values in pose.items()}
    moved = np.linalg.norm(after["position"] - before["position"], axis=1)
    turns = rotation_between(before["quaternion"], after["quaternion"])
    turned = np.linalg.norm(turns, axis=1)
    bent = np.abs(after["joints"] - before["joints"])
    joint, name = _largest(bent, walker.joint_names)
    still = np.zeros(max(len(good) - 1, 0), bool)
    still[pairs] = (moved <= _STILL) & (turned <= _STILL) & (bent <= _STILL).all(axis=1)
    longest = max((stop - start for start, stop in stretches(still)), default=0)
    return {
        "jump_m": float(moved.max(initial=0.0)),
        "jump_rad": float(turned.max(initial=0.0)),
        "jump_joint_rad": joint,
        "jump_joint": name,
        "frozen_s": longest / rate_hz,
    }


def _largest(values: np.ndarray, names: Sequence[str]) -> tuple[float, str]:
    """The largest of [frame, name] values and its name; 0 where there are none."""
    if not values.size:
        return 0.0, ""
    column = int(np.argmax(values.max(axis=0)))
    return float(values[:, column].max()), names[column]
