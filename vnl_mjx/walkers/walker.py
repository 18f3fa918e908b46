"""Builds a walker: a compiled MuJoCo model and the rows of joints and bodies that tasks read."""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from vnl_mjx.config.walker import RODENT_SOURCE, WalkerConfig, resolved, rodent_body
from vnl_mjx.errors import UserError, nearest
from vnl_mjx.walkers import rodent, servos, spec_edits
from vnl_mjx.walkers.layout import FreeRoot, Layout

_FINGERPRINT_DIGITS = 9  # significant; more would distinguish builds of MuJoCo, not walkers
_SCALAR_JOINTS = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)


@dataclass(frozen=True, eq=False)
class Walker:
    """Holds a compiled walker.

    Attributes:
        config: its configuration.
        model: compiled; the solver options are those of the source.
        layout: columns of qpos and qvel; `root`, `nq` and `nv` are its own.
        joint_names: every joint but the free root joint, in the order of `layout.joint_qpos`.
        body_names: every body in model order; the first is "world".
        actuator_names: every actuator in the order of ctrl.
        tracked_joints: int32 [tracked joint], rows into the joints of `config.joint_names`.
        tracked_bodies: int32 [tracked body], body ids of `config.body_names`.
        end_effectors: int32 [end effector], body ids of `config.end_effector_names`.
        appendages: int32 [appendage], body ids, see `WalkerConfig.appendage_names`.
        feet: int32 [foot], body ids, see `WalkerConfig.foot_names`.
        root_body: body id of `config.root_body`.
        floor_height: z of the floor in the world, metres: the configuration's, else that of the
            model's first floor plane, else 0.
    """

    config: WalkerConfig
    model: mujoco.MjModel
    layout: Layout
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    actuator_names: tuple[str, ...]
    tracked_joints: np.ndarray
    tracked_bodies: np.ndarray
    end_effectors: np.ndarray
    appendages: np.ndarray
    feet: np.ndarray
    root_body: int
    floor_height: float

    @property
    def root(self) -> FreeRoot | None:
        """Columns of the free root joint in qpos and qvel; None if the walker has none."""
        return self.layout.root

    @cached_property
    def mass_share(self) -> np.ndarray:
        """Mass of each body that moves over that of all, float32 [nbody]."""
        mass = np.where(self.model.body_weldid == 0, 0.0, self.model.body_mass)
        return (mass / mass.sum()).astype(np.float32)

    @cached_property
    def mass_centers(self) -> np.ndarray:
        """Centre of mass of each body in its own frame, metres, float32 [nbody, 3]."""
        return self.model.body_ipos.astype(np.float32)

    @property
    def actuator_groups(self) -> dict[str, list[int]]:
        """Rows of the actuators by part of the body; what no group covers is "other"."""
        return actuator_groups(self.actuator_names, self.config.actuator_groups)

    @property
    def nq(self) -> int:
        """Columns of qpos."""
        return self.layout.nq

    @property
    def nv(self) -> int:
        """Columns of qvel."""
        return self.layout.nv

    def fingerprint(self) -> dict[str, Any]:
        """Returns what makes this walker the same body for a policy, ready for JSON.

        "sha256" is over all the other entries. Where the MJCF came from is not part of it.
        """
        model = self.model
        print_: dict[str, Any] = {
            "sizes": {
                name: int(getattr(model, name)) for name in ("nq", "nv", "nu", "na", "nbody")
            },
            "scale": _rounded(self.config.rescale_factor),
            "torque_actuators": self.config.torque_actuators,
            "root_body": self.config.root_body,
            "joint_names": list(self.joint_names),
            "body_names": list(self.body_names),
            "actuator_names": list(self.actuator_names),
            "tracked_joints": list(self.config.joint_names),
            "tracked_bodies": list(self.config.body_names),
            "end_effectors": list(self.config.end_effector_names),
            "body_mass_kg": _rounded(model.body_mass),
            "joint_range": _rounded(model.jnt_range[self.layout.joint_ids]),
            "actuator_gain": _rounded(model.actuator_gainprm[:, 0]),
            "actuator_bias": _rounded(model.actuator_biasprm[:, :3]),
            "actuator_gear": _rounded(model.actuator_gear[:, 0]),
        }
        if self.config.rescaling != "track_mjx":  # else as files of before have it
            print_["rescaling"] = self.config.rescaling
        text = json.dumps(print_, sort_keys=True)
        return {**print_, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def actuator_groups(
    names: Sequence[str], groups: Sequence[Sequence[str]] = ()
) -> dict[str, list[int]]:
    """Returns indices of `names` by part of the body; what no group covers is "other".

    Each group is a name and words; the first with a word of an actuator's name has it. Without
    groups, the rodent's serve if two or more of them cover all names; otherwise all are "actuators".
    """
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        matches = (
            group
            for group, *words in groups or rodent_body().actuator_groups
            if any(word in name for word in words)
        )
        found.setdefault(next(matches, "other"), []).append(index)
    if not groups and ("other" in found or len(found) < 2):
        return {"actuators": list(range(len(names)))}
    return found


def walker_spec(config: WalkerConfig) -> mujoco.MjSpec:
    """Returns what `build_walker` compiles for a resolved configuration.

    Raises:
        UserError: if the MJCF is missing or broken, or cannot be edited as the configuration asks.
    """
    source = config.source
    if source != RODENT_SOURCE and not Path(source).is_file():
        raise UserError(
            f"walker.source: expected {RODENT_SOURCE!r} or the path of an MJCF or body file, found "
            f"no file {source!r}; check the path"
        )
    spec = body_spec(config)
    if config.add_floor:
        spec_edits.add_floor(spec, config.floor_height or 0.0, config.foot_names)
    if config.contact_time_s is not None:
        spec_edits.set_contact_time(spec, config.contact_time_s)
    if not (math.isfinite(config.rescale_factor) and config.rescale_factor > 0):
        raise UserError(
            f"walker.rescale_factor: expected a number above 0, found {config.rescale_factor}"
        )
    if config.torque_actuators:
        spec_edits.use_torque_actuators(spec)
    _rescale(spec, config)
    if config.servo_hz is not None:
        model = compiled(spec, source)
        servos.use_servos(spec, model, config)
    if config.normalize_controls:
        spec_edits.normalize_controls(spec)
    return spec


def body_spec(config: WalkerConfig) -> mujoco.MjSpec:
    """Returns the bodies and joints of a resolved configuration, as its file has them otherwise.

    Raises:
        UserError: as `walker_spec`.
    """
    source = config.source
    with _mujoco_errors(f"expected MJCF in {source!r}, MuJoCo cannot parse"):
        is_rodent = source == RODENT_SOURCE
        spec = (
            rodent.rodent_spec(config.touch_sensors)
            if is_rodent
            else mujoco.MjSpec.from_file(source)
        )
    if config.angles == "radians":
        spec.compiler.degree = False
    spec_edits.free_body(spec)  # fails early if there are several
    if config.root_joint == "free":
        spec.compiler.fusestatic = (
            False  # else the root's bodies without joints become part of the world
        )
    if config.root_joint != "as_in_file":
        spec_edits.set_root_joint(spec, config.root_body, config.root_joint)
    return spec


def compiled(spec: mujoco.MjSpec, source: str) -> mujoco.MjModel:
    """Compiles a specification; raises UserError, which names `source`, if MuJoCo refuses it."""
    with _mujoco_errors(f"MuJoCo cannot compile the model of {source!r}"):
        return spec.compile()


def build_walker(config: WalkerConfig) -> Walker:
    """Builds the walker that a configuration, or the body's file that it names, describes.

    Raises:
        UserError: if the MJCF is missing or broken, has joints other than one free root joint,
            hinges and slides, or lacks a joint or body that the configuration names.
    """
    config = resolved(config)
    model = compiled(walker_spec(config), config.source)

    layout = _layout(model, config.source)
    all_joints = tuple(model.joint(i).name for i in range(model.njnt))
    joint_names = all_joints[layout.joint_ids]
    body_names = tuple(model.body(i).name for i in range(model.nbody))

    def bodies(key: str, names: Sequence[str]) -> np.ndarray:
        return _rows(key, names, body_names, config.source)

    def or_rodents(names: tuple[str, ...], rodents: tuple[str, ...]) -> tuple[str, ...]:
        known = rodents if set(rodents) <= set(body_names) else config.end_effector_names
        return names or known

    appendages = or_rodents(config.appendage_names, rodent_body().appendage_names)
    feet = or_rodents(config.foot_names, rodent_body().foot_names)
    return Walker(
        config=config,
        model=model,
        layout=layout,
        joint_names=joint_names,
        body_names=body_names,
        actuator_names=tuple(model.actuator(i).name for i in range(model.nu)),
        tracked_joints=_rows("joint_names", config.joint_names, joint_names, config.source),
        tracked_bodies=bodies("body_names", config.body_names),
        end_effectors=bodies("end_effector_names", config.end_effector_names),
        appendages=bodies("appendage_names", appendages),
        feet=bodies("foot_names", feet),
        root_body=int(bodies("root_body", [config.root_body])[0]),
        floor_height=_floor_height(model) if config.floor_height is None else config.floor_height,
    )


def _rescale(spec: mujoco.MjSpec, config: WalkerConfig) -> None:
    if config.rescaling == "track_mjx":
        spec_edits.scale_walker(spec, config.rescale_factor)
        return
    if config.source != RODENT_SOURCE:
        raise UserError(
            f"walker.rescaling: 'dm_control' is known for the rodent only, found source "
            f"{config.source!r}; use 'track_mjx'"
        )
    spec_edits.scale_walker(
        spec, config.rescale_factor, joints=rodent.placed_joints(), scale_actuators=False
    )


@contextlib.contextmanager
def _mujoco_errors(problem: str) -> Iterator[None]:
    """Raises UserError for what MuJoCo refuses."""
    try:
        yield
    except (ValueError, mujoco.FatalError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"walker.source: {problem}: {reason}") from error


def _layout(model: mujoco.MjModel, source: str) -> Layout:
    """Returns the columns of qpos; refuses joints other than a first free one, hinges and slides."""
    kinds = [mujoco.mjtJoint(kind) for kind in model.jnt_type]
    if not kinds:
        raise UserError(f"walker.source: expected joints in {source!r}, found none; add joints")
    if mujoco.mjtJoint.mjJNT_FREE in kinds[1:]:
        raise UserError(
            f"walker.source: expected the free joint to be the first joint of {source!r}, found "
            f"{model.joint(0).name!r}; move the walker before other bodies with joints"
        )
    free_root = kinds[0] == mujoco.mjtJoint.mjJNT_FREE
    for joint, kind in enumerate(kinds):
        if kind not in _SCALAR_JOINTS and not (free_root and joint == 0):
            raise UserError(
                f"walker.source: expected hinge and slide joints in {source!r}, found "
                f"{model.joint(joint).name!r} of type {kind.name}; replace it by hinges"
            )
    return Layout(num_joints=len(kinds) - free_root, free_root=free_root)


def _floor_height(model: mujoco.MjModel) -> float:
    """Returns the height of the first plane that is fixed to the world and lies flat, at qpos0."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for geom in range(model.ngeom):
        is_plane = model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE
        if is_plane and model.body_weldid[model.geom_bodyid[geom]] == 0:
            return float(data.geom_xpos[geom, 2])
    return 0.0


def _rows(key: str, names: Sequence[str], known: Sequence[str], source: str) -> np.ndarray:
    """Returns int32 [name], the place of each of `names` among `known`."""
    row_of = {name: row for row, name in enumerate(known)}
    for name in names:
        if name not in row_of:
            near = nearest(name, filter(None, known), 0.0)
            hint = f"; the nearest name is {near!r}" if near else ""
            if tuple(names) == _rodents_names(key):
                hint = f"; the names are the rodent's: make this body's own file (vnl-mjx body {source})"
            raise UserError(f"walker.{key}: found {name!r}, which is not in model {source!r}{hint}")
    return np.array([row_of[name] for name in names], dtype=np.int32)


def _rodents_names(key: str) -> tuple[str, ...]:
    value = getattr(rodent_body(), key)
    return (value,) if isinstance(value, str) else value


def _rounded(values: Any) -> Any:
    """Returns floats of `values`, as nested lists, to the digits of a fingerprint."""
    if np.ndim(values) == 0:
        return float(f"{float(values):.{_FINGERPRINT_DIGITS}g}") + 0.0  # -0.0 becomes 0.0
    return [_rounded(value) for value in values]
