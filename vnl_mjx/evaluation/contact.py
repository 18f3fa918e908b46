"""Measures whether feet stand when the reference's do, and whether standing feet slip."""

import numpy as np

from vnl_mjx.clips.feet import FootGeom, foot_geoms
from vnl_mjx.clips.kinematics import BodyPoses, Kinematics
from vnl_mjx.evaluation.per_episode import ratio
from vnl_mjx.evaluation.rollout import Rollout
from vnl_mjx.quaternions import matrix
from vnl_mjx.walkers.walker import Walker

_TOUCHING = 0.001  # metres above the floor at which the lowest point of a foot counts as on it


class FootSlip:
    """Measures the foot slip of one walker's poses."""

    def __init__(self, walker: Walker):
        """Finds the geoms that the feet stand on."""
        self._kinematics = Kinematics(walker.model, num_threads=1)
        self._floor_height = walker.floor_height
        self._geoms = foot_geoms(walker)

    def of_rollout(self, rollout: Rollout) -> np.ndarray:
        """Returns the mean slip of each episode [episode], mm/s; NaN if no foot touched the floor."""
        motions = [rollout.qpos_of(episode) for episode in range(len(rollout.start_qpos))]
        return 1e3 * np.array([self(motion, rollout.control_hz) for motion in motions])

    def __call__(self, qpos: np.ndarray, rate_hz: float) -> float:
        """Returns the mean horizontal speed, m/s, of feet that touch the floor in two consecutive frames.

        `qpos` is [frame, nq]. The speed is that of the foot's lowest point in the first frame, so a foot
        that rolls does not slip.
        """
        poses = self._kinematics(qpos)
        heights, moved = zip(*(self._lowest(poses, geom) for geom in self._geoms), strict=True)
        foot = np.array([geom.foot for geom in self._geoms])
        speeds = []
        for own in (np.flatnonzero(foot == f) for f in np.unique(foot)):
            height = np.stack([heights[i] for i in own])
            lowest = height.argmin(axis=0)
            down = height.min(axis=0) < _TOUCHING
            travel = np.stack([moved[i] for i in own])[lowest[:-1], np.arange(len(qpos) - 1)]
            speeds.append(rate_hz * travel[down[:-1] & down[1:]])
        pooled = np.concatenate(speeds)
        return float(pooled.mean()) if len(pooled) else float("nan")

    def _lowest(self, poses: BodyPoses, geom: FootGeom) -> tuple[np.ndarray, np.ndarray]:
        """Returns the height [frame] of a geom's lowest point, and its horizontal movement [frame - 1]."""
        position = poses.positions[:, geom.body].astype(float)
        rotation = matrix(poses.quaternions[:, geom.body].astype(float))
        up = rotation[:, 2]  # in the body's frame
        along = up @ geom.axes  # in the geom's
        if geom.rounded:
            stretched = along * geom.half_axes
            reach = stretched * geom.half_axes / np.linalg.norm(stretched, axis=1, keepdims=True)
        else:
            reach = np.sign(along) * geom.half_axes
        point = geom.position - reach @ geom.axes.T - geom.radius * up
        height = position[:, 2] + np.sum(up * point, axis=1) - self._floor_height
        before, after = (
            position[rows] + np.einsum("fij,fj->fi", rotation[rows], point[:-1])
            for rows in (slice(None, -1), slice(1, None))
        )
        return height, np.linalg.norm((after - before)[:, :2], axis=1)


def contact_agreement(
    contacts: np.ndarray, reference: np.ndarray, valid: np.ndarray
) -> dict[str, np.ndarray]:
    """Compares stance and swing of feet with the reference's, by one rule (`config.preprocessing`).

    Contacts are bool [time, episode, foot], and only `valid`, bool [time, episode], steps count. Returns,
    [episode] each, the share of feet and steps in which both stand or neither does, and the F1 score of the
    simulation's contacts, NaN if no foot stands in either.
    """
    counted = np.broadcast_to(valid[..., None], contacts.shape)

    def count(feet: np.ndarray) -> np.ndarray:
        return (feet & counted).sum(axis=(0, 2))

    both, one = count(contacts & reference), count(contacts ^ reference)
    return {
        "contact_agreement": ratio(count(contacts == reference), counted.sum(axis=(0, 2))),
        "contact_f1": ratio(2 * both, 2 * both + one),
    }
