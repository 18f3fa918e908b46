"""Motion of one paw in the world: planted in stance, in an arc between stances."""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from vnl_mjx.gait.chains import euler_rotation
from vnl_mjx.gait.pattern import Footfalls


class PawMotion(NamedTuple):
    """Where a paw's planted point should be, and how the digits should be turned."""

    position: np.ndarray  # [frame, 3] metres, world
    rotation: np.ndarray  # [frame, 3, 3]
    contact: np.ndarray  # bool [frame]
    # [frame] 0 in stance, where both are to be met exactly, 1 where they may be missed
    loose: np.ndarray


class PawStyle(NamedTuple):
    """How a paw rolls over and swings; angles in radians, positive with the digits' tips down."""

    clearance: float  # metres that the planted point rises in swing
    touchdown: float  # pitch at the two ends of a stance
    liftoff: float  # likewise
    # seconds before lift-off in which the paw rises onto its tips, at most; it never takes more
    # than 0.45 of a stance
    roll_over: float
    early_swing: float  # pitch after a quarter and after four fifths of the swing
    late_swing: float  # likewise


_RAMP = 0.2  # of a swing's time in which a paw gets up to speed, and again slows down


def paw_motion(footfalls: Footfalls, style: PawStyle, time: np.ndarray, height: float) -> PawMotion:
    """Motion of one paw at `time` [frame]; `height` is the planted point's z in stance, metres, world."""
    row, standing, swung = footfalls.locate(time)
    after = np.minimum(row + 1, len(footfalls.start) - 1)
    share = _travelled(swung)
    xy = footfalls.position
    position = np.empty((len(time), 3))
    position[:, :2] = xy[row] + share[:, None] * (xy[after] - xy[row])
    longest = np.linalg.norm(xy[after] - xy[row], axis=1)
    lift = style.clearance * np.minimum(1.0, 0.4 + longest / 0.05)
    position[:, 2] = height + lift * np.sin(np.pi * swung**0.85) ** 2
    yaw = footfalls.yaw[row] + share * (footfalls.yaw[after] - footfalls.yaw[row])
    pitch = _pitch(footfalls, style, time)
    loose = np.sin(np.pi * swung) ** 2
    return PawMotion(position, euler_rotation(yaw, pitch, np.zeros_like(yaw)), standing, loose)


def _travelled(swung: np.ndarray) -> np.ndarray:
    """Share of the way at each share of the swing: speed rises and falls as raised cosines do."""
    early = np.minimum(swung, _RAMP)
    late = np.maximum(swung - (1 - _RAMP), 0.0)

    def ramp(x: np.ndarray) -> np.ndarray:
        return 0.5 * x - 0.5 * _RAMP / np.pi * np.sin(np.pi * x / _RAMP)

    middle = np.clip(swung - _RAMP, 0.0, 1 - 2 * _RAMP)
    return (ramp(early) + middle + late - ramp(late)) / (1 - _RAMP)


def _pitch(footfalls: Footfalls, style: PawStyle, time: np.ndarray) -> np.ndarray:
    """Pitch of the digits [frame]: flat in stance, then over the tips, swung through, put down."""
    start, end = footfalls.start, footfalls.end
    duration = end - start
    swing = start[1:] - end[:-1]
    knots = [
        (start, style.touchdown),
        (start + 0.15 * duration, 0.0),
        (end - np.minimum(0.45 * duration, style.roll_over), 0.0),
        (end, style.liftoff),
        (end[:-1] + 0.25 * swing, style.early_swing),
        (end[:-1] + 0.8 * swing, style.late_swing),
    ]
    times = np.concatenate([knot for knot, _ in knots])
    values = np.concatenate([np.full(len(knot), value) for knot, value in knots])
    order = np.argsort(times)
    return PchipInterpolator(times[order], values[order])(time)
