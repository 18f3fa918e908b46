"""What a made motion is like: slip, penetration, limits, continuity, speed, balance.

    uv run python benchmarks/gait.py [--seed N] [--seconds S]

Prints the suite's table. Nothing here uses the generator's own targets: everything is read off qpos
and the model's geometry, except which feet are meant to stand when, and the commanded speed and turn.
"""

import argparse
from dataclasses import dataclass, fields

import mujoco
import numpy as np
from scipy.spatial import ConvexHull, QhullError

from vnl_mjx.clips.columns import root_pose
from vnl_mjx.clips.conditioning.segments import stretches
from vnl_mjx.clips.kinematics import BodyPoses, Kinematics
from vnl_mjx.config.imitation import WalkerConfig
from vnl_mjx.gait import GaitMotion, gait_suite, make_gait
from vnl_mjx.quaternions import matrix
from vnl_mjx.walkers.walker import Walker, build_walker

_GEOM = mujoco.mjtGeom

_TOUCHING = 0.001  # metres above the floor at which a part of a planted paw counts as on it
_CHORD_SECONDS = 0.25  # between the places that the distance travelled is measured over


@dataclass(frozen=True)
class PawParts:
    """Lowest points of the parts of one paw.

    Attributes:
        points: [frame, part, 3] metres, z above the floor.
    """

    points: np.ndarray

    @property
    def height(self) -> np.ndarray:
        """Of the lowest part above the floor [frame], metres."""
        return self.points[:, :, 2].min(axis=1)


def paw_parts(walker: Walker, poses: BodyPoses, foot: int) -> PawParts:
    """The parts of a paw: both ends of each capsule, and the lowest point of each ellipsoid."""
    model, points = walker.model, []
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom]
        if body not in (foot, foot + 1) or not model.geom_contype[geom]:
            continue
        center, axes = _geom_frame(model, poses, geom)
        size = model.geom_size[geom]
        if model.geom_type[geom] == _GEOM.mjGEOM_CAPSULE:
            ends = (center + size[1] * axes[:, :, 2], center - size[1] * axes[:, :, 2])
            points += [end - [0, 0, size[0]] for end in ends]
        else:
            down = axes[:, 2] * size  # of the support point of an ellipsoid in the direction -z
            down = down / np.linalg.norm(down, axis=1, keepdims=True)
            points.append(center - ((axes * size) @ down[..., None])[..., 0])
    parts = np.stack(points, axis=1)
    parts[:, :, 2] -= walker.floor_height
    return PawParts(parts)


def other_heights(walker: Walker, poses: BodyPoses) -> np.ndarray:
    """Height of the lowest point of each geom that is on no paw: [frame, geom]."""
    model, heights = walker.model, []
    paws = {body for foot in walker.feet for body in (foot, foot + 1)}
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom]
        if body in paws or model.geom_type[geom] == _GEOM.mjGEOM_PLANE:
            continue
        center, axes = _geom_frame(model, poses, geom)
        kind, size = model.geom_type[geom], model.geom_size[geom]
        up = axes[:, 2]
        if kind == _GEOM.mjGEOM_SPHERE:
            extent = np.full(len(up), size[0])
        elif kind == _GEOM.mjGEOM_CAPSULE:
            extent = size[0] + size[1] * np.abs(up[:, 2])
        elif kind == _GEOM.mjGEOM_ELLIPSOID:
            extent = np.linalg.norm(up * size, axis=1)
        else:
            extent = np.abs(up) @ size
        heights.append(center[:, 2] - extent - walker.floor_height)
    return np.stack(heights, axis=1)


def _geom_frame(
    model: mujoco.MjModel, poses: BodyPoses, geom: int
) -> tuple[np.ndarray, np.ndarray]:
    body = model.geom_bodyid[geom]
    rotation = matrix(poses.quaternions[:, body].astype(float))
    own = matrix(model.geom_quat[geom])
    return poses.positions[:, body] + rotation @ model.geom_pos[geom], rotation @ own


@dataclass(frozen=True)
class GaitMeasures:
    """Measures of one motion.

    Attributes:
        slip_mm: greatest displacement along the floor of any part of a paw that is on the floor,
            during one stance.
        lifted_mm: greatest height of a standing paw's lowest part above the floor.
        paw_below_mm, body_below_mm: deepest penetration of the floor by a paw, and by anything else.
        clearance_mm: least, over all swings, of the height that a paw's lowest part reaches.
        limits_rad: greatest violation of a joint limit.
        joint_speed: greatest, rad/s.
        joint_jump: greatest change of a joint's velocity from frame to frame, rad/s.
        speed, commanded_speed: mean of the root along its path, m/s.
        turn, commanded_turn: mean heading rate, rad/s.
        balance: share of frames with the centre of mass above the polygon of the paws on the floor.
        overhang_mm: farthest that the centre of mass is outside of that polygon.
        root_height_mm: median of the root, as in the real clips' qpos, over the floor.
        chest_pitch_deg: greatest, above the horizontal.
    """

    slip_mm: float
    lifted_mm: float
    paw_below_mm: float
    body_below_mm: float
    clearance_mm: float
    limits_rad: float
    joint_speed: float
    joint_jump: float
    speed: float
    commanded_speed: float
    turn: float
    commanded_turn: float
    balance: float
    overhang_mm: float
    root_height_mm: float
    chest_pitch_deg: float

    def row(self) -> str:
        """The measures in the order of `header`."""
        return " ".join(f"{getattr(self, field.name):9.3g}" for field in fields(self))

    @staticmethod
    def header() -> str:
        """Names above the columns of `row`, on two lines."""
        parts = [field.name.split("_", 1) for field in fields(GaitMeasures)]
        lines = [[p[0] for p in parts], [p[1] if len(p) > 1 else "" for p in parts]]
        return "\n".join(" ".join(f"{word[:9]:>9}" for word in line) for line in lines)


def measure(walker: Walker, motion: GaitMotion) -> GaitMeasures:
    """Measures one motion."""
    model, qpos, rate = walker.model, motion.qpos, motion.config.rate_hz
    poses = Kinematics(model)(qpos)
    paws = [paw_parts(walker, poses, foot) for foot in walker.feet]
    joints = qpos[:, walker.layout.joint_qpos]
    position, quaternion = root_pose(qpos, walker.layout)
    velocity = np.diff(joints, axis=0) * rate
    lower, upper = model.jnt_range[walker.layout.joint_ids].T
    margin = _balance(poses.center_of_mass.astype(float), paws)
    rotation = matrix(quaternion)
    return GaitMeasures(
        slip_mm=1e3 * max(_slip(paw, motion.contacts[:, i]) for i, paw in enumerate(paws)),
        lifted_mm=1e3 * max(_lifted(paw, motion.contacts[:, i]) for i, paw in enumerate(paws)),
        paw_below_mm=-1e3 * min(float(paw.height.min()) for paw in paws),
        body_below_mm=-1e3 * float(other_heights(walker, poses).min()),
        clearance_mm=1e3
        * min(_clearance(paw, motion.contacts[:, i]) for i, paw in enumerate(paws)),
        limits_rad=float(np.maximum(lower - joints, joints - upper).max().clip(0.0)),
        joint_speed=float(np.abs(velocity).max()),
        joint_jump=float(np.abs(np.diff(velocity, axis=0)).max()),
        speed=_distance(position, rate) / ((len(qpos) - 1) / rate),
        commanded_speed=float(motion.speed.mean()),
        turn=_heading_rate(rotation, motion, rate),
        commanded_turn=float(motion.turn.mean()),
        balance=float((margin > 0).mean()),
        overhang_mm=1e3 * max(0.0, -float(margin.min())),
        root_height_mm=1e3 * float(np.median(position[:, 2]) - walker.floor_height),
        chest_pitch_deg=float(np.degrees(np.arcsin(rotation[:, 2, 0]).max())),
    )


def _slip(paw: PawParts, contact: np.ndarray) -> float:
    worst = 0.0
    for start, stop in stretches(contact):
        points = paw.points[start:stop]
        for part in range(points.shape[1]):
            down = points[points[:, part, 2] < _TOUCHING, part, :2]
            if len(down):
                worst = max(worst, float(np.linalg.norm(down - down[0], axis=1).max()))
    return worst


def _lifted(paw: PawParts, contact: np.ndarray) -> float:
    return float(paw.height[contact].max()) if contact.any() else 0.0


def _clearance(paw: PawParts, contact: np.ndarray) -> float:
    """Least height reached in a swing that begins and ends within the motion."""
    swings = [(a, b) for a, b in stretches(~contact) if a > 0 and b < len(contact)]
    return min((float(paw.height[a:b].max()) for a, b in swings), default=np.inf)


def _distance(position: np.ndarray, rate: float) -> float:
    """Length of the root's way, over chords that leave out the sway within a stride."""
    step = max(1, round(_CHORD_SECONDS * rate))
    places = position[np.append(np.arange(0, len(position) - 1, step), len(position) - 1), :2]
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())


def _heading_rate(rotation: np.ndarray, motion: GaitMotion, rate: float) -> float:
    """Mean over whole strides, as the chest also yaws within one."""
    heading = np.unwrap(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    slope = np.polyfit(np.arange(len(heading)) / rate, heading, 1)[0]
    return (
        float(slope)
        if np.ptp(motion.turn) == 0
        else float(heading[-1] - heading[0]) * rate / (len(heading) - 1)
    )


def _balance(center_of_mass: np.ndarray, paws: list[PawParts]) -> np.ndarray:
    """Signed distance [frame] of the centre of mass inside the polygon of the paws on the floor."""
    points = np.concatenate([paw.points for paw in paws], axis=1)
    margins = np.empty(len(points))
    for frame, parts in enumerate(points):
        on_floor = parts[parts[:, 2] < _TOUCHING, :2]
        try:
            edges = ConvexHull(on_floor).equations
        except (QhullError, ValueError):
            margins[frame] = (
                -np.inf
                if not len(on_floor)
                else -np.linalg.norm(on_floor - center_of_mass[frame, :2], axis=1).min()
            )
            continue
        margins[frame] = -(edges[:, :2] @ center_of_mass[frame, :2] + edges[:, 2]).max()
    return margins


def main() -> None:
    """Prints a row of measures for each clip of the suite."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    walker = build_walker(WalkerConfig())
    print("\n".join(" " * 24 + line for line in GaitMeasures.header().split("\n")))
    for name, config in gait_suite(options.seed, options.seconds).items():
        print(f"{name:24}{measure(walker, make_gait(walker, config)).row()}", flush=True)


if __name__ == "__main__":
    main()
