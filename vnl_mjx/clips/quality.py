"""Measures the quality of a clip and compares it with limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vnl_mjx.clips.columns import POSE
from vnl_mjx.clips.conditioning.segments import stretches
from vnl_mjx.clips.container import FEATURES, ReferenceClips
from vnl_mjx.clips.feet import FootHeights, floor_heights
from vnl_mjx.config.preprocessing import QualityLimits
from vnl_mjx.quaternions import rotate, rotation_between
from vnl_mjx.walkers.walker import Walker

_JOINT_TOLERANCE_RAD = 0.01
_FLOOR_TOLERANCE_M = 0.002  # MuJoCo's soft contacts let a standing rat sink by 1 mm
_ROUND_OFF_RAD = 1e-6  # float32 of a joint at its limit
_STILL = 1e-6  # m or rad between frames: float32 round-off of a pose that is repeated


# What each limited measure is of (the category of a clip that was cut), its unit, and the field that names
# where it was found. Messages, tables and pictures show these words.
_WORDS: dict[str, tuple[str, str, str]] = {
    "marker_rms_mm": ("marker error", "mm rms", ""),
    "marker_max_mm": ("marker error", "mm at most", ""),
    "joint_limit_rad": ("joint limit", "rad beyond", "joint_limit_joint"),
    "joint_limit_share": ("joint limit", "of the frames beyond", "joint_limit_joint"),
    "penetration_mm": ("below the floor", "mm (lowest point)", ""),
    "body_below_floor_mm": ("below the floor", "mm", "lowest_body"),
    "speed": ("speed", "m/s of the root", ""),
    "angular_speed": ("speed", "rad/s of the root", ""),
    "joint_speed": ("speed", "rad/s of a joint", "fastest_joint"),
    "jump_m": ("jump", "m of the root between frames", ""),
    "jump_rad": ("jump", "rad of the root between frames", ""),
    "jump_joint_rad": ("jump", "rad of a joint between frames", "jump_joint"),
    "frozen_s": ("frozen", "s", ""),
    "filled_share": ("filled gaps", "of the frames", ""),
    "clamped_share": ("clamped velocities", "of the frames", ""),
    "missing_frames": ("missing frames", "frames", ""),
}


@dataclass(frozen=True)
class ClipQuality:
    """Holds measures of one clip; a number that cannot be measured (no keypoints) is NaN."""

    frames: int  # how many
    missing_frames: int  # with NaN; no other measure counts them
    marker_rms_mm: float  # distance of keypoints from their markers, root of the mean square
    marker_max_mm: float  # the largest such distance
    joint_limit_rad: float  # farthest beyond a joint's range; 0 where none is
    joint_limit_share: float  # of frames with a joint more than 0.01 rad beyond its range
    joint_limit_joint: str  # which joint was farthest; empty where none was
    penetration_mm: float  # deepest that a foot's lowest point is below the floor; 0 where none is
    penetration_share: float  # of frames with a foot more than 2 mm below the floor
    body_below_floor_mm: float  # deepest that the origin of any body with geoms is below the floor
    lowest_body: str  # which
    speed: float  # largest of the root, m/s
    angular_speed: float  # largest of the root, rad/s
    joint_speed: float  # largest of a joint, rad/s
    fastest_joint: str  # which
    jump_m: float  # largest movement of the root from one frame to the next
    jump_rad: float  # largest rotation of the root from one frame to the next
    jump_joint_rad: float  # largest movement of a joint from one frame to the next
    jump_joint: str  # which
    frozen_s: float  # longest time in which the pose does not change
    filled_share: float  # of frames that were interpolated over gaps
    clamped_values: int  # joint velocities that were limited
    clamped_share: float  # of frames with such a velocity

    def numbers(self) -> dict[str, float]:
        """Returns the numeric measures by name."""
        return {name: float(v) for name, v in vars(self).items() if not isinstance(v, str)}


def assess(
    walker: Walker,
    features: Mapping[str, np.ndarray],
    rate_hz: float,
    *,
    marker_errors: np.ndarray | None = None,
    filled: np.ndarray | None = None,
    clamped: np.ndarray | None = None,
    feet: FootHeights | None = None,
) -> ClipQuality:
    """Measures one clip by its features [frame, ...]; needs no contacts or limbs.

    `marker_errors` [frame, keypoint] come from the function of that name and are NaN for lost keypoints.
    `filled` flags frames that were interpolated over a gap; `clamped` counts the limited joint velocities
    of each frame.
    """
    pose = {name: np.asarray(features[name], np.float64) for name in POSE}
    good = np.logical_and.reduce([np.isfinite(values).all(axis=1) for values in pose.values()])
    count = len(good)
    errors = np.full((1, 1), np.nan) if marker_errors is None else 1000.0 * marker_errors
    errors = errors[np.isfinite(errors)]
    hit = np.zeros(count, int) if clamped is None else clamped
    return ClipQuality(
        frames=count,
        missing_frames=int(count - good.sum()),
        marker_rms_mm=float(np.sqrt(np.mean(np.square(errors)))) if errors.size else np.nan,
        marker_max_mm=float(errors.max()) if errors.size else np.nan,
        filled_share=0.0 if filled is None else float(np.mean(filled)),
        clamped_values=int(hit.sum()),
        clamped_share=float(np.mean(hit > 0)) if count else 0.0,
        **_joint_limits(walker, pose["joints"][good]),
        **_below_floor(walker, features, good, feet or floor_heights(walker)),
        **_speeds(walker, features, good),
        **_changes(walker, pose, good, rate_hz),
    )


def assess_clips(walker: Walker, clips: ReferenceClips) -> tuple[ClipQuality, ...]:
    """Measures each clip in memory, without markers, filled frames and clamped velocities."""
    arrays = {name: np.asarray(getattr(clips, name)) for name in FEATURES}
    feet = floor_heights(walker)
    parts = ({n: a[rows] for n, a in arrays.items()} for rows in clips.rows)
    return tuple(assess(walker, part, clips.rate_hz, feet=feet) for part in parts)


def measure_title(name: str) -> str:
    """Returns the title and the unit of a measure of `ClipQuality`."""
    what, unit, _ = _WORDS[name]
    return f"{what}, {unit}"


def verdict(quality: ClipQuality, limits: QualityLimits) -> tuple[str, ...]:
    """Returns the reasons to cut a clip, each "what: found, limit"; empty if the clip is kept."""
    reasons = []
    for name, limit in vars(limits).items():
        value = getattr(quality, name)
        if limit is None or not value > limit:  # NaN, not known, is no reason
            continue
        reasons.append(reason(name, value, limit, where_found(quality, name)))
    return tuple(reasons)


def where_found(quality: ClipQuality, name: str) -> str:
    """Returns the joint or body at which a measure was largest; empty for a measure of the whole body."""
    field = _WORDS[name][2]
    return getattr(quality, field) if field else ""


def reason(name: str, value: float, limit: float, where: str = "") -> str:
    """Returns "what: found, limit" of a measure of `ClipQuality`; `where` is what it was found at."""
    what, unit, _ = _WORDS[name]
    named = f" ({where})" if where else ""
    return f"{what}: {value:.4g} {unit}{named}, limit {limit:g}"


def marker_errors(
    keypoints: np.ndarray,
    body_positions: np.ndarray,
    body_quaternions: np.ndarray,
    bodies: Sequence[int] | np.ndarray,
    offsets: np.ndarray,
) -> np.ndarray:
    """Returns distances [frame, K] of recorded keypoints from their markers on the body, metres.

    `keypoints` [frame, K, 3] are in the world, metres, NaN where the tracker lost it; `bodies` [K] are the
    rows of the bodies that the markers sit on, `offsets` [K, 3] metres in their frames.
    """
    rows = np.asarray(bodies)
    markers = body_positions[:, rows] + rotate(offsets, body_quaternions[:, rows])
    return np.linalg.norm(markers - keypoints, axis=-1)


def _joint_limits(walker: Walker, joints: np.ndarray) -> dict[str, Any]:
    """Measures how far joints [frame, joint] are beyond their ranges, and in how many frames."""
    beyond = _beyond_ranges(walker, joints)
    worst, name = _largest(beyond, walker.joint_names)
    share = float(np.mean((beyond > _JOINT_TOLERANCE_RAD).any(axis=1))) if len(beyond) else 0.0
    return {
        "joint_limit_rad": worst if worst > _ROUND_OFF_RAD else 0.0,
        "joint_limit_joint": name if worst > _ROUND_OFF_RAD else "",
        "joint_limit_share": share,
    }


def _beyond_ranges(walker: Walker, joints: np.ndarray) -> np.ndarray:
    """Returns how far joints [frame, joint] are beyond their ranges; at most 0 inside."""
    model, own = walker.model, walker.layout.joint_ids
    low, high = model.jnt_range[own].T
    return np.maximum(low - joints, joints - high) * (model.jnt_limited[own] != 0)


def frames_beyond(
    walker: Walker, features: Mapping[str, np.ndarray], limits: QualityLimits, lowest: FootHeights
) -> np.ndarray:
    """Flags the frames [frame] of a clip without gaps that are beyond limits on single frames.

    These are the limits on joint angles, depth below the floor and speeds; those on shares of the frames and
    on markers are of whole clips.
    """
    positions, quaternions = features["body_positions"], features["body_quaternions"]
    measures = {
        "joint_limit_rad": _beyond_ranges(walker, features["joints"]),
        "joint_speed": np.abs(features["joints_velocity"]),
        "speed": np.linalg.norm(features["velocity"], axis=1, keepdims=True),
        "angular_speed": np.linalg.norm(features["angular_velocity"], axis=1, keepdims=True),
    }
    if lowest.feet:
        measures["penetration_mm"] = -1000.0 * lowest(positions, quaternions)
    beyond = np.zeros(len(positions), bool)
    for name, values in measures.items():
        limit = getattr(limits, name)
        if limit is not None and values.size:
            beyond |= values.max(axis=1) > limit
    return beyond


def _below_floor(
    walker: Walker, features: Mapping[str, np.ndarray], good: np.ndarray, lowest: FootHeights
) -> dict[str, Any]:
    """Measures how deep feet, and any body's origin, are below the floor in the good frames."""
    positions = features["body_positions"][good]
    model = walker.model
    solid = np.flatnonzero((model.body_weldid != 0) & (model.body_geomnum > 0))
    names = [walker.body_names[body] for body in solid]
    depth, name = _largest(walker.floor_height - positions[:, solid, 2], names)
    below, share = np.zeros((len(positions), 0)), 0.0
    if len(lowest.feet) and len(positions):
        below = -lowest(positions, features["body_quaternions"][good])
        share = float(np.mean((below > _FLOOR_TOLERANCE_M).any(axis=1)))
    return {
        "penetration_mm": 1000.0 * float(below.max(initial=0.0)),
        "penetration_share": share,
        "body_below_floor_mm": max(1000.0 * depth, 0.0),
        "lowest_body": name if depth > 0.0 else "",
    }


def _speeds(walker: Walker, features: Mapping[str, np.ndarray], good: np.ndarray) -> dict[str, Any]:
    """Measures the largest velocities of root and joints in the good frames."""
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


def _changes(
    walker: Walker, pose: Mapping[str, np.ndarray], good: np.ndarray, rate_hz: float
) -> dict[str, Any]:
    """Measures how far root and joints move from each frame to the next, if both are good."""
    pairs = np.flatnonzero(good[1:] & good[:-1])
    moved, turned, bent = changes(pose, pairs)
    joint, name = _largest(bent, walker.joint_names)
    still = np.zeros(max(len(good) - 1, 0), bool)
    steps = np.concatenate([moved, turned, bent], axis=1)
    still[pairs] = (steps <= _STILL).all(axis=1)
    longest = max((stop - start for start, stop in stretches(still)), default=0)
    return {
        "jump_m": float(moved.max(initial=0.0)),
        "jump_rad": float(turned.max(initial=0.0)),
        "jump_joint_rad": joint,
        "jump_joint": name,
        "frozen_s": longest / rate_hz,
    }


def changes(
    pose: Mapping[str, np.ndarray], pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns how far the root moved and turned, [pair, 1], and joints, [pair, joint], after each frame.

    `pose` holds the features of `POSE` [frame, ...], `pairs` [pair] the first frame of each two.
    """
    before = {name: values[pairs] for name, values in pose.items()}
    after = {name: values[pairs + 1] for name, values in pose.items()}
    moved = turned = np.zeros((len(pairs), 1))
    if "position" in pose:
        moved = np.linalg.norm(after["position"] - before["position"], axis=1, keepdims=True)
        turns = rotation_between(before["quaternion"], after["quaternion"])
        turned = np.linalg.norm(turns, axis=1, keepdims=True)
    return moved, turned, np.abs(after["joints"] - before["joints"])


def _largest(values: np.ndarray, names: Sequence[str]) -> tuple[float, str]:
    """Returns the largest of [frame, name] values and its name; 0 if there are none."""
    if not values.size:
        return 0.0, ""
    column = int(np.argmax(values.max(axis=0)))
    return float(values[:, column].max()), names[column]
