"""Proposes a body's YAML file from its MJCF: what the names and the geometry of the model tell."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.config.imitation import PROPRIOCEPTION_2025_09
from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.body_tree import FREE, BodyTree, at_rest, find_feet
from vnl_mjx.walkers.scaling import (
    CONTACT_S,
    GRAVITY,
    contact_time,
    control_rate,
    scaled_task,
    servo_frequency,
)
from vnl_mjx.walkers.servos import legs_are_light
from vnl_mjx.walkers.walker import body_spec, compiled

# Shares of the body's length: of the height above its lowest point below which an end is a foot, and of the
# extent of a part that counts as one end (a hand, not its fingers).
FOOT_SHARE, END_SHARE = 0.12, 0.12
# Of servos' ranges beyond a motion's: a share of it, and at least this or so many times `servo_sag`.
_MARGIN_SHARE, _MARGIN_RAD, _MARGIN_SAGS = 0.25, 0.3, 1.5
# Light legs have the armature of their servos. Found with flygym's fly, whose pose control walks on for 0.2 s
# with the frequency of other bodies and for 0.45 s with half of it (docs/bodies.md).
_SAG_OF_LIGHT_LEGS, _SLOWER_LIGHT_LEGS = 0.1, 0.5  # rad; of the frequency
_TINY_RAD = np.deg2rad(4.0)  # a range of 4 rad that is read as degrees


@dataclass(frozen=True)
class Proposal:
    """Holds a proposed body.

    Attributes:
        keys: of the YAML file, without its `source`.
        length: the greatest distance between two bodies at qpos0, in the model's unit.
        found: what the model has, in words, by topic.
        checks: what a person should look at.
    """

    keys: dict[str, Any]
    length: float
    found: Mapping[str, str]
    checks: Sequence[str]


@dataclass(frozen=True)
class _Anatomy:
    """Holds what was found in a model; bodies and joints by their ids."""

    model: mujoco.MjModel
    tree: BodyTree
    was_free: bool  # before the root's joint was changed
    in_radians: bool  # angles are read as radians, against the file
    length: float
    ends: Sequence[int]
    feet: Sequence[int]
    ground: float

    def names(self, bodies: Sequence[int]) -> list[str]:
        return [self.model.body(body).name for body in bodies]

    @property
    def is_free(self) -> bool:
        return self.tree.is_free

    @property
    def joints(self) -> list[int]:
        return [j for j in range(self.model.njnt) if self.model.jnt_type[j] != FREE]

    @property
    def unlimited(self) -> list[str]:
        return [self.model.joint(j).name for j in self.joints if not self.model.jnt_limited[j]]

    @property
    def gravity(self) -> float:
        return float(np.linalg.norm(self.model.opt.gravity)) or GRAVITY

    @property
    def mass(self) -> float:
        return float(self.model.body_mass[self.tree.moving].sum())

    @property
    def has_plane(self) -> bool:
        return bool(np.any(self.model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE))


def propose(
    source: str,
    root_joint: str = "as_in_file",
    poses: np.ndarray | None = None,
    rate_hz: float | None = None,
    keep_actuators: bool = False,
) -> Proposal:
    """Reads an MJCF and proposes the keys of its body's file. A body with a free root stands on a floor.

    Args:
        source: path of the MJCF.
        root_joint: "free", "fixed" or "as_in_file".
        poses: a motion [frame, nq], which tells feet and floor; None: the model's resting pose does.
        rate_hz: frames per second of the motion.
        keep_actuators: keep the model's actuators, such as muscles, in place of servos.

    Raises:
        UserError: the MJCF cannot be read, has no joints, or others than hinges, slides and a free one; or
            no actuators, which should be kept.
    """
    body = _read(source, root_joint, poses)
    rate = control_rate(body.length, body.gravity, rate_hz)
    kinds = _actuator_kinds(body.model)
    if keep_actuators and not kinds:
        raise UserError(
            f"{source}: expected actuators to keep, found none; leave out --actuators own"
        )
    is_kept = keep_actuators or set(kinds) == {"position"}
    keys = _keys(body, is_kept, poses)
    keys["task"] = scaled_task(
        length=body.length,
        weight=body.mass * body.gravity,
        gravity=body.gravity,
        num_joints=len(body.joints),
        is_free=body.is_free,
        rate_hz=rate,
    )
    if is_kept and set(kinds) != {"position"}:
        keys["task"]["initial_activation"] = "zero"  # no control holds a pose
    if is_kept and np.any(body.model.actuator_actnum):
        keys["task"]["proprioception"] = [*PROPRIOCEPTION_2025_09, "activations"]
    unlimited = f", {len(body.unlimited)} without a range" if body.unlimited else ""
    found = {
        "root": f"{keys['root_body']}, {'free' if body.is_free else 'fixed'}",
        "joints": f"{len(body.joints)}{unlimited}",
        "bodies": f"{len(keys['body_names'])} tracked",
        "end effectors": ", ".join(keys["end_effector_names"]) or "none",
        "feet": ", ".join(keys["foot_names"]) or "none",
        "actuators": ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none",
        "length": f"{body.length:.3g}",
        "mass": f"{body.mass:.3g}, under a gravity of {body.gravity:.4g}",
        "control": f"{rate:g} steps per second",
        "floor": "in the file" if body.has_plane else "added" if body.is_free else "none",
    }
    asked = root_joint != "as_in_file"
    replaced = set() if is_kept else set(kinds) - {"position", "torque"}
    return Proposal(keys, body.length, found, _checks(body, replaced, asked, poses is not None))


def _read(source: str, root_joint: str, poses: np.ndarray | None) -> _Anatomy:
    nothing = {"joint_names": (), "body_names": (), "end_effector_names": ()}
    bare = WalkerConfig(source=source, **nothing)

    def read(config: WalkerConfig) -> mujoco.MjModel:
        spec = body_spec(config)
        if root_joint == "free":
            spec.compiler.fusestatic = False  # as `body_spec` of a body with this key
        return compiled(spec, source)

    model = read(bare)
    if in_radians := _has_tiny_ranges(model):
        bare = replace(bare, angles="radians")
        model = read(bare)
    _check_joints(model, source)
    tree = BodyTree(model)
    was_free = tree.is_free
    if root_joint == "free" and tree.root == 0:
        raise UserError(
            f"{source}: expected one body that holds all others for a free root, found limbs that hang on "
            "the world one by one; put them into a body, or leave the root fixed"
        )
    if root_joint != "as_in_file":
        named = replace(bare, root_body=model.body(tree.root).name, root_joint=root_joint)
        model = compiled(body_spec(named), source)
        tree = BodyTree(model, tree.root)
    data = at_rest(model)
    points = data.xpos[tree.moving]
    length = float(np.linalg.norm(points[:, None] - points, axis=-1).max())
    ends = tree.ends(data, END_SHARE * length)
    feet, ground = [], 0.0
    if tree.is_free:
        feet, ground = find_feet(tree, ends, poses, FOOT_SHARE * length)
    return _Anatomy(model, tree, was_free, in_radians, length, ends, feet, ground)


def _keys(body: _Anatomy, is_kept: bool, poses: np.ndarray | None) -> dict[str, Any]:
    model, root, ends = body.model, body.tree.root, body.ends
    tracked = [b for b in body.tree.moving if model.body_dofnum[b] or b in {root, *ends}]
    keys: dict[str, Any] = {
        "root_body": model.body(root).name,
        "joint_names": [model.joint(j).name for j in body.joints],
        "body_names": body.names(tracked),
        "end_effector_names": body.names(ends),
        "foot_names": body.names(body.feet),
    }
    if body.in_radians:
        keys["angles"] = "radians"
    if body.is_free != body.was_free:
        keys["root_joint"] = "free" if body.is_free else "fixed"
    if body.is_free and not body.has_plane:
        keys |= {"add_floor": True, "floor_height": round(body.ground, 6)}
    contact_s = contact_time(body.length, body.gravity)
    if body.is_free and contact_s < 0.5 * CONTACT_S:
        keys["contact_time_s"] = float(f"{contact_s:.2g}")
    if not is_kept:
        servo_hz = servo_frequency(body.length, body.gravity)
        if body.is_free and legs_are_light(model, servo_hz, body.names(body.feet)):
            keys["servo_sag"] = _SAG_OF_LIGHT_LEGS
            servo_hz *= _SLOWER_LIGHT_LEGS
        keys["servo_hz"] = float(f"{servo_hz:.2g}")
        if poses is not None:
            margin = min(_MARGIN_RAD, _MARGIN_SAGS * keys.get("servo_sag", 1.0))
            keys["servo_ranges"] = _servo_ranges(model, body.joints, poses, margin)
    elif not np.all(model.actuator_ctrlrange == (-1.0, 1.0)):
        keys["normalize_controls"] = True
    return keys


def _checks(
    body: _Anatomy, replaced: Collection[str], is_root_given: bool, has_motion: bool
) -> list[str]:
    """Says in words what a person should look at."""
    checks = []
    if body.in_radians:
        checks.append(
            "every joint range is below 4 degrees as the file says it; its angles are read as radians "
            "(angles in the body's file)"
        )
    if not (body.is_free or is_root_given):
        checks.append(
            "the file has no free joint, so the root is fixed to the world; give --root free if the body "
            "moves about"
        )
    if body.unlimited and not has_motion:
        some = ", ".join(body.unlimited[:6])
        checks.append(f"joints without a range: {some}; their servos reach +-180 degrees")
    if body.is_free and not body.feet:
        checks.append("no foot was found; name the bodies that touch the floor in foot_names")
    if len(body.feet) % 2:
        checks.append("an odd number of feet was found; correct foot_names")
    if replaced:
        kinds = " and ".join(sorted(replaced))
        checks.append(f"servo_hz replaces the {kinds} actuators; --actuators own keeps them")
    return checks


def _servo_ranges(
    model: mujoco.MjModel, joints: Sequence[int], poses: np.ndarray, least: float
) -> dict[str, list[float]]:
    """Returns the angles that a motion reaches, with a margin, which servos need to push, by joint.

    `least` is the least margin of a hinge, rad.
    """
    found = {}
    for joint in joints:
        angles = poses[:, model.jnt_qposadr[joint]]
        low, high = float(angles.min()), float(angles.max())
        hinge = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE
        margin = max(_MARGIN_SHARE * (high - low), least if hinge else 1e-6)
        found[model.joint(joint).name] = [round(low - margin, 4), round(high + margin, 4)]
    return found


def _has_tiny_ranges(model: mujoco.MjModel) -> bool:
    """Returns whether hinges have ranges that only make sense if the file's degrees are radians."""
    hinges = (model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE) & model.jnt_limited.astype(bool)
    return bool(hinges.any() and np.ptp(model.jnt_range[hinges], axis=1).max() < _TINY_RAD)


def _check_joints(model: mujoco.MjModel, source: str) -> None:
    if not model.njnt:
        raise UserError(f"{source}: expected joints, found none; add joints")
    unnamed = [
        j for j in range(model.njnt) if model.jnt_type[j] != FREE and not model.joint(j).name
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
