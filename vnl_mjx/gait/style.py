"""Defines gait parameters (metres, radians) that do not depend on speed, and their variation.

docs/gait.md says which are published, measured on real clips, or chosen by eye and the limbs' reach.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from vnl_mjx.gait.limbs import PawStyle
from vnl_mjx.gait.pattern import Foothold

_HIND = Foothold(ahead=-0.018, aside=0.025, toe_out=0.2)
_FORE = Foothold(ahead=0.062, aside=0.020, toe_out=-0.2)
_HIND_PAW = PawStyle(
    clearance=0.006, touchdown=0.0, liftoff=0.3, roll_over=0.10, early_swing=0.35, late_swing=0.0
)
_FORE_PAW = PawStyle(
    clearance=0.008, touchdown=0.0, liftoff=0.2, roll_over=0.06, early_swing=0.4, late_swing=0.1
)


@dataclass(frozen=True)
class TrunkStyle:
    """Defines carriage and oscillations of the trunk."""

    hip_height: float = 0.051  # of the hip and shoulder joints above the floor
    shoulder_height: float = 0.055  # likewise
    arch: float = 0.3  # share of the real (sitting) clips' flexion of the spine that is kept
    # swing of the two girdles about the vertical, once a stride, each towards the limb that
    # reaches forward
    pelvis_yaw: float = 0.09
    chest_yaw: float = 0.03  # likewise
    sway: float = 0.002  # sideways over the standing hindlimb, in a slow walk
    bob: float = 0.001  # up and down, twice a stride
    roll: float = 0.02  # once a stride, in a slow walk


@dataclass(frozen=True)
class GaitStyle:
    """Defines everything that is particular to one animal's gait."""

    trunk: TrunkStyle = field(default_factory=TrunkStyle)  # carriage and oscillations
    hind: Foothold = _HIND  # where the limbs stand
    fore: Foothold = _FORE  # likewise
    hind_paw: PawStyle = _HIND_PAW  # how their paws roll and swing
    fore_paw: PawStyle = _FORE_PAW  # likewise
    scatter: float = 0.001  # standard deviation of successive footholds
    frequency: float = 1.15  # factor on the stride frequency of the literature
    head_pitch: float = 0.12  # that the nose points down
    tail_height: float = 1.0  # factor on the height that the tail is carried at
    tail_sway: float = 0.35  # that the tail's tip turns to either side once a stride


def scaled(style: GaitStyle, size: float) -> GaitStyle:
    """Returns the style for an animal whose lengths are `size` times those of the default walker."""

    def foothold(of: Foothold) -> Foothold:
        return replace(of, ahead=size * of.ahead, aside=size * of.aside)

    trunk = style.trunk
    return replace(
        style,
        trunk=replace(
            trunk,
            hip_height=size * trunk.hip_height,
            shoulder_height=size * trunk.shoulder_height,
            sway=size * trunk.sway,
            bob=size * trunk.bob,
        ),
        hind=foothold(style.hind),
        fore=foothold(style.fore),
        hind_paw=style.hind_paw._replace(clearance=size * style.hind_paw.clearance),
        fore_paw=style.fore_paw._replace(clearance=size * style.fore_paw.clearance),
        scatter=size * style.scatter,
        tail_height=size * style.tail_height,
    )


def varied(style: GaitStyle, rng: np.random.Generator, size: float) -> GaitStyle:
    """Draws the style of another animal or day; size 0 gives `style` itself, 1 is usual.

    The number of random draws does not depend on the size.
    """
    draws = iter(size * rng.uniform(-1, 1, 16))

    def factor(share: float) -> float:
        return 1 + share * next(draws)

    trunk = replace(
        style.trunk,
        hip_height=style.trunk.hip_height + 0.0015 * next(draws),
        shoulder_height=style.trunk.shoulder_height + 0.0015 * next(draws),
        arch=style.trunk.arch * factor(0.3),
        pelvis_yaw=style.trunk.pelvis_yaw * factor(0.25),
        chest_yaw=style.trunk.chest_yaw * factor(0.25),
        sway=style.trunk.sway * factor(0.3),
        bob=style.trunk.bob * factor(0.3),
        roll=style.trunk.roll * factor(0.3),
    )
    return replace(
        style,
        trunk=trunk,
        hind=replace(style.hind, aside=style.hind.aside + 0.0015 * next(draws)),
        fore=replace(style.fore, aside=style.fore.aside + 0.0015 * next(draws)),
        hind_paw=style.hind_paw._replace(clearance=style.hind_paw.clearance * factor(0.15)),
        fore_paw=style.fore_paw._replace(clearance=style.fore_paw.clearance * factor(0.15)),
        scatter=style.scatter * size,
        frequency=style.frequency * factor(0.04),
        head_pitch=style.head_pitch + 0.06 * next(draws),
        tail_height=style.tail_height * factor(0.2),
        tail_sway=style.tail_sway * factor(0.25),
    )
