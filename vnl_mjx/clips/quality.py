"""How good a clip is, in numbers, and whether that is good enough."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from vnl_mjx.clips.columns import POSE
from vnl_mjx.clips.container import FEATURES, ReferenceClips
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.clips.quality_measures import (
    below_floor,
    changes,
    joint_limits,
    speeds,
)
from vnl_mjx.clips.quality_measures import marker_errors as marker_errors
from vnl_mjx.config.quality import QualityLimits
from vnl_mjx.walkers.walker import Walker


@dataclass(frozen=True)
class ClipQuality:
    """Measures of one clip. A number that cannot be had (no keypoints) is NaN.

    Attributes:
        frames: how many.
        missing_frames: with NaN; no other measure counts them.
        marker_rms_mm: distance of keypoints from their markers, root of the mean square.
        marker_max_mm: the largest such distance.
        joint_limit_rad: farthest beyond a joint's range; 0 where none is.
        joint_limit_share: of frames with a joint more than 0.01 rad beyond its range.
        joint_limit_joint: which joint was farthest; empty where none was.
        penetration_mm: deepest that a foot's lowest point is below the floor; 0 where none is.
        penetration_share: of frames with a foot more than 2 mm below the floor.
        body_below_floor_mm: deepest that the origin of any body with geoms is below the floor.
        lowest_body: which.
        speed: largest of the root, m/s.
        angular_speed: largest of the root, rad/s.
        joint_speed: largest of a joint, rad/s.
        fastest_joint: which.
        jump_m: largest movement of the root from one frame to the next.
        jump_rad: largest rotation of the root from one frame to the next.
        jump_joint_rad: largest movement of a joint from one frame to the next.
        jump_joint: which.
        frozen_s: longest time in which the pose does not change.
        filled_share: of frames that were interpolated over gaps.
        clamped_values: joint velocities that were limited.
        clamped_share: of frames with such a velocity.
    """

    frames: int
    missing_frames: int
    marker_rms_mm: float
    marker_max_mm: float
    joint_limit_rad: float
    joint_limit_share: float
    joint_limit_joint: str
    penetration_mm: float
    penetration_share: float
    body_below_floor_mm: float
    lowest_body: str
    speed: float
    angular_speed: float
    joint_speed: float
    fastest_joint: str
    jump_m: float
    jump_rad: float
    jump_joint_rad: float
    jump_joint: str
    frozen_s: float
    filled_share: float
    clamped_values: int
    clamped_share: float

    def numbers(self) -> dict[str, float]:
        """The measures that are numbers, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: float(v) for name, v in values.items() if not isinstance(v, str)}


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
    """Measures one clip.

    Args:
        walker: whose clip it is.
        features: of `ReferenceFrames` by name, [frame, ...]; no contacts or limbs are needed.
        rate_hz: frames per second.
        marker_errors: [frame, keypoint] metres, of the function `marker_errors`; NaN where there
            is no keypoint.
        filled: bool [frame], interpolated over a gap.
        clamped: int [frame], joint velocities that were limited.
        feet: of the walker, where they are at hand already.
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
        **joint_limits(walker, pose["joints"][good]),
        **below_floor(walker, features, good, feet or FootHeights(walker)),
        **speeds(walker, features, good),
        **changes(walker, pose, good, rate_hz),
    )


def assess_clips(walker: Walker, clips: ReferenceClips) -> tuple[ClipQuality, ...]:
    """Measures of each clip that is in memory; markers, filling and clamping are not known."""
    arrays = {name: np.asarray(getattr(clips, name)) for name in FEATURES}
    rows = zip(np.asarray(clips.starts).tolist(), np.asarray(clips.lengths).tolist(), strict=True)
    feet = FootHeights(walker)
    return tuple(
        assess(
            walker,
            {n: a[start : start + length] for n, a in arrays.items()},
            clips.rate_hz,
            feet=feet,
        )
        for start, length in rows
    )


def verdict(quality: ClipQuality, limits: QualityLimits) -> tuple[str, ...]:
    """Reasons to cut a clip, each "what: found, limit"; empty to keep it."""
    reasons = []
    for field in fields(limits):
        limit, value = getattr(limits, field.name), getattr(quality, field.name)
        if limit is None or not value > limit:  # NaN, not known, is no reason
            continue
        what, unit, of = _WORDS[field.name]
        named = f" ({getattr(quality, of)})" if of else ""
        reasons.append(f"{what}: {value:.4g} {unit}{named}, limit {limit:g}".replace("  ", " "))
    return tuple(reasons)


# What each limit is on, its unit, and the field that names where it was found.
_WORDS: dict[str, tuple[str, str, str]] = {
    "marker_rms_mm": ("marker error", "mm rms", ""),
    "marker_max_mm": ("marker error", "mm at most", ""),
    "joint_limit_rad": ("joint limit", "rad beyond", "joint_limit_joint"),
    "joint_limit_share": ("joint limit", "of the frames beyond", "joint_limit_joint"),
    "penetration_mm": ("below the floor", "mm (feet)", ""),
    "body_below_floor_mm": ("below the floor", "mm", "lowest_body"),
    "speed": ("too fast", "m/s", ""),
    "angular_speed": ("too fast", "rad/s of the root", ""),
    "joint_speed": ("too fast", "rad/s", "fastest_joint"),
    "jump_m": ("jump", "m between frames", ""),
    "jump_rad": ("jump", "rad of the root between frames", ""),
    "jump_joint_rad": ("jump", "rad between frames", "jump_joint"),
    "frozen_s": ("frozen", "s", ""),
    "filled_share": ("filled gaps", "of the frames", ""),
    "clamped_share": ("clamped velocities", "of the frames", ""),
    "missing_frames": ("missing frames", "frames", ""),
}
