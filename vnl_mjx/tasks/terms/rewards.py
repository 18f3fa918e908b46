"""Computes the reward as a sum of named, weighted terms: a family's and the user's own.

Every tracking term has the form weight * exp(-k * squared error). Formulas: track-mjx
`environment/task/reward.py`, vnl-playground `tasks/rodent/imitation.py`, dm_control
`locomotion/tasks/reference_pose/rewards.py`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.config.rewards import (
    MimicReward,
    MimicTermination,
    RewardConfig,
    TerminationConfig,
    VnlPlaygroundReward,
)
from vnl_mjx.errors import UserError
from vnl_mjx.extensions import check_own_name
from vnl_mjx.tasks.terms.state import Term, TermState, find_terms
from vnl_mjx.tasks.terms.terminations import termination_error
from vnl_mjx.walkers.walker import Walker


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


def body_tracking(
    state: TermState, reference: Any, walker: Walker, *, bodies: Sequence[str], scale: float
) -> jax.Array:
    """[] exp(-scale * squared distance of the named bodies to the reference's, world, m, summed)."""
    rows = _rows(bodies, walker.body_names, "bodies")
    error = state.physics.xpos[rows] - reference.body_positions[rows]
    return jnp.exp(-scale * jnp.sum(jnp.square(error)))


def joint_tracking(
    state: TermState, reference: Any, walker: Walker, *, joints: Sequence[str], scale: float
) -> jax.Array:
    """[] exp(-scale * squared difference of the named joints to the reference's, rad, summed)."""
    error = state.errors.joints[_rows(joints, walker.joint_names, "joints")]
    return jnp.exp(-scale * jnp.sum(jnp.square(error)))


def below_floor(
    state: TermState, reference: Any, walker: Walker, *, margin: float = 0.0
) -> jax.Array:
    """[] How far the lowest body's origin is below `margin` above the floor, m; 0 where none is.

    For bodies that the floor does not hold up, such as the rodent's tail. Give it a negative weight.
    """
    lowest = jnp.min(state.physics.xpos[1:, 2])
    return jnp.maximum(walker.floor_height + margin - lowest, 0.0)


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
        body_tracking,
        joint_tracking,
        below_floor,
        control,
        control_change,
        power,
        action_variance,
        action_jerk,
    )
}


def _rows(names: Sequence[str], known: Sequence[str], what: str) -> np.ndarray:
    if unknown := sorted(set(names) - set(known)):
        raise UserError(f"reward.terms: expected {what} of the walker, found {unknown[0]!r}")
    return np.array([known.index(name) for name in names])


WeightedTerm = tuple[float, Term]


def reward_terms(
    config: RewardConfig, termination: TerminationConfig
) -> Callable[[TermState, Any, Walker], dict[str, jax.Array]]:
    """Returns a function that computes all weighted, signed terms, [] each; the reward is their sum.

    Args:
        config: family, weights and scales, and the user's own terms.
        termination: its `mimic` section scales the term `termination` of the family "mimic".

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
        return _vnl_playground(config.vnl_playground)
    if config.family == "mimic":
        return _mimic(config.mimic, termination.mimic)
    return _track_mjx(config)


def _track_mjx(config: RewardConfig) -> dict[str, WeightedTerm]:
    errors = {
        "pos": "root_position_w",
        "quat": "root_half_angle",
        "joint": "joints",
        "angvel": "root_angular_velocity",
        "bodypos": "track_mjx_bodies_w",
        "endeff": "track_mjx_end_effectors_w",
    }
    scales = {name: getattr(config, f"{name}_exp_scale") for name in errors}
    energy = partial(power, most=config.energy_cost_max)
    return {
        **{
            f"{name}_reward": (
                getattr(config, f"{name}_weight"),
                partial(tracking, error=error, scale=scales[name]),
            )
            for name, error in errors.items()
        },
        "ctrl_cost": (-config.ctrl_cost_weight, control),
        "ctrl_diff_cost": (-config.ctrl_diff_cost_weight, control_change),
        "energy_cost": (-config.energy_cost_weight, energy),
        "var_cost": (-config.action_variance_weight, action_variance),
        "jerk_cost": (-config.action_jerk_weight, action_jerk),
    }


def _vnl_playground(section: VnlPlaygroundReward) -> dict[str, WeightedTerm]:
    low, high = section.healthy_z_range
    errors = {
        "root_pos": partial(tracking, error="root_position_w"),
        "root_quat": root_angle_tracking,
        "joints": partial(tracking, error="joints"),
        "joints_vel": partial(tracking, error="joints_velocity"),
        "bodies_pos": partial(tracking, error="bodies_w"),
        "end_eff": partial(tracking, error="end_effectors_w"),
    }
    terms = {
        name: partial(term, scale=0.5 / getattr(section, f"{name}_scale") ** 2)
        for name, term in errors.items()
    } | {
        "torso_z_range": partial(height_within, low=low, high=high),
    }
    energy = partial(power, most=section.energy_cost_max)
    return {
        **{name: (getattr(section, f"{name}_weight"), term) for name, term in terms.items()},
        "control_cost": (-section.control_cost_weight, control),
        "control_diff_cost": (-section.control_diff_cost_weight, control_change),
        "energy_cost": (-section.energy_cost_weight, energy),
    }


def _mimic(section: MimicReward, limits: MimicTermination) -> dict[str, WeightedTerm]:
    pose = {
        "center_of_mass": partial(tracking, error="center_of_mass_w"),
        "joints_velocity": partial(tracking, error="joints_velocity"),
        "appendages": partial(tracking, error="appendages_b"),
        "body_quaternions": half_rotation_tracking,
    }
    return {
        "termination": (section.termination_weight, partial(closeness, limits=limits)),
        **{
            name: (
                section.pose_weight * getattr(section, f"{name}_weight"),
                partial(term, scale=getattr(section, f"{name}_exp_scale")),
            )
            for name, term in pose.items()
        },
    }


def imitation_terms(config: RewardConfig) -> tuple[str, ...]:
    """Returns the names of weighted terms that reward imitation, without costs and bonuses."""
    return tuple(name for name, weight in _imitation_weights(config).items() if weight > 0)


def imitation_reward_maximum(config: RewardConfig) -> float:
    """Returns the maximum of the sum of `imitation_terms`, with all errors zero."""
    return sum(max(weight, 0.0) for weight in _imitation_weights(config).values())


def _imitation_weights(config: RewardConfig) -> dict[str, float]:
    terms = _family(config, TerminationConfig())
    others = {"torso_z_range", *(name for name in terms if name.endswith("_cost"))}
    return {name: weight for name, (weight, _) in terms.items() if name not in others}
