"""Models the rodent's four limbs: their chains, the motion of their paws, and their angles."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import mujoco
import numpy as np
from scipy.interpolate import PchipInterpolator

from vnl_mjx.errors import UserError
from vnl_mjx.gait.pattern import Footfalls
from vnl_mjx.gait.posture import unsided
from vnl_mjx.quaternions import matrix
from vnl_mjx.walkers.chains import Chain, Pose, euler_rotation
from vnl_mjx.walkers.inverse_kinematics import FloorTask, OrientationTask, PointTask, Problem
from vnl_mjx.walkers.walker import Walker

# Weights of the tasks: a planted point is off by hundredths of a millimetre before a joint gives way
# by a tenth of a radian; a swinging paw may be off by millimetres for the sake of smooth joints.
_PLANTED, _SWINGING = 3000.0, 200.0  # 1/m
_ABOVE_FLOOR = 3000.0  # 1/m
_CLEARANCE = 0.003  # metres that every part of a limb keeps from the floor in mid-swing
_TURNED = np.array([4.0, 6.0, 30.0])  # 1/rad of roll, pitch and yaw in stance
_LEAST_TURNED = 0.15  # of that in mid-swing
_POSTURE = 0.5  # 1/rad
_DIGITS = {"toe": 5.0, "finger": 0.8}  # 1/rad; the toes stay in line with the foot
_RAMP = 0.2  # shares of a swing in which a paw speeds up, and slows down


class PawMotion(NamedTuple):
    """Holds targets of a paw: the position of its planted point and the rotation of its digits."""

    position: np.ndarray  # [frame, 3] metres, world
    rotation: np.ndarray  # [frame, 3, 3]
    contact: np.ndarray  # bool [frame]
    # [frame] 0 in stance, where both are to be met exactly, 1 where they may be missed
    loose: np.ndarray


class PawStyle(NamedTuple):
    """Defines how a paw rolls over and swings; angles in radians, positive with the digits' tips down."""

    clearance: float  # metres that the planted point rises in swing
    touchdown: float  # pitch at the two ends of a stance
    liftoff: float  # likewise
    # seconds before lift-off in which the paw rises onto its tips, at most; it never takes more
    # than 0.45 of a stance
    roll_over: float
    early_swing: float  # pitch after a quarter and after four fifths of the swing
    late_swing: float  # likewise


@dataclass(frozen=True)
class Limb:
    """Describes one limb."""

    name: str  # "hind_L", "hind_R", "fore_L" or "fore_R"
    side: int  # 1 left, -1 right
    is_fore: bool  # a forelimb
    foot: int  # row of the limb's paw among `Walker.feet`
    chain: Chain  # from the trunk to the digits
    joints: tuple[str, ...]  # names of the chain's joints without their side
    # [3] the planted point in the digits' frame: the centre of the middle digit's tip
    tread: np.ndarray
    tread_radius: float  # of the tip, metres; the planted point is this far above the floor
    above_floor: FloorTask  # what must not sink into the floor; heights [sphere] in stance


def rodent_limbs(walker: Walker) -> tuple[Limb, ...]:
    """Returns the limbs hind_L, hind_R, fore_L, fore_R of dm_control's rodent; UserError for others."""
    try:
        return tuple(_limb(walker, kind, side) for kind in ("hind", "fore") for side in ("L", "R"))
    except (KeyError, ValueError) as error:
        raise UserError(
            "walker.source: gaits are made for dm_control's rodent, and "
            f"{walker.config.source!r} lacks one of its bodies, geoms or feet "
            f"({' '.join(str(error).split())}); leave walker.source at its default"
        ) from error


def limb_problem(limb: Limb, base: Pose, motion: PawMotion, angles: np.ndarray) -> Problem:
    """Returns the problem of a limb whose paw moves as given.

    `base` is the torso (forelimbs) or the pelvis (hindlimbs), `angles` [joint] or [frame, joint] the
    posture to stay near, radians.
    """
    digits = len(limb.chain.bodies) - 1
    loose = motion.loose[:, None]
    planted = _SWINGING + (_PLANTED - _SWINGING) * (1 - loose) ** 4
    turned = _TURNED * (1 - (1 - _LEAST_TURNED) * loose)
    tasks = [
        PointTask(digits, limb.tread, motion.position, np.repeat(planted, 3, axis=1)),
        OrientationTask(digits, motion.rotation, turned),
        replace(limb.above_floor, heights=limb.above_floor.heights + _CLEARANCE * loose),
    ]
    weight = np.array([_DIGITS.get(joint, _POSTURE) for joint in limb.joints])
    return Problem(limb.chain, base, tasks, angles, weight)


def paw_motion(footfalls: Footfalls, style: PawStyle, time: np.ndarray, height: float) -> PawMotion:
    """Returns the motion of a paw at `time` [frame]; `height` is the planted point's world z in stance, m."""
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
    """Returns the share of the way at each share of the swing; speed rises and falls as raised cosines."""
    early = np.minimum(swung, _RAMP)
    late = np.maximum(swung - (1 - _RAMP), 0.0)

    def ramp(x: np.ndarray) -> np.ndarray:
        return 0.5 * x - 0.5 * _RAMP / np.pi * np.sin(np.pi * x / _RAMP)

    middle = np.clip(swung - _RAMP, 0.0, 1 - 2 * _RAMP)
    return (ramp(early) + middle + late - ramp(late)) / (1 - _RAMP)


def _pitch(footfalls: Footfalls, style: PawStyle, time: np.ndarray) -> np.ndarray:
    """Returns the pitch of the digits [frame]: flat in stance, then over the tips, swung, put down."""
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


def _limb(walker: Walker, kind: str, side: str) -> Limb:
    model = walker.model
    base, digits, paw = ("torso", "finger", "hand") if kind == "fore" else ("pelvis", "toe", "foot")
    geom = model.geom(f"{digits}_{side}1_collision").id
    along = matrix(model.geom_quat[geom])[:, 2] * model.geom_size[geom, 1]
    ends = model.geom_pos[geom] + np.array([along, -along])
    chain = Chain(model, base, f"{digits}_{side}")
    return Limb(
        name=f"{kind}_{side}",
        side=1 if side == "L" else -1,
        is_fore=kind == "fore",
        foot=walker.feet.tolist().index(model.body(f"{paw}_{side}").id),
        chain=chain,
        joints=tuple(unsided(walker.joint_names[column]) for column in chain.columns),
        tread=ends[np.argmax(ends[:, 0])],
        tread_radius=float(model.geom_size[geom, 0]),
        above_floor=_above_floor(walker, chain),
    )


def _above_floor(walker: Walker, chain: Chain) -> FloorTask:
    """Returns spheres for all geoms of a chain: ends of capsules, centres of ellipsoids (smallest axis)."""
    model = walker.model
    bodies, centers, heights = [], [], []
    for place, name in enumerate(chain.bodies):
        body = model.body(name).id
        first = model.body_geomadr[body]
        for geom in range(first, first + model.body_geomnum[body]):
            size, along = model.geom_size[geom], matrix(model.geom_quat[geom])[:, 2]
            is_capsule = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE
            for end in (-size[1], size[1]) if is_capsule else (0.0,):
                bodies.append(place)
                centers.append(model.geom_pos[geom] + end * along)
                heights.append(walker.floor_height + (size[0] if is_capsule else size.min()))
    return FloorTask(tuple(bodies), np.array(centers), np.array(heights), _ABOVE_FLOOR)
