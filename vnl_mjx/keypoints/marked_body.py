"""Places markers on a body: where they are in a pose, and how the pose moves them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import mujoco
import numpy as np

from vnl_mjx.clips.conditioning.mirror import partners
from vnl_mjx.config.walker import rodent_body
from vnl_mjx.errors import UserError, nearest
from vnl_mjx.quaternions import matrix, multiply, rotation_quaternion
from vnl_mjx.walkers.walker import Walker

_FEWEST = 3  # markers that place a body in space


class MarkerState(NamedTuple):
    """Holds markers in some poses, and the first-order motion of every coordinate."""

    points: np.ndarray  # [frame, marker, 3] world
    rotations: np.ndarray  # [frame, marker, 3, 3], frame of the marker's body to world
    # [frame, 6, coordinate]: angular velocity, and velocity of the point at the world's origin
    twists: np.ndarray


@dataclass(frozen=True, eq=False)
class MarkedBody:
    """Holds markers on a walker, and the coordinates that move them.

    The coordinates are the free root's translation (world) and rotation (its own frame), if there is one,
    then the joints between the root and a marker.

    Attributes:
        walker: the body.
        names: of the markers [marker].
        columns: int [marker], places of these among the names that were given.
        bodies: int [marker], body ids.
        offsets: [marker, 3], places in the bodies' frames, metres.
        joints: int [joint], ids of the joints that move a marker.
    """

    walker: Walker
    names: tuple[str, ...]
    columns: np.ndarray
    bodies: np.ndarray
    offsets: np.ndarray
    joints: np.ndarray

    @property
    def num_root(self) -> int:
        """Coordinates of the root: 6, or 0 if it is fixed."""
        return 6 if self.walker.root else 0

    @cached_property
    def qpos_columns(self) -> np.ndarray:
        """Columns of the joints in qpos, int [joint]."""
        return self.walker.model.jnt_qposadr[self.joints]

    @cached_property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limits [joint]; infinite where a joint has none."""
        model = self.walker.model
        limited = model.jnt_limited[self.joints, None].astype(bool)
        ranges = np.where(limited, model.jnt_range[self.joints], [-np.inf, np.inf])
        return ranges[:, 0], ranges[:, 1]

    @cached_property
    def rest(self) -> np.ndarray:
        """Angles [joint] of the body at rest, within the limits."""
        return np.clip(self.walker.model.qpos0[self.qpos_columns], *self.limits)

    @cached_property
    def spread(self) -> np.ndarray:
        """How far angles are expected from their mean, one standard deviation [joint]: half the range."""
        width = self.limits[1] - self.limits[0]
        return 0.5 * np.where(np.isfinite(width), np.maximum(width, 1e-3), np.pi)

    @cached_property
    def moves(self) -> np.ndarray:
        """1.0 where a coordinate moves a marker, else 0.0: [marker, coordinate]."""
        model = self.walker.model
        above = [body_and_above(model, int(body)) for body in self.bodies]
        joint_bodies = model.jnt_bodyid[self.joints].tolist()
        own = [[float(body in chain) for body in joint_bodies] for chain in above]
        return np.hstack([np.ones((len(self.names), self.num_root)), np.array(own)])

    @cached_property
    def size(self) -> float:
        """Root of the mean squared distance of the markers from their middle at rest, metres."""
        points = self.state(self.walker.model.qpos0[None], self.offsets).points[0]
        return float(np.sqrt(np.square(points - points.mean(axis=0)).sum(axis=1).mean()))

    def still(self) -> tuple[str, ...]:
        """Returns the names of the joints that move no marker."""
        model, own = self.walker.model, set(self.joints.tolist())
        first = 1 if self.walker.root else 0
        return tuple(model.joint(j).name for j in range(first, model.njnt) if j not in own)

    def mirror(self) -> np.ndarray:
        """Returns int [marker], the partner of each marker on the other side; its own place if none."""
        return np.array(partners(self.names, ()))

    def state(
        self, qpos: np.ndarray, offsets: np.ndarray, data: mujoco.MjData | None = None
    ) -> MarkerState:
        """Returns the markers and their motion in poses [frame, nq], for `offsets` [marker, 3].

        `data` saves the time to make one; it serves one thread at a time.
        """
        model = self.walker.model
        own = mujoco.MjData(model) if data is None else data
        frames, joints = len(qpos), len(self.joints)
        positions = np.empty((frames, len(self.bodies), 3))
        rotations = np.empty((frames, len(self.bodies), 9))
        anchors, axes = np.empty((frames, joints, 3)), np.empty((frames, joints, 3))
        for frame, pose in enumerate(qpos):
            own.qpos[:] = pose
            mujoco.mj_kinematics(model, own)
            positions[frame], rotations[frame] = own.xpos[self.bodies], own.xmat[self.bodies]
            anchors[frame], axes[frame] = own.xanchor[self.joints], own.xaxis[self.joints]
        rotations = rotations.reshape(frames, -1, 3, 3)
        points = positions + (rotations @ offsets[..., None])[..., 0]
        return MarkerState(points, rotations, self._twists(qpos, anchors, axes))

    def _twists(self, qpos: np.ndarray, anchors: np.ndarray, axes: np.ndarray) -> np.ndarray:
        frames, first = len(qpos), self.num_root
        twists = np.zeros((frames, 6, first + len(self.joints)))
        hinges = self.walker.model.jnt_type[self.joints] == mujoco.mjtJoint.mjJNT_HINGE
        turning = np.where(hinges[:, None], axes, 0.0)
        twists[:, :3, first:] = np.swapaxes(turning, 1, 2)
        moving = np.where(hinges[:, None], _cross(anchors, axes), axes)
        twists[:, 3:, first:] = np.swapaxes(moving, 1, 2)
        if root := self.walker.root:
            turn = matrix(qpos[:, root.quaternion])
            twists[:, 3:, :3] = np.eye(3)
            twists[:, :3, 3:6] = turn
            place = qpos[:, None, root.position]
            twists[:, 3:, 3:6] = np.swapaxes(_cross(place, np.swapaxes(turn, 1, 2)), 1, 2)
        return twists

    def jacobian(self, state: MarkerState) -> np.ndarray:
        """Returns how far each coordinate moves each marker, [frame, marker, 3, coordinate]."""
        points = state.points
        motion = np.zeros((*points.shape, 6))  # of a point by a twist: its angular part is -[p] x
        x, y, z = np.moveaxis(points, -1, 0)
        motion[..., 0, 1], motion[..., 0, 2] = z, -y
        motion[..., 1, 0], motion[..., 1, 2] = -z, x
        motion[..., 2, 0], motion[..., 2, 1] = y, -x
        motion[..., (0, 1, 2), (3, 4, 5)] = 1.0
        frames, markers = points.shape[:2]
        whole = motion.reshape(frames, 3 * markers, 6) @ state.twists
        return whole.reshape(frames, markers, 3, -1) * self.moves[:, None]

    def moved(self, qpos: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Returns poses [frame, nq] after a step [frame, coordinate], within the joints' limits."""
        result, first = qpos.copy(), self.num_root
        if root := self.walker.root:
            result[:, root.position] += step[:, :3]
            turn = rotation_quaternion(step[:, 3:6])
            turned = multiply(qpos[:, root.quaternion], turn)
            result[:, root.quaternion] = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        columns = self.qpos_columns
        result[:, columns] = np.clip(qpos[:, columns] + step[:, first:], *self.limits)
        return result


def mark_body(walker: Walker, names: Sequence[str], source: str) -> MarkedBody:
    """Puts the markers that a walker's configuration has for key points on the walker, by name.

    Args:
        walker: the body.
        names: of the key points.
        source: what to call the recording in messages.

    Raises:
        UserError: the body has no markers, they are on unknown bodies, or too few key points are among them.
    """
    places = marker_places(walker)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(
            f"{source}: expected each key point once, found {twice!r} twice; rename one"
        )
    known = [column for column, name in enumerate(names) if name in places]
    if len(known) < _FEWEST:
        raise UserError(
            f"{source}: {len(known)} of its {len(names)} key points are markers of the body, expected at "
            f"least {_FEWEST}; found {', '.join(names[:4])}, the body has {', '.join(list(places)[:4])} "
            "and others; rename the points, or add `markers` to the body's YAML file"
        )
    bodies = [walker.body_names.index(places[names[column]][0]) for column in known]
    model = walker.model
    moving = {body for marked in bodies for body in body_and_above(model, marked)}
    first = 1 if walker.root else 0
    joints = [j for j in range(first, model.njnt) if int(model.jnt_bodyid[j]) in moving]
    return MarkedBody(
        walker=walker,
        names=tuple(names[column] for column in known),
        columns=np.array(known),
        bodies=np.array(bodies),
        offsets=np.array([places[names[column]][1] for column in known], float),
        joints=np.array(joints, int),
    )


def marker_places(walker: Walker) -> dict[str, tuple[str, tuple[float, float, float]]]:
    """Returns the body and the place in its frame, metres, of every marker of a walker, by name.

    Raises:
        UserError: the body has no markers, or one is on an unknown body.
    """
    table, source = walker.config.markers, walker.config.source
    if not table and set(rodent_body().markers) <= set(walker.body_names):
        table = rodent_body().markers
    if not table:
        raise UserError(
            f"walker.markers: expected places of markers on {source!r}, found none; add `markers` to the "
            "body's YAML file (docs/keypoints.md)"
        )
    places = {marker: (body, place) for body, own in table.items() for marker, place in own.items()}
    for marker, (body, _) in places.items():
        if body not in walker.body_names:
            near = nearest(body, walker.body_names, 0.0)
            raise UserError(
                f"walker.markers: marker {marker!r} is on {body!r}, which is no body of {source!r}; the "
                f"nearest name is {near!r}"
            )
    return places


def markers_length(walker: Walker) -> float:
    """Returns the largest distance between two markers of a walker at rest, metres; UserError without any."""
    body = mark_body(walker, tuple(marker_places(walker)), walker.config.source)
    points = body.state(walker.model.qpos0[None], body.offsets).points[0]
    return float(np.linalg.norm(points[:, None] - points, axis=-1).max())


def body_and_above(model: mujoco.MjModel, body: int) -> list[int]:
    """Returns a body and all above it, without the world."""
    chain = []
    while body:
        chain.append(body)
        body = int(model.body_parentid[body])
    return chain


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the cross product along the last axis; several times as fast as NumPy's."""
    ax, ay, az = np.moveaxis(a, -1, 0)
    bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
