"""Defines speed and heading rate of a made motion over time, and computes its path."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.gait import parameters

Behaviour = Literal["walk", "trot", "stand", "rear"]
BEHAVIOURS: tuple[Behaviour, ...] = ("walk", "trot", "stand", "rear")

_TURN = parameters.FASTEST_TURN
_STEP = 0.002  # seconds of the path's own time grid
_MARGIN = (
    2.0  # seconds walked before the first frame and after the last, so that both are mid-motion
)
_SLOWEST_TURNING = 0.08  # m/s; curvature of the trunk is turn / speed, bounded on the spot
_TURN_RADIUS = 0.045  # metres from the trunk's middle to the feet: a turn on the spot moves them


@dataclass(frozen=True)
class GaitConfig:
    """Configures one made motion."""

    # "walk" steps in the order that rats of that speed step in (a trot from 0.42 m/s); "trot"
    # moves diagonal limbs together at any speed; "stand" and "rear" stay in place
    behaviour: Behaviour = "walk"
    speed: float = 0.2  # of the root along its heading, m/s, -0.15 (backwards) to 0.7
    sideways: float = 0.0  # of the root to the left of its heading, m/s, -0.1 to 0.1
    # heading rate, rad/s, -2.5 to 2.5, positive to the left. The path's curvature is turn /
    # speed (1/m)
    turn: float = 0.0
    seconds: float = 5.0  # of motion
    rate_hz: float = 50.0  # frames per second
    seed: int = 0  # of the variation between clips
    start_ramp: float = 0.0  # seconds from rest to speed at the beginning; 0 begins in full motion
    # seconds from speed to rest at the end, where the animal then stands for `stop_rest`
    # seconds
    stop_ramp: float = 0.0
    stop_rest: float = 0.9  # seconds at rest after `stop_ramp`
    # (time, speed, turn) knots that replace speed, turn and ramps; between knots both change
    # smoothly, before the first and after the last they stay
    profile: tuple[tuple[float, float, float], ...] = ()
    # of the trunk at the height of rearing, radians above the horizontal
    rear_pitch: float = math.radians(60)
    variation: float = 1.0  # size of what the seed varies; 0 makes every seed the same

    def check(self) -> None:
        """Raises UserError for the first value out of range."""
        wanted = {
            "behaviour": (self.behaviour in BEHAVIOURS, f"one of {', '.join(BEHAVIOURS)}"),
            "speed": (
                parameters.FASTEST_BACKWARDS <= self.speed <= parameters.FASTEST,
                f"{parameters.FASTEST_BACKWARDS} to {parameters.FASTEST} m/s",
            ),
            "sideways": (
                abs(self.sideways) <= parameters.FASTEST_SIDEWAYS,
                f"-{parameters.FASTEST_SIDEWAYS} to {parameters.FASTEST_SIDEWAYS} m/s",
            ),
            "turn": (abs(self.turn) <= _TURN, f"-{_TURN} to {_TURN} rad/s"),
            "seconds": (0.1 <= self.seconds <= 3600, "0.1 to 3600 s"),
            "rate_hz": (20 <= self.rate_hz <= 1000, "20 to 1000 Hz"),
            "rear_pitch": (0.2 <= self.rear_pitch <= 1.3, "0.2 to 1.3 rad"),
            "seed": (self.seed >= 0, "0 or more"),
            "variation": (0 <= self.variation <= 2, "0 to 2"),
            "start_ramp": (0 <= self.start_ramp <= self.seconds, "0 to `seconds`"),
            "stop_ramp": (0 <= self.stop_ramp <= self.seconds, "0 to `seconds`"),
            "stop_rest": (self.stop_rest >= 0, "0 s or more"),
        }
        for name, (is_good, range_) in wanted.items():
            if not is_good:
                raise UserError(f"gait.{name}: expected {range_}, found {getattr(self, name)}")
        if self.start_ramp + self.stop_ramp + self.stop_rest * (self.stop_ramp > 0) > (
            self.seconds
        ):
            raise UserError(
                f"gait.seconds: expected at least start_ramp + stop_ramp + stop_rest, found "
                f"{self.seconds}; make it longer"
            )
        knots = np.array(self.profile, float).reshape(-1, 3)
        if len(knots) and (
            (np.diff(knots[:, 0]) <= 0).any()
            or not np.isfinite(knots).all()
            or (knots[:, 1] < parameters.FASTEST_BACKWARDS).any()
            or (knots[:, 1] > parameters.FASTEST).any()
            or (np.abs(knots[:, 2]) > _TURN).any()
        ):
            raise UserError(
                "gait.profile: expected rising times with speeds of "
                f"{parameters.FASTEST_BACKWARDS} to {parameters.FASTEST} m/s and turns of "
                f"-{_TURN} to {_TURN} rad/s, found {self.profile}"
            )

    def knots(self) -> np.ndarray:
        """Returns the motion's knots [knot, 4]: time, speed, turn, sideways speed."""
        rest = (0.0, 0.0, 0.0)
        if self.behaviour in ("stand", "rear"):
            return np.array([(0.0, *rest)])
        if self.profile:
            return np.array([(*knot, self.sideways) for knot in self.profile], float)
        moving = (self.speed, self.turn, self.sideways)
        start = [(0.0, *rest), (self.start_ramp, *moving)] if self.start_ramp else []
        stopped = self.seconds - self.stop_rest
        stop = [(stopped - self.stop_ramp, *moving), (stopped, *rest)] if self.stop_ramp else []
        return np.array(start + stop or [(0.0, *moving)], float)


@dataclass(frozen=True)
class Path:
    """Holds the root's path on a time grid that starts before frame 0 and ends after the last."""

    time: np.ndarray  # [sample] seconds
    position: np.ndarray  # [sample, 2] metres
    heading: np.ndarray  # [sample] rad, m/s, rad/s
    speed: np.ndarray  # likewise
    turn: np.ndarray  # likewise
    pace: np.ndarray  # [sample] m/s, speed at which the feet must be moved (turning counts)
    # [sample] rad, angle between shoulders' and hips' heading, positive in a left turn
    bend: np.ndarray
    frequency: np.ndarray  # [sample] strides per second
    phase: np.ndarray  # [sample] of the left hindlimb, strides

    def at(self, values: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Interpolates one of the path's fields linearly at `time`."""
        if values.ndim == 1:
            return np.interp(time, self.time, values)
        return np.stack([np.interp(time, self.time, column) for column in values.T], axis=-1)


def make_path(
    config: GaitConfig, trunk_length: float, first_phase: float, frequency: float
) -> Path:
    """Integrates the configuration's speeds and heading rates.

    `trunk_length` is the distance between shoulders and hips, metres; `first_phase` is the phase of the
    left hindlimb at time 0, strides; `frequency` is a factor on the stride frequency of the literature.
    """
    knots = config.knots()
    time = np.arange(-_MARGIN, config.seconds + _MARGIN + _STEP / 2, _STEP)
    speed, turn, sideways = _between_knots(time, knots)
    pace = np.sqrt(speed**2 + sideways**2 + (_TURN_RADIUS * turn) ** 2)
    zero = round(_MARGIN / _STEP)

    def integral(rate: np.ndarray) -> np.ndarray:
        total = np.concatenate([[0.0], np.cumsum(0.5 * _STEP * (rate[1:] + rate[:-1]))])
        return total - total[zero]

    heading = integral(turn)
    strides = frequency * parameters.stride_frequency(pace)
    curvature = turn / np.hypot(speed, _SLOWEST_TURNING)
    return Path(
        time=time,
        position=np.stack(
            [
                integral(speed * np.cos(heading) - sideways * np.sin(heading)),
                integral(speed * np.sin(heading) + sideways * np.cos(heading)),
            ],
            axis=1,
        ),
        heading=heading,
        speed=speed,
        turn=turn,
        pace=pace,
        bend=0.5 * np.tanh(curvature * trunk_length / 0.5),
        frequency=strides,
        phase=integral(strides) + first_phase,
    )


def _between_knots(time: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Returns speed, heading rate and sideways speed [3, sample]; `smooth_step` joins the knots."""
    row = np.clip(np.searchsorted(knots[:, 0], time, side="right") - 1, 0, len(knots) - 1)
    after = np.minimum(row + 1, len(knots) - 1)
    span = np.maximum(knots[after, 0] - knots[row, 0], 1e-9)
    share = parameters.smooth_step((time - knots[row, 0]) / span)[:, None]
    values = knots[row, 1:] + share * (knots[after, 1:] - knots[row, 1:])
    return values.T
