"""Where the model's geoms are over the floor, frame by frame; for measuring made motion."""

from dataclasses import dataclass

import mujoco
import numpy as np

from vnl_mjx.clips.kinematics import BodyPoses
from vnl_mjx.quaternions import matrix
from vnl_mjx.walkers.walker import Walker

_GEOM = mujoco.mjtGeom


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
