"""Computes kinematics of a serial chain of bodies, for all frames at once, in float64 (for `Problem`)."""

from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np

from vnl_mjx.quaternions import matrix


class Pose(NamedTuple):
    """Holds the pose of one body."""

    position: np.ndarray  # [frame, 3] metres, world
    rotation: np.ndarray  # [frame, 3, 3], body frame to world


class ChainState(NamedTuple):
    """Holds poses along a chain, and the joint axes for its Jacobians."""

    poses: list[Pose]  # one per body of the chain, base excluded
    anchors: np.ndarray  # [frame, joint, 3], a point on each joint's axis, world
    axes: np.ndarray  # [frame, joint, 3], unit, world
    joint_body: np.ndarray  # int [joint], the body (place in `poses`) that each joint moves first


@dataclass(frozen=True)
class _Link:
    """Describes one body of a chain: its pose on its parent, and its joints as (column, axis, anchor)."""

    offset: np.ndarray
    rotation: np.ndarray
    joints: tuple[tuple[int, np.ndarray, np.ndarray], ...]


class Chain:
    """Models the bodies below `base` down to `tip`, with hinge joints only.

    Attributes:
        bodies: names, base excluded.
        columns: int [joint], places of the chain's joints among the walker's.
        lower, upper: [joint] limits, radians.
    """

    def __init__(self, model: mujoco.MjModel, base: str, tip: str):
        """Reads the chain below `base` to its descendant `tip`; the model's first joint is the free root."""
        path = [model.body(tip).id]
        while model.body_parentid[path[-1]] != model.body(base).id:
            path.append(int(model.body_parentid[path[-1]]))
            if path[-1] == 0:
                raise ValueError(f"body {tip!r} is no descendant of {base!r}")
        path.reverse()
        joints = [
            joint
            for body in path
            for joint in range(
                model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]
            )
        ]
        if any(model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_HINGE for joint in joints):
            raise ValueError(f"the chain from {base!r} to {tip!r} has joints that are no hinges")
        self.bodies = tuple(model.body(body).name for body in path)
        self.columns = np.array(joints) - 1
        self.lower, self.upper = model.jnt_range[joints].T.copy()
        self._links = [_link(model, body, joints) for body in path]
        self._joint_body = np.array([path.index(model.jnt_bodyid[joint]) for joint in joints])

    def body(self, name: str) -> int:
        """Returns the place of a body in `bodies`."""
        return self.bodies.index(name)

    def forward(self, base: Pose, angles: np.ndarray) -> ChainState:
        """Returns poses for `angles` [frame, joint] on a base that moves as given."""
        position, rotation = base
        anchors = np.empty((len(angles), len(self.columns), 3))
        axes = np.empty_like(anchors)
        poses = []
        for link in self._links:
            position = position + rotation @ link.offset
            rotation = rotation @ link.rotation
            for column, axis, anchor in link.joints:
                pivot = position + rotation @ anchor
                anchors[:, column], axes[:, column] = pivot, rotation @ axis
                rotation = rotation @ axis_rotation(axis, angles[:, column])
                position = pivot - rotation @ anchor
            poses.append(Pose(position, rotation))
        return ChainState(poses, anchors, axes, self._joint_body)


def point(pose: Pose, local: np.ndarray) -> np.ndarray:
    """Returns the world position [frame, 3] of a point [3] that is fixed in a body."""
    return pose.position + pose.rotation @ local


def axis_rotation(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns rotations [frame, 3, 3] by `angle` [frame] about a unit axis [3] (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def euler_rotation(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Returns rotations [frame, 3, 3]: roll about x, then pitch about y, then yaw about z (fixed axes).

    Positive pitch is about +y, so it turns the x axis downwards.
    """
    x, y, z = np.eye(3)
    return axis_rotation(z, yaw) @ axis_rotation(y, pitch) @ axis_rotation(x, roll)


def _link(model: mujoco.MjModel, body: int, joints: list[int]) -> _Link:
    first, count = model.body_jntadr[body], model.body_jntnum[body]
    return _Link(
        offset=model.body_pos[body].copy(),
        rotation=matrix(model.body_quat[body]),
        joints=tuple(
            (joints.index(joint), model.jnt_axis[joint].copy(), model.jnt_pos[joint].copy())
            for joint in range(first, first + count)
        ),
    )
