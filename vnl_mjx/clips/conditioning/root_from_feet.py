"""Estimates the root's motion from the feet: standing feet stay where they are on a level floor.

For recordings of joint angles alone, such as those of flies whose legs are filmed in the body's frame. Roll
and pitch put the lowest feet on a plane, and each step between two frames keeps the standing feet in place
(leg odometry: Roston, Krotkov 1992, "Dead reckoning navigation for walking robots").
"""

import math

import numpy as np
from scipy.ndimage import gaussian_filter1d

from vnl_mjx.clips.body_size import body_length
from vnl_mjx.clips.feet import FootHeights
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import multiply, rotation_quaternion
from vnl_mjx.walkers.scaling import GRAVITY
from vnl_mjx.walkers.walker import Walker

FEWEST_FEET = 3  # that stand on a plane
# Height over the lowest point at which a foot hardly counts as standing, in body lengths.
_STANDS = 0.02
_SMOOTHING = 0.3  # standard deviation of the smoothing, in sqrt(length / gravity)
_PLANE_ROUNDS, _STEP_ROUNDS = 12, 3
_LEVEL = 0.02  # weight that holds the plane level, in squared body lengths


class RootFromFeet:
    """Estimates the root of one body's stretches of poses; built once per body and rate."""

    def __init__(self, walker: Walker, rate_hz: float):
        """Takes a body with a free root and three feet or more, and frames per second.

        Raises:
            UserError: the body has no free root, or fewer than three feet.
        """
        root = walker.root
        if root is None or len(walker.feet) < FEWEST_FEET:
            found = f"{len(walker.feet)} feet" if root else "a fixed root"
            raise UserError(
                "conditioning_config.root: from_feet expects a body with a free root and three feet or more, "
                f"found {found}; name the feet in foot_names of the body's file, or leave this option out"
            )
        self._root, self._rest = root, walker.model.qpos0
        self._kinematics = Kinematics(walker.model, num_threads=1)
        self._feet = FootHeights(walker)
        self._length = body_length(walker)
        gravity = float(np.linalg.norm(walker.model.opt.gravity)) or GRAVITY
        self._frames = _SMOOTHING * math.sqrt(self._length / gravity) * rate_hz

    def __call__(self, qpos: np.ndarray) -> np.ndarray:
        """Returns poses [frame, nq] with an estimated root; it starts near the origin, facing as at rest.

        `qpos` [frame, nq] are one stretch without gaps; the root's columns are not read.
        """
        root, qpos = self._root, np.array(qpos, np.float64)
        qpos[:, root.position] = 0.0
        qpos[:, root.quaternion] = self._rest[root.quaternion]
        points, heights = self._points(qpos)
        up = self._smooth(_planes(points, heights, self._length))
        up /= np.linalg.norm(up, axis=1, keepdims=True)
        qpos[:, root.quaternion] = multiply(_rotation_to_vertical(up), qpos[:, root.quaternion])
        points, heights = self._points(qpos)
        lowest = heights.min(axis=1)
        qpos[:, 2] = -self._smooth(lowest)
        yaw, place = _walk(points, heights - lowest[:, None], self._length)
        qpos[:, :2] = self._smooth(place)
        turn = rotation_quaternion(np.pad(self._smooth(yaw)[:, None], ((0, 0), (2, 0))))
        qpos[:, root.quaternion] = multiply(turn, qpos[:, root.quaternion])
        return qpos

    def _points(self, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the middles of the feet's geoms [frame, geom, 2] along x and y, and their heights."""
        poses = self._kinematics(qpos)
        where = self._feet.middles(poses.positions, poses.quaternions)
        return where[..., :2], self._feet.of_geoms(poses.positions, poses.quaternions).T

    def _smooth(self, values: np.ndarray) -> np.ndarray:
        return gaussian_filter1d(values, self._frames, axis=0, mode="nearest")


def _rotation_to_vertical(up: np.ndarray) -> np.ndarray:
    """Returns the shortest rotations [frame, 4] that turn unit vectors [frame, 3] to the z axis."""
    half = np.stack([1.0 + up[:, 2], up[:, 1], -up[:, 0], np.zeros(len(up))], axis=1)
    return half / np.linalg.norm(half, axis=1, keepdims=True)


def _planes(points: np.ndarray, heights: np.ndarray, length: float) -> np.ndarray:
    """Returns normals [frame, 3] of planes z = a x + b y + c under the lowest feet, by least squares."""
    ones = np.ones((*points.shape[:2], 1))
    terms = np.concatenate([points, ones], axis=2)
    plane = np.zeros((len(points), 3))
    plane[:, 2] = heights.min(axis=1)
    stiff = np.diag([_LEVEL * length**2, _LEVEL * length**2, 0.0])
    for _ in range(_PLANE_ROUNDS):
        above = heights - (terms @ plane[..., None])[..., 0]
        weight = np.exp(-np.maximum(above, 0.0) / (_STANDS * length))
        weighted = np.swapaxes(terms * weight[..., None], 1, 2)
        system = weighted @ terms + stiff
        plane = np.linalg.solve(system, weighted @ heights[..., None])[..., 0]
    return np.stack([-plane[:, 0], -plane[:, 1], ones[:, 0, 0]], axis=1)


def _walk(points: np.ndarray, heights: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns yaw [frame] and place [frame, 2] of the root that keep the standing points in place."""
    stands = np.exp(-np.square(heights / (_STANDS * length)))
    before, after = points[:-1], points[1:]
    base = stands[:-1] * stands[1:] + 1e-9
    turn, move = _rigid(before, after, base)
    for _ in range(_STEP_ROUNDS):  # points that move do not stand
        left = np.linalg.norm(_turned(after, turn) + move[:, None] - before, axis=2)
        typical = (base * left).sum(axis=1, keepdims=True) / base.sum(axis=1, keepdims=True)
        turn, move = _rigid(
            before, after, base / (1.0 + np.square(left / (typical + 1e-9 * length)))
        )
    yaw = np.concatenate([[0.0], np.cumsum(turn)])
    steps = _turned(move[:, None], yaw[:-1])[:, 0]
    return yaw, np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _rigid(
    before: np.ndarray, after: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the angle [frame] and shift [frame, 2] that bring points back to where they were."""
    share = (weight / weight.sum(axis=1, keepdims=True))[..., None]
    old, new = (share * before).sum(axis=1), (share * after).sum(axis=1)
    a, b = before - old[:, None], after - new[:, None]
    cross = (share[..., 0] * (b[..., 0] * a[..., 1] - b[..., 1] * a[..., 0])).sum(axis=1)
    dot = (share * a * b).sum(axis=(1, 2))
    turn = np.arctan2(cross, dot)
    return turn, old - _turned(new[:, None], turn)[:, 0]


def _turned(points: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns points [frame, point, 2] turned about the origin by angles [frame], rad."""
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)
