"""The reward as a sum of named terms, of the family that the configuration names.

Every tracking term has the form weight * exp(-k * squared error). Formulas: track-mjx
`environment/task/reward.py`, vnl-playground `tasks/rodent/imitation.py`, dm_control
`locomotion/tasks/reference_pose/rewards.py`.
"""

from dataclasses import asdict

import flax.struct
import jax
import jax.numpy as jnp

from vnl_mjx.config.rewards import (
    MimicReward,
    MimicTermination,
    RewardConfig,
    TerminationConfig,
    VnlPlaygroundReward,
)
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.tasks.terminations import termination_error
from vnl_mjx.tasks.tracking_errors import TrackingErrors

_TRACK_MJX_TERMS = ("pos", "quat", "joint", "angvel", "bodypos", "endeff")
_VNL_PLAYGROUND_TERMS = (
    "root_pos",
    "root_quat",
    "joints",
    "joints_vel",
    "bodies_pos",
    "end_eff",
)
_MIMIC_POSE_TERMS = ("center_of_mass", "joints_velocity", "appendages", "body_quaternions")


@flax.struct.dataclass
class Controls:
    """What the costs read.

    Attributes:
        action: [nu] control that was applied.
        previous: [nu] control before it (`action` where upstream's difference is always 0).
        window: [window, nu] the last controls, oldest first, zeros before the episode.
    """

    action: jax.Array
    previous: jax.Array
    window: jax.Array


def reward_terms(
    errors: TrackingErrors,
    state: PhysicsState,
    root_height: jax.Array,
    controls: Controls,
    config: RewardConfig,
    termination: TerminationConfig,
) -> dict[str, jax.Array]:
    """Weighted, signed terms, [] each; the reward is their sum.

    Args:
        errors: of this simulation after the step.
        state: the simulation after the step.
        root_height: [] height of the root body, world frame, m.
        controls: of this step and before.
        config: family, weights and scales.
        termination: whose `mimic` section the term `termination` is measured in.
    """
    if config.family == "vnl_playground":
        return _vnl_playground(errors, state, root_height, controls, config.vnl_playground)
    if config.family == "mimic":
        return _mimic(errors, config.mimic, termination.mimic)
    return _track_mjx(errors, state, controls, config)


def imitation_terms(config: RewardConfig) -> tuple[str, ...]:
    """Names of the terms that reward imitation and have a weight; costs and bonuses are not among them."""
    return tuple(name for name, weight in _imitation_weights(config).items() if weight > 0)


def imitation_reward_maximum(config: RewardConfig) -> float:
    """The greatest value that the sum of `imitation_terms` can have: all errors are zero."""
    return sum(max(weight, 0.0) for weight in _imitation_weights(config).values())


def _imitation_weights(config: RewardConfig) -> dict[str, float]:
    if config.family == "vnl_playground":
        weights = asdict(config.vnl_playground)
        return {name: weights[f"{name}_weight"] for name in _VNL_PLAYGROUND_TERMS}
    if config.family == "mimic":
        weights = asdict(config.mimic)
        share = config.mimic.pose_weight
        pose = {name: share * weights[f"{name}_weight"] for name in _MIMIC_POSE_TERMS}
        return {"termination": config.mimic.termination_weight, **pose}
    weights = asdict(config)
    return {f"{name}_reward": weights[f"{name}_weight"] for name in _TRACK_MJX_TERMS}


def _tracking(weight: float, scale: float, error: jax.Array) -> jax.Array:
    return weight * jnp.exp(-scale * jnp.sum(jnp.square(error)))


def _power(state: PhysicsState) -> jax.Array:
    """Absolute power at the joints [], W; nothing actuates the root."""
    return jnp.sum(jnp.abs(state.qvel[6:]) * jnp.abs(state.qfrc_actuator[6:]))


def _track_mjx(
    errors: TrackingErrors, state: PhysicsState, controls: Controls, config: RewardConfig
) -> dict[str, jax.Array]:
    window, action = controls.window, controls.action
    power = _power(state)
    # An empty window has no variance and no jerk (generations before these costs).
    variance = jnp.sum(jnp.var(window, axis=0)) if len(window) else jnp.float32(0)
    jerk = jnp.sum(jnp.square(jnp.diff(window, n=2, axis=0)))
    return {
        "pos_reward": _tracking(config.pos_weight, config.pos_exp_scale, errors.root_position_w),
        "quat_reward": _tracking(config.quat_weight, config.quat_exp_scale, errors.root_half_angle),
        "joint_reward": _tracking(config.joint_weight, config.joint_exp_scale, errors.joints),
        "angvel_reward": _tracking(
            config.angvel_weight, config.angvel_exp_scale, errors.root_angular_velocity
        ),
        "bodypos_reward": _tracking(
            config.bodypos_weight, config.bodypos_exp_scale, errors.track_mjx_bodies_w
        ),
        "endeff_reward": _tracking(
            config.endeff_weight, config.endeff_exp_scale, errors.track_mjx_end_effectors_w
        ),
        "ctrl_cost": -config.ctrl_cost_weight * jnp.sum(jnp.square(action)),
        "ctrl_diff_cost": -config.ctrl_diff_cost_weight
        * jnp.sum(jnp.square(action - controls.previous)),
        "energy_cost": -config.energy_cost_weight * jnp.minimum(power, config.energy_cost_max),
        "var_cost": -config.action_variance_weight * variance,
        "jerk_cost": -config.action_jerk_weight * jerk,
    }


def _vnl_playground(
    errors: TrackingErrors,
    state: PhysicsState,
    root_height: jax.Array,
    controls: Controls,
    config: VnlPlaygroundReward,
) -> dict[str, jax.Array]:
    def tracking(weight: float, scale: float, error: jax.Array) -> jax.Array:
        return _tracking(weight, 0.5 / scale**2, error)

    low, high = config.healthy_z_range
    is_healthy = (root_height >= low) & (root_height <= high)
    change = controls.action - controls.previous
    power = jnp.minimum(_power(state), config.energy_cost_max)
    angle_deg = jnp.rad2deg(errors.root_half_angle)
    return {
        "root_pos": tracking(config.root_pos_weight, config.root_pos_scale, errors.root_position_w),
        "root_quat": tracking(config.root_quat_weight, config.root_quat_scale, angle_deg),
        "joints": tracking(config.joints_weight, config.joints_scale, errors.joints),
        "joints_vel": tracking(
            config.joints_vel_weight, config.joints_vel_scale, errors.joints_velocity
        ),
        "bodies_pos": tracking(config.bodies_pos_weight, config.bodies_pos_scale, errors.bodies_w),
        "end_eff": tracking(config.end_eff_weight, config.end_eff_scale, errors.end_effectors_w),
        "torso_z_range": config.torso_z_range_weight * is_healthy.astype(jnp.float32),
        "control_cost": -config.control_cost_weight * jnp.sum(jnp.square(controls.action)),
        "control_diff_cost": -config.control_diff_cost_weight * jnp.sum(jnp.square(change)),
        "energy_cost": -config.energy_cost_weight * power,
    }


def _mimic(
    errors: TrackingErrors, config: MimicReward, limits: MimicTermination
) -> dict[str, jax.Array]:
    pose = {
        "center_of_mass": _tracking(
            config.center_of_mass_weight, config.center_of_mass_exp_scale, errors.center_of_mass_w
        ),
        "joints_velocity": _tracking(
            config.joints_velocity_weight, config.joints_velocity_exp_scale, errors.joints_velocity
        ),
        "appendages": _tracking(
            config.appendages_weight, config.appendages_exp_scale, errors.appendages_b
        ),
        # dm_control measures half the rotation angle
        "body_quaternions": _tracking(
            config.body_quaternions_weight,
            config.body_quaternions_exp_scale,
            0.5 * errors.body_rotations,
        ),
    }
    left = 1.0 - termination_error(errors, limits) / limits.max_error
    return {
        "termination": config.termination_weight * left,
        **{name: config.pose_weight * term for name, term in pose.items()},
    }
