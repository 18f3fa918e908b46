"""The reward as a sum of named, weighted terms: a family's and the user's own.

Every tracking term has the form weight * exp(-k * squared error). Formulas: track-mjx
`environment/task/reward.py`, vnl-playground `tasks/rodent/imitation.py`, dm_control
`locomotion/tasks/reference_pose/rewards.py`.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.config.rewards import MimicTermination, RewardConfig, TerminationConfig
from vnl_mjx.extensions import check_own_name
from vnl_mjx.tasks.terms.state import Term, TermState, find_terms
from vnl_mjx.tasks.terms.terminations import termination_error
from vnl_mjx.walkers.walker import Walker

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


def tracking(
    state: TermState, reference: Any, walker: Walker, *, error: str, scale: float
) -> jax.Array:
    """[] exp(-scale * squared `error`), a field of `TrackingErrors`."""
    return jnp.exp(-scale * jnp.sum(jnp.square(getattr(state.errors, error))))


def root_angle_tracking(
    state: TermState, reference: Any, walker: Walker, *, scale: float
) -> jax.Array:
    """[] As `tracking`, of half the rotation angle of the root in degrees."""
    return jnp.exp(-scale * jnp.square(jnp.rad2deg(state.errors.root_half_angle)))


def half_rotation_tracking(
    state: TermState, reference: Any, walker: Walker, *, scale: float
) -> jax.Array:
    """[] As `tracking`, of half the rotation angles of the tracked bodies (dm_control's measure)."""
    return jnp.exp(-scale * jnp.sum(jnp.square(0.5 * state.errors.body_rotations)))


def closeness(
    state: TermState, reference: Any, walker: Walker, *, limits: MimicTermination
) -> jax.Array:
    """[] 1 where dm_control's termination error is 0, and 0 at its limit."""
    return 1.0 - termination_error(state.errors, limits) / limits.max_error


def height_within(
    state: TermState, reference: Any, walker: Walker, *, low: float, high: float
) -> jax.Array:
    """[] 1 where the root body is between `low` and `high` metres, else 0."""
    height = state.physics.xpos[walker.root_body, 2]
    return ((height >= low) & (height <= high)).astype(jnp.float32)


def control(state: TermState, reference: Any, walker: Walker) -> jax.Array:
    """[] Squared control, summed over actuators."""
    return jnp.sum(jnp.square(state.action))


def control_change(state: TermState, reference: Any, walker: Walker) -> jax.Array:
    """[] Squared change of the control since the last step, summed over actuators."""
    return jnp.sum(jnp.square(state.action - state.previous_action))


def power(state: TermState, reference: Any, walker: Walker, *, most: float) -> jax.Array:
    """[] Absolute power at the joints, at most `most`, W; nothing actuates the root."""
    joints = walker.layout.joint_qvel
    force, speed = jnp.abs(state.physics.qfrc_actuator[joints]), jnp.abs(state.joint_velocities)
    return jnp.minimum(jnp.sum(speed * force), most)


def action_variance(state: TermState, reference: Any, walker: Walker) -> jax.Array:
    """[] Variance of the last controls, summed over actuators; 0 of none."""
    window = state.actions
    return jnp.sum(jnp.var(window, axis=0)) if len(window) else jnp.float32(0)


def action_jerk(state: TermState, reference: Any, walker: Walker) -> jax.Array:
    """[] Squared second differences of the last controls, summed."""
    return jnp.sum(jnp.square(jnp.diff(state.actions, n=2, axis=0)))


BUILT_IN: dict[str, Term] = {
    term.__name__: term
    for term in (
        tracking,
        root_angle_tracking,
        half_rotation_tracking,
        height_within,
        control,
        control_change,
        power,
        action_variance,
        action_jerk,
    )
}

WeightedTerm = tuple[float, Term]


def reward_terms(
    config: RewardConfig, termination: TerminationConfig
) -> Callable[[TermState, Any, Walker], dict[str, jax.Array]]:
    """Returns the function of all weighted, signed terms, [] each; the reward is their sum.

    Args:
        config: family, weights and scales, and the user's own terms.
        termination: whose `mimic` section the term `termination` of the family "mimic" is measured in.

    Raises:
        UserError: a term of `config.terms` is unknown, cannot be imported or has the name of a family's term.
    """
    terms = _family(config, termination)
    built_in = frozenset(terms)
    for name, section in config.terms.items():
        check_own_name(name, f"reward.terms.{name}", built_in)
        key = f"reward.terms.{name}.function"
        wanted = section.function or name
        function = find_terms(key, [wanted], BUILT_IN)[wanted]
        terms[name] = (section.weight, partial(function, **section.arguments))

    def weighted(state: TermState, reference: Any, walker: Walker) -> dict[str, jax.Array]:
        return {
            name: weight * term(state, reference, walker) for name, (weight, term) in terms.items()
        }

    return weighted


def _family(config: RewardConfig, termination: TerminationConfig) -> dict[str, WeightedTerm]:
    if config.family == "none":
        return {}
    if config.family == "vnl_playground":
        return _vnl_playground(config)
    if config.family == "mimic":
        return _mimic(config, termination.mimic)
    return _track_mjx(config)


def _track_mjx(config: RewardConfig) -> dict[str, WeightedTerm]:
    def follow(error: str, weight: float, scale: float) -> WeightedTerm:
        return weight, partial(tracking, error=error, scale=scale)

    energy = partial(power, most=config.energy_cost_max)
    return {
        "pos_reward": follow("root_position_w", config.pos_weight, config.pos_exp_scale),
        "quat_reward": follow("root_half_angle", config.quat_weight, config.quat_exp_scale),
        "joint_reward": follow("joints", config.joint_weight, config.joint_exp_scale),
        "angvel_reward": follow(
            "root_angular_velocity", config.angvel_weight, config.angvel_exp_scale
        ),
        "bodypos_reward": follow(
            "track_mjx_bodies_w", config.bodypos_weight, config.bodypos_exp_scale
        ),
        "endeff_reward": follow(
            "track_mjx_end_effectors_w", config.endeff_weight, config.endeff_exp_scale
        ),
        "ctrl_cost": (-config.ctrl_cost_weight, control),
        "ctrl_diff_cost": (-config.ctrl_diff_cost_weight, control_change),
        "energy_cost": (-config.energy_cost_weight, energy),
        "var_cost": (-config.action_variance_weight, action_variance),
        "jerk_cost": (-config.action_jerk_weight, action_jerk),
    }


def _vnl_playground(config: RewardConfig) -> dict[str, WeightedTerm]:
    section = config.vnl_playground
    low, high = section.healthy_z_range

    def follow(error: str, weight: float, scale: float) -> WeightedTerm:
        return weight, partial(tracking, error=error, scale=0.5 / scale**2)

    angle = partial(root_angle_tracking, scale=0.5 / section.root_quat_scale**2)
    return {
        "root_pos": follow("root_position_w", section.root_pos_weight, section.root_pos_scale),
        "root_quat": (section.root_quat_weight, angle),
        "joints": follow("joints", section.joints_weight, section.joints_scale),
        "joints_vel": follow(
            "joints_velocity", section.joints_vel_weight, section.joints_vel_scale
        ),
        "bodies_pos": follow("bodies_w", section.bodies_pos_weight, section.bodies_pos_scale),
        "end_eff": follow("end_effectors_w", section.end_eff_weight, section.end_eff_scale),
        "torso_z_range": (
            section.torso_z_range_weight,
            partial(height_within, low=low, high=high),
        ),
        "control_cost": (-section.control_cost_weight, control),
        "control_diff_cost": (-section.control_diff_cost_weight, control_change),
        "energy_cost": (
            -section.energy_cost_weight,
            partial(power, most=section.energy_cost_max),
        ),
    }


def _mimic(config: RewardConfig, limits: MimicTermination) -> dict[str, WeightedTerm]:
    section = config.mimic

    def follow(weight: float, term: Term, **arguments: Any) -> WeightedTerm:
        return section.pose_weight * weight, partial(term, **arguments)

    return {
        "termination": (section.termination_weight, partial(closeness, limits=limits)),
        "center_of_mass": follow(
            section.center_of_mass_weight,
            tracking,
            error="center_of_mass_w",
            scale=section.center_of_mass_exp_scale,
        ),
        "joints_velocity": follow(
            section.joints_velocity_weight,
            tracking,
            error="joints_velocity",
            scale=section.joints_velocity_exp_scale,
        ),
        "appendages": follow(
            section.appendages_weight,
            tracking,
            error="appendages_b",
            scale=section.appendages_exp_scale,
        ),
        "body_quaternions": follow(
            section.body_quaternions_weight,
            half_rotation_tracking,
            scale=section.body_quaternions_exp_scale,
        ),
    }


def imitation_terms(config: RewardConfig) -> tuple[str, ...]:
    """Names of the terms that reward imitation and have a weight; costs and bonuses are not among them."""
    return tuple(name for name, weight in _imitation_weights(config).items() if weight > 0)


def imitation_reward_maximum(config: RewardConfig) -> float:
    """The greatest value that the sum of `imitation_terms` can have: all errors are zero."""
    return sum(max(weight, 0.0) for weight in _imitation_weights(config).values())


def _imitation_weights(config: RewardConfig) -> dict[str, float]:
    if config.family == "none":
        return {}
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
