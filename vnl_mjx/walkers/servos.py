"""Replaces a body's actuators by position servos whose gains follow from its masses and its gravity.

Many models come without actuators, or with motors whose torque a policy would have to find by itself. A servo
pulls its joint towards an angle, so that a policy, and the guide of a training, can ask for poses.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import mujoco
import numpy as np

from vnl_mjx.config.walker import WalkerConfig
from vnl_mjx.errors import UserError

DAMPING_RATIO, DAMPING_RATIO_OF_LIGHT_LEGS = 0.5, 1.0
_UNLIMITED_RAD = math.pi  # range of the control of a hinge without limits
_LIGHT = 0.2  # stiffness that moves a light leg, over the stiffness that bears the weight
_LEGS_AT_WORK = 2.0  # that share the body's weight


def use_servos(spec: mujoco.MjSpec, model: mujoco.MjModel, config: WalkerConfig) -> None:
    """Replaces all actuators by position servos with controls from -1 to 1.

    A servo moves each tracked joint that an actuator moved; without any actuator, each tracked joint.

    The stiffness is the inertia that the joint moves, times the squared natural frequency, and what bears
    the weight beyond the joint per radian; on a limb with a foot also a share of the body's weight at the
    foot's distance, per `servo_sag`. The damping is that of a damping ratio at this stiffness and frequency,
    in the joint, where every integrator of MuJoCo treats it implicitly. A servo is as strong as the actuators
    that it replaces or as the joint's `actuatorfrcrange`; without either it has no limit.

    Args:
        spec: the body, edited in place.
        model: `spec`, compiled.
        config: of the body: natural frequency, ranges, tracked joints, feet.

    Raises:
        UserError: a slide joint that gets a servo has no range.
    """
    driven = _driven(model) & set(config.joint_names) or set(config.joint_names)
    strength = _strength(model)
    omega = 2.0 * math.pi * (config.servo_hz or 0.0)
    needed = _stiffness(model, omega, config.foot_names)
    stiffness = dict(zip(_names(model), needed.at_sag(config.servo_sag), strict=True))
    owned = {sensor for sensor in spec.sensors if sensor.objtype == mujoco.mjtObj.mjOBJ_ACTUATOR}
    for unused in [*owned, *spec.actuators, *spec.keys]:
        spec.delete(unused)
    for joint in spec.joints:
        if joint.name not in driven:
            continue
        row = model.joint(joint.name).id
        low, high = config.servo_ranges.get(joint.name) or _range(model, row)
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
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
        if config.servo_sag < 1.0:
            joint.armature = max(gain / omega**2 - needed.inertia[row], float(joint.armature))
        ratio = DAMPING_RATIO if config.servo_sag == 1.0 else DAMPING_RATIO_OF_LIGHT_LEGS
        damping = max(2.0 * ratio * gain / omega, float(np.ravel(joint.damping)[0]))
        joint.damping[0] = damping


def _driven(model: mujoco.MjModel) -> set[str]:
    """Returns the names of the joints that an actuator moves, directly or by a tendon or a muscle."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    moment = np.zeros((model.nu, model.nv))
    for row in range(model.nu):  # sparse rows
        start, num = data.moment_rowadr[row], data.moment_rownnz[row]
        columns = data.moment_colind[start : start + num]
        moment[row, columns] = data.actuator_moment.ravel()[start : start + num]
    moved = np.flatnonzero(np.any(moment != 0, axis=0))
    return {model.joint(int(model.dof_jntid[dof])).name for dof in moved}


def _names(model: mujoco.MjModel) -> list[str]:
    return [model.joint(row).name for row in range(model.njnt)]


class _Needs(NamedTuple):
    """Holds what the servos of a model's joints [joint] have to do, at qpos0; 0 of a free joint."""

    inertia: np.ndarray  # that the joint moves, kg m^2 or kg
    move: np.ndarray  # stiffness that moves it at the natural frequency, N m/rad or N/m
    hold: np.ndarray  # stiffness that holds what is beyond the joint against gravity, per radian
    bear: np.ndarray  # stiffness that bears a foot's share of the body's weight, per radian

    def at_sag(self, angle: float) -> np.ndarray:
        """Returns the stiffness [joint] of servos that the body's weight bends by an angle, rad."""
        return self.move + self.hold + self.bear / angle


def legs_are_light(model: mujoco.MjModel, servo_hz: float, feet: Collection[str]) -> bool:
    """Returns whether servos that suit the legs' inertia are far too soft for the body's weight."""
    needs = _stiffness(model, 2.0 * math.pi * servo_hz, feet)
    legs = needs.bear > 0
    return bool(legs.any() and np.median(needs.move[legs] / needs.bear[legs]) < _LIGHT)


def _stiffness(model: mujoco.MjModel, omega: float, feet: Collection[str]) -> _Needs:
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    matrix = np.zeros((model.nv, model.nv))
    for row, unit in enumerate(np.eye(model.nv)):
        mujoco.mj_mulM(model, data, matrix[row], unit)
    gravity = float(np.linalg.norm(model.opt.gravity))
    soles = [model.body(name).id for name in feet]
    weight = gravity * float(model.body_mass.sum()) * _LEGS_AT_WORK / max(len(soles), 1)
    needs = _Needs(*np.zeros((4, model.njnt)))
    for joint in range(model.njnt):
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            continue
        body, anchor = model.jnt_bodyid[joint], data.xanchor[joint]
        needs.inertia[joint] = matrix[2 * (model.jnt_dofadr[joint],)]
        needs.move[joint] = needs.inertia[joint] * omega**2
        if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_HINGE:
            continue
        lever = float(np.linalg.norm(data.subtree_com[body] - anchor))
        needs.hold[joint] = gravity * model.body_subtreemass[body] * lever
        above = _ancestors(model, body)
        # a leg's joint bears by the whole foot, one within a foot by what is beyond it
        ends = [sole for sole in soles if body in _ancestors(model, sole)]
        ends += [body for sole in soles if sole in above and sole != body]
        reach = max((_reach(model, data, end, anchor) for end in ends), default=0.0)
        needs.bear[joint] = min(weight, gravity * float(model.body_mass.sum())) * reach
    return needs


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
        if model.actuator_trntype[row] != mujoco.mjtTrn.mjTRN_JOINT:
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
    """Returns the ends of a joint's range, rad or m."""
    if model.jnt_limited[joint]:
        low, high = model.jnt_range[joint]
        return float(low), float(high)
    if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
        raise UserError(
            f"walker.servo_hz: expected a range of the slide joint {model.joint(joint).name!r}, found none; "
            "give it one in the MJCF"
        )
    middle = float(model.qpos0[model.jnt_qposadr[joint]])
    return middle - _UNLIMITED_RAD, middle + _UNLIMITED_RAD
