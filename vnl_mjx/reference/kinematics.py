"""Features that a clip file lacks: body poses by forward kinematics, velocities by differences."""

import mujoco
import numpy as np


def forward_kinematics(model: mujoco.MjModel, qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Body poses in the world.

    Args:
        model: the walker's model.
        qpos: [frame, nq].

    Returns:
        Positions float32 [frame, nbody, 3] in metres and quaternions float32 [frame, nbody, 4].
    """
    data = mujoco.MjData(model)
    positions = np.empty((len(qpos), model.nbody, 3), np.float32)
    quaternions = np.empty((len(qpos), model.nbody, 4), np.float32)
    for frame, pose in enumerate(qpos):
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        positions[frame], quaternions[frame] = data.xpos, data.xquat
    return positions, quaternions


def static_bodies(model: mujoco.MjModel) -> np.ndarray:
    """Whether each body is fixed to the world, bool [nbody]."""
    return model.body_weldid == 0


def finite_difference_qvel(
    model: mujoco.MjModel, qpos: np.ndarray, lengths: np.ndarray, rate_hz: float
) -> np.ndarray:
    """Central differences inside each clip, one-sided at its ends, zero for a single frame.

    Quaternions are differenced on their manifold (`mj_differentiatePos`), so angular velocity is
    in the body's own frame, as in qvel.

    Args:
        model: the walker's model.
        qpos: [frame, nq], clips one after another.
        lengths: [clip], frames per clip.
        rate_hz: frames per second.

    Returns:
        float32 [frame, nv].
    """
    qpos = np.asarray(qpos, np.float64)
    qvel = np.zeros((len(qpos), model.nv))
    start = 0
    for length in lengths:
        last = start + int(length) - 1
        for frame in range(start, last + 1):
            before, after = max(frame - 1, start), min(frame + 1, last)
            if after > before:
                seconds = (after - before) / rate_hz
                mujoco.mj_differentiatePos(model, qvel[frame], seconds, qpos[before], qpos[after])
        start = last + 1
    return qvel.astype(np.float32)
