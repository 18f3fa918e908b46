"""Reads the tree of a model's bodies: its root, the ends of its limbs, and the ends that are feet."""

from collections.abc import Sequence

import mujoco
import numpy as np

_POSES, _STANDS = 100, 0.1  # poses looked at, and the share of them in which a foot stands
FREE = mujoco.mjtJoint.mjJNT_FREE


class BodyTree:
    """Reads the tree of a model's bodies.

    Attributes:
        is_free: whether a free joint moves the root.
        root: body id of the root, the first body with a mass that the first joint's subtree has.
        moving: ids of the root and all below it.
    """

    def __init__(self, model: mujoco.MjModel, root: int | None = None):
        """Takes a model, and its root body; None: the body is found."""
        self.model = model
        self.children: dict[int, list[int]] = {body: [] for body in range(model.nbody)}
        for body in range(1, model.nbody):
            self.children[int(model.body_parentid[body])].append(body)
        self.is_free = bool(model.jnt_type[0] == FREE)
        self.root = self._root() if root is None else root
        self.moving = self.below(self.root)

    def below(self, body: int) -> list[int]:
        """Returns a body and all below it, in model order."""
        found = [body]
        for at in found:
            found += self.children[at]
        return sorted(found)

    def ends(self, data: mujoco.MjData, extent: float) -> list[int]:
        """Returns the bodies at the ends of limbs; parts smaller than `extent` are one end."""
        found = dict[int, None]()
        for leaf in self.moving:
            if self.children[leaf]:
                continue
            end = leaf
            while (
                parent := int(self.model.body_parentid[end])
            ) != self.root and parent in self.moving:
                points = data.xpos[self.below(parent)]
                if np.linalg.norm(points - data.xpos[parent], axis=1).max() > extent:
                    break
                end = parent
            if self._moves(end):
                found[end] = None
        return [end for end in found if not any(e != end and end in self.below(e) for e in found)]

    def lowest(self, data: mujoco.MjData, body: int) -> float:
        """Returns the lowest point of a body and all below it; meshes as their boxes."""
        own = np.isin(self.model.geom_bodyid, self.below(body))
        if not own.any():
            return float(data.xpos[self.below(body), 2].min())
        return float((data.geom_xpos[own, 2] - _half_height(self.model, data, own)).min())

    def _root(self) -> int:
        """Returns the free joint's body, or the body that all joints' bodies hang on; passes empty ones."""
        model = self.model
        if self.is_free:
            body = int(model.jnt_bodyid[0])
        else:
            chains = [self._above(int(b)) for b in model.jnt_bodyid]
            common = set.intersection(*map(set, chains))
            body = max(common - {0}, default=0, key=lambda b: len(self._above(b)))
            if not body:  # limbs that hang on the world one by one
                return 0
            if body in model.jnt_bodyid and model.body_parentid[body]:
                body = int(model.body_parentid[body])
        while model.body_mass[body] < 1e-9 and len(self.children[body]) == 1:
            child = self.children[body][0]
            if model.body_jntnum[child] and not self.is_free:
                break
            body = child
        return body

    def _above(self, body: int) -> list[int]:
        found = []
        while body:
            found.append(body)
            body = int(self.model.body_parentid[body])
        return found

    def _moves(self, body: int) -> bool:
        """Returns whether a joint lies between a body and the root."""
        while body and body != self.root:
            if self.model.body_jntnum[body]:
                return True
            body = int(self.model.body_parentid[body])
        return False


def find_feet(
    tree: BodyTree, ends: Sequence[int], poses: np.ndarray | None, near: float
) -> tuple[list[int], float]:
    """Returns the ends that come near the floor, and the floor's height, m.

    Without poses the lowest end at rest stands on the floor. With poses the floor is where the lowest ends
    are in most of them, and a foot is near it in a tenth of them.
    """
    model, data = tree.model, at_rest(tree.model)
    looked_at = model.qpos0[None] if poses is None else poses[:: max(len(poses) // _POSES, 1)]
    rows = []
    for pose in looked_at:
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        rows.append([tree.lowest(data, end) for end in ends])
    heights = np.array(rows)
    ground = float(np.median(heights.min(axis=1)))
    stands = (heights - ground < near).mean(axis=0) >= _STANDS
    return [end for end, is_foot in zip(ends, stands, strict=True) if is_foot], ground


def at_rest(model: mujoco.MjModel) -> mujoco.MjData:
    """Returns the state at qpos0."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data


def _half_height(model: mujoco.MjModel, data: mujoco.MjData, own: np.ndarray) -> np.ndarray:
    """Returns how far geoms [chosen] extend downwards from their middle, m."""
    axes = data.geom_xmat[own].reshape(-1, 3, 3)[:, 2]  # the world's z in each geom's axes
    size, kind = model.geom_size[own], model.geom_type[own]
    box = np.abs(axes * model.geom_aabb[own, 3:]).sum(axis=1)
    capsule = size[:, 0] + np.abs(axes[:, 2]) * size[:, 1]
    ellipsoid = np.linalg.norm(axes * size, axis=1)
    types = mujoco.mjtGeom
    return np.select(
        [kind == types.mjGEOM_SPHERE, kind == types.mjGEOM_CAPSULE, kind == types.mjGEOM_ELLIPSOID],
        [size[:, 0], capsule, ellipsoid],
        box,
    )
