"""Plans when and where feet stand: footfalls from phases, footholds from the path."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from vnl_mjx.gait import parameters
from vnl_mjx.gait.profile import Path

# A foot that is this near to where it would be put down anew stays: so a standing animal stands.
_STAY_DISTANCE = 0.005  # metres
_STAY_ANGLE = 0.12  # radians
_MORE_TOE_OUT = 0.08  # radians
_AT_REST = 0.005  # m/s
_ORDER_SECONDS = 0.2


@dataclass(frozen=True)
class Foothold:
    """Describes the place of a foot relative to the trunk in the middle of its stance."""

    ahead: float  # metres ahead of the root
    aside: float  # metres to the limb's own side
    toe_out: float  # radians that the paw points to that side


@dataclass(frozen=True)
class Footfalls:
    """Holds the stances of one limb, in order; the limb swings between two of them."""

    start: np.ndarray  # [stance] seconds
    end: np.ndarray  # likewise
    position: np.ndarray  # [stance, 2] of the planted point, world
    yaw: np.ndarray  # [stance] of the paw, world

    def locate(self, time: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Locates the limb in its step cycle, [frame] each.

        Returns the row of the current or last stance, whether the limb stands, and the completed share of
        the swing.
        """
        row = np.clip(np.searchsorted(self.start, time, side="right") - 1, 0, len(self.start) - 1)
        after = np.minimum(row + 1, len(self.start) - 1)
        standing = (time <= self.end[row]) | (after == row)
        span = np.where(standing, 1.0, self.start[after] - self.end[row])
        return row, standing, np.where(standing, 0.0, (time - self.end[row]) / span)


def limb_phase(path: Path, is_fore: bool, side: int, is_trot: bool) -> np.ndarray:
    """Returns the phase [sample] of a limb in strides; it touches down at whole numbers."""
    lag = 0.0 if side > 0 else 0.5
    if not is_fore:
        return path.phase - lag
    if is_trot:
        return path.phase - lag - 0.5
    # The limbs take half a second to change their order, however abruptly the speed changes.
    step = path.time[1] - path.time[0]
    pace = gaussian_filter1d(path.pace, _ORDER_SECONDS / step, mode="nearest")
    return path.phase - lag - parameters.forelimb_lag(pace)


def footfalls(
    path: Path, phase: np.ndarray, foothold: Foothold, side: int, scatter: np.ndarray
) -> Footfalls:
    """Returns the footfalls of a limb with phase [sample], along a path that starts before the motion.

    `side` is 1 on the left, -1 on the right; `scatter` [step, 2] are offsets of successive footholds,
    metres, used cyclically.
    """
    numbers = np.arange(np.ceil(phase[0]), np.floor(phase[-1]) + 1)
    touchdown = np.interp(numbers, phase, path.time)
    liftoff = np.append(touchdown[1:] - parameters.SWING_SECONDS, path.time[-1])
    moving = path.at(path.pace, touchdown - parameters.SWING_SECONDS) > _AT_REST
    position, yaw = _halfway(path, foothold, side, touchdown, liftoff)
    # The first stance lasts until the animal moves and it is this limb's turn.
    begin = int(np.argmax(moving)) if moving.any() else len(numbers)
    before = np.append(touchdown, path.time[-1])[begin] - parameters.SWING_SECONDS
    first, first_yaw = _halfway(path, foothold, side, path.time[:1], np.array([before]))
    now, _ = neutral(path, foothold, side, touchdown)

    start, end = [path.time[0]], []
    places, yaws = [first[0]], [first_yaw[0]]
    for step in range(begin, len(numbers)):
        # An animal that has stopped only puts its feet where it stands.
        goal = position[step] if moving[step] else now[step]
        is_off = np.linalg.norm(goal - places[-1]) > _STAY_DISTANCE
        if is_off or (moving[step] and abs(yaw[step] - yaws[-1]) > _STAY_ANGLE):
            end.append(touchdown[step] - parameters.SWING_SECONDS)
            start.append(touchdown[step])
            places.append(position[step])
            yaws.append(yaw[step])
    end.append(path.time[-1] + 1.0)
    offsets = np.resize(scatter, (len(places), 2))
    return Footfalls(np.array(start), np.array(end), np.array(places) + offsets, np.array(yaws))


def _halfway(
    path: Path, foothold: Foothold, side: int, start: np.ndarray, end: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns place [stance, 2] and yaw [stance] for stances between two times."""
    position, yaw = neutral(path, foothold, side, start)
    later_position, later_yaw = neutral(path, foothold, side, end)
    # The model's limbs turn outwards much less than inwards: forepaws are put down as far inwards as
    # they will get, hindpaws at most a little farther outwards than they go when walking straight.
    outwards = np.minimum(side * yaw, side * later_yaw)
    if foothold.ahead < 0:
        outwards = np.minimum(side * 0.5 * (yaw + later_yaw), side * yaw + _MORE_TOE_OUT)
    return 0.5 * (position + later_position), side * outwards


def neutral(
    path: Path, foothold: Foothold, side: int, time: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns place [time, 2] and yaw [time] of a foothold below a trunk that bends along its path."""
    heading, bend = path.at(path.heading, time), path.at(path.bend, time)
    girdle_heading = heading + (0.5 if foothold.ahead > 0 else -0.5) * bend
    forward = np.stack([np.cos(girdle_heading), np.sin(girdle_heading)], axis=-1)
    left = np.stack([-forward[:, 1], forward[:, 0]], axis=-1)
    place = path.at(path.position, time) + foothold.ahead * forward + side * foothold.aside * left
    return place, girdle_heading + side * foothold.toe_out
