"""Plans rearing: the weight shifts over the hindfeet, the trunk rises, the forepaws hang, and all return."""

from dataclasses import dataclass, replace

import numpy as np

from vnl_mjx.gait.limbs import Limb, PawMotion
from vnl_mjx.gait.parameters import smooth_step
from vnl_mjx.walkers.chains import Pose, point

# Angles of a forelimb that hangs before the chest, radians, by joint without its side.
HANGING = {"shoulder": 0.7, "shoulder_sup": 0.45, "elbow": 0.3, "wrist": -0.3, "finger": 0.5}

_SUPPORT = 0.013  # metres that the centre of mass is brought behind the planted points of the toes
_LEAD = 0.45  # seconds that the weight goes back before the trunk rises
_RELEASE = 0.35  # seconds in which a forepaw leaves the floor for the chest


@dataclass(frozen=True)
class Rearing:
    """Holds the progress of a rearing at each frame."""

    leaning: np.ndarray  # [frame] 0 to 1, share of the weight's way back
    raised: np.ndarray  # [frame] 0 to 1, share of the trunk's rise
    released: np.ndarray  # [frame] 0 to 1, share of the forepaws' way from the floor to the chest
    back: np.ndarray  # [frame] metres that the hips have gone back
    pitch: float  # of the chest when fully raised, radians above the horizontal


def schedule(
    time: np.ndarray, seconds: float, pitch: float, rng: np.random.Generator, variation: float
) -> Rearing:
    """Schedules the rise and the return of a rearing; the hips are not moved back yet.

    `pitch` is that of the fully raised chest, radians; `variation` scales the variation of the times, 1 is
    usual.
    """
    scale = seconds / 5.0
    draws = variation * rng.uniform(-1, 1, 4)
    up = scale * (1.0 + 0.2 * draws[0])
    rise = scale * (1.0 + 0.15 * draws[1])
    down = scale * (3.2 + 0.2 * draws[2])
    fall = scale * (0.9 + 0.1 * draws[3])
    lead, release = scale * _LEAD, scale * _RELEASE

    def there_and_back(start: float, over: float, leave: float, gone: float) -> np.ndarray:
        return smooth_step((time - start) / over) * (1 - smooth_step((time - leave) / gone))

    return Rearing(
        leaning=there_and_back(up - lead, 1.6 * lead, down + fall - 0.8 * lead, 1.8 * lead),
        raised=there_and_back(up, rise, down, fall),
        released=there_and_back(up + 0.3 * lead, release, down + fall - 1.1 * release, release),
        back=np.zeros(len(time)),
        pitch=pitch,
    )


def over_the_feet(
    rearing: Rearing, center_of_mass: np.ndarray, toes: np.ndarray, heading: np.ndarray
) -> Rearing:
    """Returns the rearing with the hips moved back, so that the centre of mass is over the hindfeet.

    `center_of_mass` [frame, 3] is for hips not moved back; `toes` [frame, 3] is the middle of the
    hindfeet's planted points; `heading` [frame] is in radians.
    """
    ahead = (center_of_mass - toes)[:, :2]
    along = ahead[:, 0] * np.cos(heading) + ahead[:, 1] * np.sin(heading)
    return replace(rearing, back=rearing.leaning * (along + _SUPPORT))


def hanging_paw(limb: Limb, torso: Pose, planted: PawMotion, rearing: Rearing) -> PawMotion:
    """Returns the motion of a forepaw that leaves the floor for the chest, and returns to its place."""
    hanging = np.tile(hanging_angles(limb), (len(torso.position), 1))
    held = limb.chain.forward(torso, hanging).poses[-1]
    away = rearing.released[:, None]
    return PawMotion(
        position=planted.position + away * (point(held, limb.tread) - planted.position),
        rotation=planted.rotation,
        contact=planted.contact & (rearing.released == 0),
        loose=np.maximum(planted.loose, rearing.released),
    )


def hanging_angles(limb: Limb) -> np.ndarray:
    """Returns angles [joint] of a forelimb that hangs before the chest."""
    angles = [HANGING.get(name, 0.0) for name in limb.joints]
    return np.clip(angles, limb.chain.lower, limb.chain.upper)
