"""Computes lines on the ground of an arena, which show its shape and the motion over it."""

import mujoco
import numpy as np

from vnl_mjx.report.rendering.scene import Scene

SQUARES = 5  # floor squares between two lines
_LIFT = 0.05  # height of lines over the ground, as a share of a square
_OUT_OF_THE_WAY_M = 1e3


def ground_lines(scene: Scene) -> np.ndarray:
    """Returns segments [segment, 2, 3] on the ground of an arena, world, m, `SQUARES` squares apart."""
    model, data = scene.model, mujoco.MjData(scene.model)
    root = scene.layout.root
    if root is not None:
        data.qpos[root.position][2] = -_OUT_OF_THE_WAY_M
    mujoco.mj_kinematics(model, data)
    ground = np.flatnonzero(model.geom_bodyid == 0)
    reach = model.geom_rbound[ground, None]
    low, high = data.geom_xpos[ground] - reach, data.geom_xpos[ground] + reach
    low, high = low.min(axis=0), high.max(axis=0)
    step, apart = scene.square, SQUARES * scene.square
    segments = []
    for along in (0, 1):
        across = 1 - along
        places = np.arange(low[along], high[along] + step, step)
        for line in apart * np.arange(np.ceil(low[across] / apart), high[across] / apart):
            points = np.empty((len(places), 3))
            points[:, along], points[:, across] = places, line
            points[:, 2] = [_height(model, data, point[:2], high[2]) for point in points]
            pairs = np.stack([points[:-1], points[1:]], axis=1)
            rise = np.abs(np.diff(pairs[:, :, 2], axis=1))[:, 0]
            segments.append(pairs[rise < apart])  # NaN, beside the ground, is left out
    return np.concatenate(segments) + np.array([0.0, 0.0, _LIFT * step])


def _height(model: mujoco.MjModel, data: mujoco.MjData, place: np.ndarray, top: float) -> float:
    """Returns the height of the ground at a place [2]; NaN beside the ground."""
    start, down = np.array([*place, top + 1.0]), np.array([0.0, 0.0, -1.0])
    distance = mujoco.mj_ray(model, data, start, down, None, True, -1, None)
    found = start[2] - distance
    return found if distance >= 0 and found > -0.5 * _OUT_OF_THE_WAY_M else np.nan
