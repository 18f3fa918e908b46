"""The limits of quality control: beyond them, a clip is cut."""

from dataclasses import dataclass

from vnl_mjx.config.validation import number


@dataclass(frozen=True)
class QualityLimits:
    """What a clip may at most have; null switches a limit off.

    The defaults keep every real rat clip that we have, with room, and are for a rat: another animal needs
    other speeds and lengths. They keep simulated clips too, but for `joint_limit_share`.

    Attributes:
        marker_rms_mm: distance of recorded keypoints from the fitted body's markers, root of the
            mean square. Good fits of a rat have 1 to 3; a body that is 10 % too large has 7 to 8.
        marker_max_mm: the same, of the worst keypoint in the worst frame. One keypoint that the
            tracker lost for a moment does not spoil a clip: off, the jumps that it causes are limited.
        joint_limit_rad: farthest beyond a joint's range. Inverse kinematics stays inside; MuJoCo's
            soft limits yield by up to 0.1 in simulated clips.
        joint_limit_share: of frames with a joint more than 0.01 rad beyond its range. In simulated
            clips up to 0.54: the weight presses the toes against limits that yield.
        penetration_mm: deepest that a foot's lowest point is below the floor. 2 to 4 in recordings
            that are not aligned to the floor; more than a paw's thickness is a wrong floor.
        body_below_floor_mm: deepest that any body's origin is below the floor. Off: the tails of
            real fits hang up to 100 mm below it.
        speed: of the root, m/s. A galloping rat reaches 1.5 to 2.
        angular_speed: of the root, rad/s. Real clips reach 3; a rat that spins round, 10 to 15.
        joint_speed: rad/s, after `max_qvel` if that is on. Real clips reach 24 at a wrist, 40 between
            two frames.
        jump_m: movement of the root from one frame to the next: 2.5 m/s at 50 Hz.
        jump_rad: rotation of the root from one frame to the next. Real clips reach 0.1 at 50 Hz.
        jump_joint_rad: movement of a joint from one frame to the next. Real clips reach 0.8 (a
            wrist at 50 Hz); an angle that wraps moves by about 6.
        frozen_s: longest time without any movement, which a living animal always shows.
        filled_share: of frames that were interpolated over gaps: one of 0.2 s in a clip of 1 s is fine.
        clamped_share: of frames with a joint velocity at its limit. Real clips reach 0.01.
        missing_frames: that are not poses.
    """

    marker_rms_mm: float | None = number(6.0, gt=0.0)
    marker_max_mm: float | None = number(None, gt=0.0)
    joint_limit_rad: float | None = number(0.2, ge=0.0)
    joint_limit_share: float | None = number(0.25, ge=0.0, le=1.0)
    penetration_mm: float | None = number(10.0, ge=0.0)
    body_below_floor_mm: float | None = number(None, ge=0.0)
    speed: float | None = number(3.0, gt=0.0)
    angular_speed: float | None = number(20.0, gt=0.0)
    joint_speed: float | None = number(60.0, gt=0.0)
    jump_m: float | None = number(0.05, gt=0.0)
    jump_rad: float | None = number(0.8, gt=0.0)
    jump_joint_rad: float | None = number(1.5, gt=0.0)
    frozen_s: float | None = number(0.5, gt=0.0)
    filled_share: float | None = number(0.25, ge=0.0, le=1.0)
    clamped_share: float | None = number(0.1, ge=0.0, le=1.0)
    missing_frames: int | None = number(0, ge=0)
