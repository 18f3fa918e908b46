"""Edits a walker's MjSpec by its configuration, before it is compiled."""

from collections.abc import Collection

import mujoco
import numpy as np

from vnl_mjx.errors import UserError

_EVERY_GEOM = 2**31 - 1  # bits of all contact types
_HARD = 0.99  # impedance of contacts, of 0 to 1


def free_body(spec: mujoco.MjSpec) -> mujoco.MjsBody | None:
    """Returns the one body that a free joint moves in the world, or None; UserError for several."""
    bodies = [j.parent for j in spec.joints if j.type == mujoco.mjtJoint.mjJNT_FREE]
    if len(bodies) > 1:
        named = ", ".join(body.name or "(unnamed)" for body in bodies)
        raise UserError(
            f"walker.source: expected at most one body with a free joint in model "
            f"{spec.modelname!r}, found {named}; leave <freejoint/> on the walker's root only"
        )
    return bodies[0] if bodies else None


def set_root_joint(spec: mujoco.MjSpec, root_body: str, kind: str) -> None:
    """Gives the topmost body that holds `root_body` a free joint ("free"), or takes it away ("fixed").

    Keyframes go, because their qpos has other columns.

    Raises:
        UserError: the model has no such body.
    """
    found = free_body(spec)
    if (found is not None) == (kind == "free"):
        return
    for key in list(spec.keys):
        spec.delete(key)
    if found is not None:
        spec.delete(next(j for j in found.joints if j.type == mujoco.mjtJoint.mjJNT_FREE))
        return
    body = spec.body(root_body)
    if body is None:
        raise UserError(f"walker.root_body: found {root_body!r}, which is not in the model")
    while body.parent is not spec.worldbody and body.parent.name != "world":
        body = body.parent
    body.add_freejoint(name="root" if all(j.name != "root" for j in spec.joints) else "free_root")


def add_floor(spec: mujoco.MjSpec, height: float, feet: Collection[str]) -> None:
    """Adds a plane at a height, m, which touches every geom that can collide.

    It also touches a foot whose geoms cannot collide, by the geoms of the foot's outermost bodies.
    """
    for foot in filter(None, map(spec.body, feet)):
        bodies = [foot, *foot.find_all(mujoco.mjtObj.mjOBJ_BODY)]
        if not any(geom.contype or geom.conaffinity for body in bodies for geom in body.geoms):
            for geom in (g for body in bodies if not body.bodies for g in body.geoms):
                geom.conaffinity = 1
    spec.worldbody.add_geom(
        name="floor" if spec.geom("floor") is None else "added_floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        pos=(0.0, 0.0, height),
        size=(0.0, 0.0, 1.0),
        contype=1,
        conaffinity=_EVERY_GEOM,
    )


def set_contact_time(spec: mujoco.MjSpec, seconds: float) -> None:
    """Gives all contacts a time constant, s, critical damping, and an impedance that light feet need.

    A contact's force grows with the inertia of what touches (MuJoCo, "Computation: Constraint model"). At the
    default impedance a foot that weighs little beside its body sinks in.
    """
    for geom in spec.geoms:
        geom.solref = (seconds, 1.0)
        geom.solimp[:2] = _HARD


def normalize_controls(spec: mujoco.MjSpec) -> None:
    """Lets controls of linear actuators with a range run from -1 to 1 over it.

    Muscles and actuators that integrate their control keep theirs.
    """
    linear = (mujoco.mjtDyn.mjDYN_NONE, mujoco.mjtDyn.mjDYN_FILTER, mujoco.mjtDyn.mjDYN_FILTEREXACT)
    for actuator in spec.actuators:
        low, high = map(float, actuator.ctrlrange)
        if actuator.dyntype not in linear or not low < high or (low, high) == (-1.0, 1.0):
            continue
        if actuator.gaintype != mujoco.mjtGain.mjGAIN_FIXED:
            continue
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        if middle and actuator.biastype == mujoco.mjtBias.mjBIAS_NONE:
            actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        actuator.biasprm[0] += actuator.gainprm[0] * middle
        actuator.gainprm[0] *= half
        actuator.ctrlrange = (-1.0, 1.0)


def use_torque_actuators(spec: mujoco.MjSpec) -> None:
    """Makes every actuator a pure gain: force = upper force limit * activation.

    An actuator with neither bias nor force range is a pure gain already and stays as it is. Source:
    track-mjx, `environment/walker/rodent.py`, `_build_spec`.

    Raises:
        UserError: an actuator with a bias has no upper force limit to use as its gain.
    """
    for actuator in spec.actuators:
        max_force = float(actuator.forcerange[1])
        if max_force <= 0:
            if actuator.biastype == mujoco.mjtBias.mjBIAS_NONE:
                continue
            raise UserError(
                f"walker.torque_actuators: expected a positive upper force limit on actuator "
                f"{actuator.name!r}, found forcerange {actuator.forcerange.tolist()}; give it a "
                f"forcerange or set torque_actuators to false"
            )
        actuator.gainprm[0] = max_force
        actuator.biastype = mujoco.mjtBias.mjBIAS_NONE
        actuator.biasprm[:] = 0.0


def scale_walker(
    spec: mujoco.MjSpec, scale: float, joints: Collection[str] = (), scale_actuators: bool = True
) -> None:
    """Scales the body tree that the free joint moves, uniformly; without one, every body.

    Body positions and geom positions, sizes and end points grow with `scale`, actuator gears with
    its square, as a muscle's cross-section does; a keyframe's root height grows with `scale`. Joint
    positions (but of `joints`), sites, tendons, meshes and explicit inertias stay as they are. Source:
    track-mjx, `environment/walker/spec_utils.py`, `dm_scale_spec`; unlike there, the body with the
    free joint is scaled as well (the rodent's is empty and at the origin).
    """
    if scale == 1.0:
        return
    root = free_body(spec)
    moved = [root, *root.find_all(mujoco.mjtObj.mjOBJ_BODY)] if root else spec.bodies[1:]
    for body in moved:
        for placed in (body, *body.frames):
            placed.pos = placed.pos * scale
        for joint in body.joints:
            if joint.name in joints:
                joint.pos = joint.pos * scale
        for geom in body.geoms:
            geom.pos = geom.pos * scale
            geom.size = geom.size * scale
            if np.isfinite(geom.fromto).all():  # NaN marks end points that are not given
                geom.fromto = geom.fromto * scale
    for actuator in spec.actuators if scale_actuators else ():
        actuator.gear = actuator.gear * scale * scale
    for key in spec.keys:
        if root and len(key.qpos) > 2:
            qpos = np.array(key.qpos)
            qpos[2] *= scale
            key.qpos = qpos
