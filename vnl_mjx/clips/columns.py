"""qpos and qvel of a walker as the features that clips hold, and back."""

from collections.abc import Mapping, Sequence

import numpy as np

from vnl_mjx.walkers.layout import Layout

POSE = ("position", "quaternion", "joints")
VELOCITY = ("velocity", "angular_velocity", "joints_velocity")


def columns_of(names: Sequence[str], free_root: bool) -> Sequence[str]:
    """Returns those of `POSE` or `VELOCITY` that stand in qpos or qvel: without a root, the last."""
    return names if free_root else names[-1:]


def join_qpos(features: Mapping[str, np.ndarray], layout: Layout) -> np.ndarray:
    """Returns qpos [..., nq] from the features of `POSE`."""
    names = columns_of(POSE, layout.free_root)
    return np.concatenate([features[name] for name in names], axis=-1)


def join_qvel(features: Mapping[str, np.ndarray], layout: Layout) -> np.ndarray:
    """Returns qvel [..., nv] from the features of `VELOCITY`."""
    names = columns_of(VELOCITY, layout.free_root)
    return np.concatenate([features[name] for name in names], axis=-1)


def split_qpos(qpos: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """Returns the features of `POSE` that stand in qpos [..., nq]."""
    joints = {"joints": qpos[..., layout.joint_qpos]}
    if (root := layout.root) is None:
        return joints
    return {
        "position": qpos[..., root.position],
        "quaternion": qpos[..., root.quaternion],
        **joints,
    }


def split_qvel(qvel: np.ndarray, layout: Layout) -> dict[str, np.ndarray]:
    """Returns the features of `VELOCITY` that stand in qvel [..., nv]."""
    joints = {"joints_velocity": qvel[..., layout.joint_qvel]}
    if (root := layout.root) is None:
        return joints
    return {
        "velocity": qvel[..., root.velocity],
        "angular_velocity": qvel[..., root.angular_velocity],
        **joints,
    }


def root_pose(qpos: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Returns the root's position [..., 3] and quaternion [..., 4] of qpos [..., nq].

    Without a free root they are the origin and no rotation: it does not move.
    """
    if root := layout.root:
        return qpos[..., root.position], qpos[..., root.quaternion]
    leading = qpos.shape[:-1]
    return np.zeros((*leading, 3)), np.tile([1.0, 0.0, 0.0, 0.0], (*leading, 1))
