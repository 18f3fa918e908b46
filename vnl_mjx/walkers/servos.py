"""Replaces a body's actuators by position servos whose gains follow from its masses and its gravity.

Many models come without actuators, or with motors whose torque a policy would have to find by itself. A servo
pulls its joint towards an angle, so that a policy, and the guide of a training, can ask for poses.
"""

import math
from collections.abc import Collection

import mujoco
import numpy as np

from vnl_mjx.errors import UserError

DAMPING_RATIO = 0.5
_UNLIMITED_RAD = math.pi  # range of the control of a hinge without limits
_LEGS_AT_WORK = 2.0  # that share the body's weight


def use_servos(
    spec: mujoco.MjSpec, hz: float, joints: Collection[str], feet: Collection[str]
) -> None:
    """Replaces all actuators by position servos on `joints`, with controls from -1 to 1 over their ranges.

    The stiffness is the inertia that the joint moves, times the squared natural frequency, and what bears
    the weight beyond the joint per radian; on a limb with a foot also a share of the body's weight at the
    foot's distance. The damping is that of `DAMPING_RATIO` at this stiffness and frequency, in the joint,
    where every integrator of MuJoCo treats it implicitly. A servo is as strong as the actuators that it
    replaces or as the joint's `actuatorfrcrange`; without either it has no limit.

    Args:
        spec: the body, edited in place.
        hz: natural frequency, Hz.
        joints: names of the joints that get a servo.
        feet: names of the bodies that stand on the floor.

    Raises:
        UserError: a slide joint among `joints` has no range.
    """
    model = spec.compile()
    strength = _strength(model)
    omega = 2.0 * math.pi * hz
    stiffness = dict(zip(_names(model), _stiffness(model, omega, feet), strict=True))
    owned = {sensor for sensor in spec.sensors if sensor.objtype == mujoco.mjtObj.mjOBJ_ACTUATOR}
    for unused in [*owned, *spec.actuators, *spec.keys]:
        spec.delete(unused)
    for joint in spec.joints:
        if joint.name not in joints:
            continue
        row = model.joint(joint.name).id
        middle, half = _range(model, row)
        gain = stiffness[joint.name]
        servo = spec.add_actuator(
            name=joint.name,
            target=joint.name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_FIXED,
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
            ctrllimited=True,
            ctrlrange=(-1.0, 1.0),
        )
        servo.gainprm[0] = gain * half
        servo.biasprm[:3] = (gain * middle, -gain, 0.0)
        if limit := strength.get(row):
            servo.forcelimited, servo.forcerange = True, (-limit, limit)
        damping = max(2.0 * DAMPING_RATIO * gain / omega, float(np.ravel(joint.damping)[0]))
        joint.damping[0] = damping


def _names(model: mujoco.MjModel) -> list[str]:
    return [model.joint(row).name for row in range(model.njnt)]


def _stiffness(model: mujoco.MjModel, omega: float, feet: Collection[str]) -> np.ndarray:
    """Returns the stiffness [joint] of `use_servos`, N m/rad or N/m, at qpos0; 0 of a free joint."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    inertia = np.zeros((model.nv, model.nv))
    for row, unit in enumerate(np.eye(model.nv)):
        mujoco.mj_mulM(model, data, inertia[row], unit)
    gravity = float(np.linalg.norm(model.opt.gravity))
    soles = [model.body(name).id for name in feet]
    weight = gravity * float(model.body_mass.sum()) * _LEGS_AT_WORK / max(len(soles), 1)
    stiffness = np.zeros(model.njnt)
    for joint in range(model.njnt):
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            continue
        body, anchor = model.jnt_bodyid[joint], data.xanchor[joint]
        stiffness[joint] = inertia[2 * (model.jnt_dofadr[joint],)] * omega**2
        if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_HINGE:
            continue
        lever = float(np.linalg.norm(data.subtree_com[body] - anchor))
        stiffness[joint] += gravity * model.body_subtreemass[body] * lever
        borne = [sole for sole in soles if body in _ancestors(model, sole)]
        reach = max((_reach(model, data, sole, anchor) for sole in borne), default=0.0)
        stiffness[joint] += min(weight, gravity * float(model.body_mass.sum())) * reach
    return stiffness


def _ancestors(model: mujoco.MjModel, body: int) -> set[int]:
    """Returns a body and all that it hangs on."""
    found = set[int]()
    while body:
        found.add(int(body))
        body = model.body_parentid[body]
    return found


def _reach(model: mujoco.MjModel, data: mujoco.MjData, body: int, anchor: np.ndarray) -> float:
    """Returns the distance from a point [3] to the farthest geom that a body, or one beyond it, has."""
    own = [g for g in range(model.ngeom) if body in _ancestors(model, model.geom_bodyid[g])]
    points = data.geom_xpos[own] if own else data.xpos[[body]]
    return float(np.linalg.norm(points - anchor, axis=1).max())


def _strength(model: mujoco.MjModel) -> dict[int, float]:
    """Returns the largest force of the actuators on each joint that have a limit, N m or N, by its row."""
    found = dict[int, float]()
    for joint in np.flatnonzero(model.jnt_actfrclimited):
        found[int(joint)] = float(model.jnt_actfrcrange[joint].max())
    for row in range(model.nu):
        if model.actuator_trntype[row] not in (mujoco.mjtTrn.mjTRN_JOINT,):
            continue
        gear, limit = abs(float(model.actuator_gear[row, 0])), 0.0
        if model.actuator_forcelimited[row]:
            limit = gear * float(np.abs(model.actuator_forcerange[row]).max())
        elif model.actuator_biastype[row] == mujoco.mjtBias.mjBIAS_NONE:
            most = float(np.abs(model.actuator_ctrlrange[row]).max())
            limit = gear * abs(float(model.actuator_gainprm[row, 0])) * most
        if limit:
            found.setdefault(int(model.actuator_trnid[row, 0]), limit)
    return found


def _range(model: mujoco.MjModel, joint: int) -> tuple[float, float]:
    """Returns the middle and the half width of a joint's range, rad or m."""
    if model.jnt_limited[joint]:
        low, high = model.jnt_range[joint]
        return 0.5 * float(low + high), 0.5 * float(high - low)
    if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
        raise UserError(
            f"walker.servo_hz: expected a range of the slide joint {model.joint(joint).name!r}, found none; "
            "give it one in the MJCF"
        )
    return float(model.qpos0[model.jnt_qposadr[joint]]), _UNLIMITED_RAD
