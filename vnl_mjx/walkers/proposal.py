"""Proposes a body's YAML file from its MJCF: what the names and the geometry of the model tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.scaling import control_rate, scaled_task, servo_frequency
from vnl_mjx.walkers.walker import body_spec, compiled

# Shares of the body's length, of the height above its lowest point below which an end is a foot, and of the
# extent of a part that counts as one end (a hand, not its fingers).
FOOT_SHARE, END_SHARE = 0.12, 0.12
_MARGIN_SHARE, _MARGIN_RAD = 0.25, 0.3  # of servos' ranges beyond a motion's
_TINY_RAD = np.deg2rad(4.0)  # a range of 4 rad that is read as degrees
_POSES, _STANDS = 100, 0.1  # poses looked at, and the share of them in which a foot stands
_FREE = mujoco.mjtJoint.mjJNT_FREE


@dataclass(frozen=True)
class Proposal:
    """Holds a proposed body.

    Attributes:
        keys: of the YAML file, without its `source`.
        length: m, the greatest distance between two bodies at qpos0.
        found: what the model has, in words, by topic.
        checks: what a person should look at.
    """

    keys: dict[str, Any]
    length: float
    found: Mapping[str, str]
    checks: Sequence[str] = field(default_factory=tuple)


def propose(
    source: str,
    root_joint: str = "as_in_file",
    poses: np.ndarray | None = None,
    rate_hz: float | None = None,
) -> Proposal:
    """Reads an MJCF and proposes the keys of its body's file. A body with a free root stands on a floor.

    Args:
        source: path of the MJCF.
        root_joint: "free", "fixed" or "as_in_file".
        poses: a motion [frame, nq], which tells feet and floor; None: the model's resting pose does.
        rate_hz: frames per second of the motion.

    Raises:
        UserError: the MJCF cannot be read, has no joints, or others than hinges, slides and a free one.
    """
    nothing = {"joint_names": (), "body_names": (), "end_effector_names": ()}
    bare = WalkerConfig(source=source, **nothing)
    model = compiled(body_spec(bare), source)
    in_radians = _has_tiny_ranges(model)
    if in_radians:
        bare = replace(bare, angles="radians")
        model = compiled(body_spec(bare), source)
    _check_joints(model, source)
    tree = _Tree(model)
    root, was_free = tree.root, tree.is_free
    name = lambda body: model.body(body).name  # noqa: E731
    if root_joint != "as_in_file":
        named = replace(bare, root_body=name(root), root_joint=root_joint)
        model = compiled(body_spec(named), source)
        tree = _Tree(model, root)
    is_free = has_floor = tree.is_free
    data = _at_rest(model)
    moving = tree.moving
    points = data.xpos[moving]
    length = float(np.linalg.norm(points[:, None] - points, axis=-1).max())
    ends = tree.ends(data, END_SHARE * length)
    feet, ground = _feet(tree, ends, poses, FOOT_SHARE * length) if has_floor else ([], 0.0)
    joints = [j for j in range(model.njnt) if model.jnt_type[j] != _FREE]
    kinds = _actuator_kinds(model)
    gravity = float(np.linalg.norm(model.opt.gravity)) or 9.81
    weight = gravity * float(model.body_mass[moving].sum())
    has_plane = bool(np.any(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE))
    keys: dict[str, Any] = {
        "root_body": name(root),
        "joint_names": [model.joint(j).name for j in joints],
        "body_names": [name(b) for b in moving if model.body_dofnum[b] or b in {root, *ends}],
        "end_effector_names": [name(end) for end in ends],
        "foot_names": [name(end) for end in feet],
    }
    if in_radians:
        keys["angles"] = "radians"
    if is_free != was_free:
        keys["root_joint"] = "free" if is_free else "fixed"
    if has_floor and not has_plane:
        keys["add_floor"] = True
        keys["floor_height"] = round(ground, 6)
    hz = servo_frequency(length, gravity)
    if set(kinds) != {"position"}:
        keys["servo_hz"] = float(f"{hz:.2g}")
        if poses is not None:
            keys["servo_ranges"] = _servo_ranges(model, joints, poses)
    elif not np.all(model.actuator_ctrlrange == (-1.0, 1.0)):
        keys["normalize_controls"] = True
    rate = control_rate(length, gravity, rate_hz)
    keys["task"] = scaled_task(
        length=length,
        weight=weight,
        gravity=gravity,
        num_joints=len(joints),
        is_free=is_free,
        rate_hz=rate,
    )
    unlimited = [model.joint(j).name for j in joints if not model.jnt_limited[j]]
    mirrored = len(feet) % 2 == 0
    found = {
        "root": f"{name(root)}, {'free' if is_free else 'fixed'}",
        "joints": f"{len(joints)}" + (f", {len(unlimited)} without a range" if unlimited else ""),
        "bodies": f"{len(keys['body_names'])} that joints move",
        "end effectors": ", ".join(keys["end_effector_names"]) or "none",
        "feet": ", ".join(keys["foot_names"]) or "none",
        "actuators": ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none",
        "length": f"{length:.3g} m",
        "mass": f"{weight / gravity:.3g} kg under gravity {gravity:.4g} m/s^2",
        "control": f"{rate:g} steps per second",
        "floor": "in the file" if has_plane else "added" if has_floor else "none",
    }
    checks = []
    if in_radians:
        checks.append(
            "every joint range is below 4 degrees as the file says it; its angles are read as radians "
            "(angles in the body's file)"
        )
    if not is_free and root_joint == "as_in_file":
        checks.append(
            "the file has no free joint, so the root is fixed to the world; give --root free if the body "
            "moves about"
        )
    if unlimited and poses is None:
        checks.append(
            f"joints without a range: {', '.join(unlimited[:6])}; their servos reach +-180 degrees"
        )
    if is_free and not feet:
        checks.append("no foot was found; name the bodies that touch the floor in foot_names")
    if feet and not mirrored:
        checks.append("an odd number of feet was found; correct foot_names")
    if set(kinds) - {"position", "torque"}:
        checks.append(f"servo_hz replaces the {', '.join(set(kinds) - {'position'})} actuators")
    return Proposal(keys, length, found, checks)


class _Tree:
    """Reads the tree of a model's bodies.

    Attributes:
        is_free: whether a free joint moves the root.
        root: body id of the root, the first body with a mass that the first joint's subtree has.
        moving: ids of the root and all below it.
    """

    def __init__(self, model: mujoco.MjModel, root: int | None = None):
        self.model = model
        self.children: dict[int, list[int]] = {body: [] for body in range(model.nbody)}
        for body in range(1, model.nbody):
            self.children[int(model.body_parentid[body])].append(body)
        self.is_free = bool(model.jnt_type[0] == _FREE)
        self.root = self._root() if root is None else root
        self.moving = self.below(self.root)

    def below(self, body: int) -> list[int]:
        """Returns a body and all below it, in model order."""
        found = [body]
        for at in found:
            found += self.children[at]
        return sorted(found)

    def ends(self, data: mujoco.MjData, extent: float) -> list[int]:
        """Returns the bodies at the ends of limbs; parts smaller than `extent`, m, are one end."""
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
        """Returns the lowest point of a body and all below it, m; boxes as their bounding spheres."""
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


def _feet(
    tree: _Tree, ends: Sequence[int], poses: np.ndarray | None, near: float
) -> tuple[list[int], float]:
    """Returns the ends that come near the floor, and the floor's height, m.

    Without poses the lowest end at rest stands on the floor. With poses the floor is where the lowest ends
    are in most of them, and a foot is near it in a tenth of them.
    """
    model, data = tree.model, _at_rest(tree.model)
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


def _servo_ranges(
    model: mujoco.MjModel, joints: Sequence[int], poses: np.ndarray
) -> dict[str, list[float]]:
    """Returns the angles that a motion reaches, with a margin, which servos need to push, by joint."""
    found = {}
    for joint in joints:
        angles = poses[:, model.jnt_qposadr[joint]]
        low, high = float(angles.min()), float(angles.max())
        hinge = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE
        margin = max(_MARGIN_SHARE * (high - low), _MARGIN_RAD if hinge else 1e-6)
        found[model.joint(joint).name] = [round(low - margin, 4), round(high + margin, 4)]
    return found


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


def _at_rest(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data


def _has_tiny_ranges(model: mujoco.MjModel) -> bool:
    """Returns whether hinges have ranges that only make sense if the file's degrees are radians."""
    hinges = (model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE) & model.jnt_limited.astype(bool)
    return bool(hinges.any() and np.ptp(model.jnt_range[hinges], axis=1).max() < _TINY_RAD)


def _check_joints(model: mujoco.MjModel, source: str) -> None:
    if not model.njnt:
        raise UserError(f"{source}: expected joints, found none; add joints")
    unnamed = [
        j for j in range(model.njnt) if model.jnt_type[j] != _FREE and not model.joint(j).name
    ]
    if unnamed:
        raise UserError(
            f"{source}: expected a name of every joint, found none of joint {unnamed[0]}; name it"
        )
    for joint in range(model.njnt):
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_BALL:
            raise UserError(
                f"{source}: expected hinge and slide joints, found the ball joint "
                f"{model.joint(joint).name!r}; replace it by three hinges"
            )


def _actuator_kinds(model: mujoco.MjModel) -> dict[str, int]:
    """Returns how many actuators of each kind the model has."""
    found = dict[str, int]()
    for row in range(model.nu):
        if model.actuator_dyntype[row] == mujoco.mjtDyn.mjDYN_MUSCLE:
            kind = "muscle"
        elif model.actuator_biasprm[row, 1] < 0:
            kind = "position"
        elif model.actuator_biasprm[row, 2] < 0:
            kind = "velocity"
        elif model.actuator_trntype[row] == mujoco.mjtTrn.mjTRN_BODY:
            kind = "adhesion"
        else:
            kind = "torque"
        found[kind] = found.get(kind, 0) + 1
    return found
