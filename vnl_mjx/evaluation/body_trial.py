"""Tries a body in physics before anyone trains on it: which time step is stable, and how poses are held.

Everything runs in MuJoCo C on one simulation, as the CPU back end does.
"""

import math
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import configure_model
from vnl_mjx.physics.mujoco_batch import without_warnings
from vnl_mjx.tasks.pose_control import actuator_transmission
from vnl_mjx.walkers.walker import Walker

LONGEST_S = 0.005  # of a physics step
# Numbers of physics steps in a control step, from the longest step to the shortest.
SUBSTEPS = (1, 2, 4, 5, 8, 10, 20, 40, 80, 100, 200, 400)
_SHAKEN = 0.5  # amplitude of random controls in the stress test, of -1 to 1
_DROP_SHARE = 0.1  # height of the fall, of the body's length
_TOO_FAST = 60.0  # body lengths per pendulum time: nothing that is stable moves at this speed
_PARTS, _PART_S = 8, 0.5


@dataclass(frozen=True)
class Trial:
    """Holds what the trial of a body found.

    Attributes:
        control_s: seconds of a control step.
        substeps: physics steps per control step that stay stable; None: none of `SUBSTEPS`.
        has_servos: whether all actuators hold positions. Otherwise only the time step is looked for.
        held_rad: mean distance of a joint from the held pose after a second, rad or m; None without servos.
            The pose is the resting one, or one of the motion.
        limits_rad: greatest excess of the motion over a joint's range, rad or m; None without a motion.
        limits_joint: the joint of that excess.
        below_floor: greatest depth of a body's origin below the floor in the motion; None likewise.
        followed_rad: mean distance of a joint from the motion under pose control, rad or m; None likewise.
        part_s: seconds that pose control follows the motion at a time, half a second if it is long enough.
        drift: greatest distance of the root from the motion after `part_s` of pose control, in body
            lengths; None likewise.
        saturated: share of control steps in which a servo is at its limit, of the servo that is so most
            often; None without a motion or without limits.
        saturated_servo: that servo.
    """

    control_s: float
    substeps: int | None
    has_servos: bool = True
    held_rad: float | None = None
    limits_rad: float | None = None
    limits_joint: str = ""
    below_floor: float | None = None
    followed_rad: float | None = None
    part_s: float = _PART_S
    drift: float | None = None
    saturated: float | None = None
    saturated_servo: str = ""


@without_warnings()
def try_body(
    walker: Walker,
    config: ImitationConfig,
    length: float,
    motion: np.ndarray | None,
    rate_hz: float,
) -> Trial:
    """Looks for the longest stable time step, holds a pose, and follows a motion.

    Args:
        walker: the body.
        config: rate of control, solver and its iterations; its time step is not used.
        length: of the body.
        motion: poses [frame, nq]; None: no motion.
        rate_hz: frames per second of the motion.
    """
    hold, control_s = _Hold(walker.model), 1.0 / config.mocap_hz
    rest = walker.model.qpos0 if motion is None else motion[len(motion) // 2]
    # MuJoCo softens contacts whose time constant is below two steps.
    longest = min(LONGEST_S, 0.5 * (walker.config.contact_time_s or math.inf))
    tried = [n for n in SUBSTEPS if control_s / n < 1.001 * longest]

    def stepped(substeps: int) -> mujoco.MjModel:
        step = replace(config.physics, timestep=control_s / substeps, num_substeps=substeps)
        return configure_model(walker.model, step)

    substeps = next(
        (n for n in tried if _is_stable(walker, stepped(n), n, length, hold, rest)), None
    )
    if substeps is None:
        return Trial(control_s, None)
    model = stepped(substeps)
    found = Trial(control_s, substeps, hold.has_servos)
    if hold.has_servos:
        found = replace(found, held_rad=_held(walker, model, hold, rest))
    if motion is None:
        return found
    excess, joint = _beyond_limits(walker, motion)
    below = _below_floor(walker, motion)
    found = replace(found, limits_rad=excess, limits_joint=joint, below_floor=below)
    if not hold.has_servos:
        return found
    if len(motion) < 2:
        raise UserError(f"motion: expected two frames or more, found {len(motion)}")
    part_s = min(_PART_S, (len(motion) - 1) / rate_hz)
    followed, drift, saturated, servo = _followed(
        walker, model, substeps, hold, motion, rate_hz, length, part_s
    )
    return replace(
        found,
        followed_rad=followed,
        part_s=part_s,
        drift=drift,
        saturated=saturated,
        saturated_servo=servo,
    )


class _Hold:
    """Computes the control that holds a pose; zeros where an actuator is no position servo.

    Attributes:
        has_servos: whether all actuators are.
    """

    def __init__(self, model: mujoco.MjModel):
        stiffness = -model.actuator_biasprm[:, 1]
        gain = np.where(model.actuator_gainprm[:, 0] == 0, 1.0, model.actuator_gainprm[:, 0])
        is_servo = stiffness > 0
        self.has_servos = bool(is_servo.all())
        self._offset = np.where(is_servo, -model.actuator_biasprm[:, 0] / gain, 0.0)
        slope = np.where(is_servo, stiffness / gain, 0.0)
        self._slope = slope[:, None] * actuator_transmission(model)

    def __call__(self, joints: np.ndarray) -> np.ndarray:
        return np.clip(self._offset + self._slope @ joints, -1.0, 1.0)


def _standing(walker: Walker, pose: np.ndarray, raised: float) -> np.ndarray:
    """Returns a pose [nq] with a free root's lowest collision point over the floor."""
    model, qpos = walker.model, pose.copy()
    if walker.root is not None:
        data = mujoco.MjData(model)
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        planes = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
        solid = ~planes & ((model.geom_contype | model.geom_conaffinity) != 0)
        if solid.any():
            low = data.geom_xpos[solid, 2] - model.geom_rbound[solid]
            qpos[2] += walker.floor_height - float(low.min())
        qpos[2] += raised
    return qpos


def _is_stable(
    walker: Walker,
    model: mujoco.MjModel,
    substeps: int,
    length: float,
    hold: _Hold,
    pose: np.ndarray,
) -> bool:
    """Drops the body and shakes it by random controls around a pose; no state may run away."""
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    data.qpos[:] = _standing(walker, pose, _DROP_SHARE * length)
    joints = walker.layout.joint_qpos
    rest = hold(data.qpos[joints])
    gravity = float(np.linalg.norm(model.opt.gravity)) or 9.81
    pendulum = math.sqrt(length / gravity)
    fastest = _TOO_FAST * length / pendulum
    low, high = np.where(
        model.actuator_ctrllimited[:, None], model.actuator_ctrlrange, (-1.0, 1.0)
    ).T
    control_s = model.opt.timestep * substeps
    for _ in range(round(max(10.0 * pendulum, 0.5) / control_s)):
        data.ctrl[:] = np.clip(rest + rng.uniform(-_SHAKEN, _SHAKEN, model.nu), low, high)
        mujoco.mj_step(model, data, substeps)
        moved = np.linalg.norm(data.cvel[1:, 3:], axis=1)
        if not np.isfinite(data.qpos).all() or moved.max(initial=0.0) > fastest:
            return False
    return True


def _held(walker: Walker, model: mujoco.MjModel, hold: _Hold, pose: np.ndarray) -> float:
    data, joints = mujoco.MjData(model), walker.layout.joint_qpos
    data.qpos[:] = _standing(walker, pose, 0.0)
    rest = data.qpos[joints].copy()
    data.ctrl[:] = hold(rest)
    mujoco.mj_step(model, data, round(1.0 / model.opt.timestep))
    return float(np.abs(data.qpos[joints] - rest).mean())


def _beyond_limits(walker: Walker, motion: np.ndarray) -> tuple[float, str]:
    rows = range(walker.model.njnt)[walker.layout.joint_ids]
    low, high = walker.model.jnt_range[rows].T
    joints = motion[:, walker.layout.joint_qpos]
    limited = walker.model.jnt_limited[rows].astype(bool)
    excess = np.where(limited, np.maximum(low - joints, joints - high), -np.inf).max(axis=0)
    worst = int(excess.argmax())
    return max(float(excess[worst]), 0.0), walker.joint_names[worst]


def _below_floor(walker: Walker, motion: np.ndarray) -> float:
    model, data, deepest = walker.model, mujoco.MjData(walker.model), 0.0
    moving = model.body_weldid != 0
    if not np.any(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        return 0.0
    for pose in motion[:: max(len(motion) // 200, 1)]:
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        deepest = max(deepest, walker.floor_height - float(data.xpos[moving, 2].min()))
    return deepest


def _followed(
    walker: Walker,
    model: mujoco.MjModel,
    substeps: int,
    hold: _Hold,
    motion: np.ndarray,
    rate_hz: float,
    length: float,
    part_s: float,
) -> tuple[float, float, float | None, str]:
    """Follows parts of the motion by asking for its pose; see `Trial` for what is returned."""
    data, joints = mujoco.MjData(model), walker.layout.joint_qpos
    control_s = model.opt.timestep * substeps
    steps = round(part_s / control_s)
    ahead = round(part_s * rate_hz)
    last = len(motion) - 1 - ahead
    errors, drifts, at_limit, num = [], [], np.zeros(model.nu), 0
    limit = np.where(model.actuator_forcelimited, model.actuator_forcerange[:, 1], np.inf)
    for start in np.linspace(0, last, _PARTS).astype(int):
        mujoco.mj_resetData(model, data)
        data.qpos[:] = motion[start]
        velocity = np.zeros(model.nv)
        mujoco.mj_differentiatePos(model, velocity, 1.0 / rate_hz, motion[start], motion[start + 1])
        data.qvel[:] = velocity
        for step in range(steps):
            frame = start + (step + 1) * control_s * rate_hz
            target = motion[min(round(frame), len(motion) - 1)]
            data.ctrl[:] = hold(target[joints])
            mujoco.mj_step(model, data, substeps)
            errors.append(np.abs(data.qpos[joints] - target[joints]).mean())
            at_limit += np.abs(data.actuator_force) > 0.99 * limit
            num += 1
        if walker.root is not None:
            goal = motion[start + ahead]
            away = data.qpos[walker.root.position] - goal[walker.root.position]
            drifts.append(float(np.linalg.norm(away)) / length)
    worst = int(at_limit.argmax()) if model.nu else 0
    saturated = float(at_limit[worst]) / num if np.isfinite(limit).any() else None
    servo = walker.actuator_names[worst] if saturated is not None else ""
    return float(np.mean(errors)), max(drifts, default=0.0), saturated, servo


def hindrances(trial: Trial) -> list[str]:
    """Says in words what would keep the body from tracking."""
    if trial.substeps is None:
        shortest = trial.control_s / SUBSTEPS[-1]
        return [
            f"no time step down to {shortest:g} s is stable; look at masses, gains and contacts"
        ]
    found = []
    if (trial.held_rad or 0.0) > 0.2:
        found.append(
            f"the servos hold a pose to {trial.held_rad:.2g} rad only; raise servo_hz, or the "
            "actuators are too weak"
        )
    if (trial.limits_rad or 0.0) > 0.1:
        found.append(
            f"the motion leaves the range of {trial.limits_joint} by {trial.limits_rad:.2g} rad; widen "
            "the range, or check units and order of the joints"
        )
    if (trial.saturated or 0.0) > 0.2:
        found.append(
            f"{trial.saturated_servo} is at its limit in {trial.saturated:.0%} of the motion's steps; it "
            "is too weak for this motion"
        )
    if (trial.followed_rad or 0.0) > 0.2:
        found.append(
            f"pose control leaves the motion by {trial.followed_rad:.2g} rad on average; raise servo_hz"
        )
    return found
