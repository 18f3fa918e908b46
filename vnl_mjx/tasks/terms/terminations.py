"""Defines when an episode fails (terminated); other ends are truncations, see `tasks.imitation`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from vnl_mjx.config.rewards import MimicTermination, TerminationConfig
from vnl_mjx.extensions import check_own_name
from vnl_mjx.tasks.terms.errors import TrackingErrors
from vnl_mjx.tasks.terms.state import Term, TermState, find_terms
from vnl_mjx.walkers.walker import Walker


def distances(errors: TrackingErrors, config: TerminationConfig) -> dict[str, jax.Array]:
    """Returns the distances that `config.family` bounds, [] each, under upstream's names.

    "track_mjx": squared, m^2 and rad^2. "vnl_playground": m, degrees of half the angle, rad. "mimic": mixed,
    see `termination_error`.
    """
    if config.family == "none":
        return {}
    if config.family == "vnl_playground":
        return {
            "root_pos_distance": jnp.linalg.norm(errors.root_position_w),
            "root_angular_error": jnp.rad2deg(errors.root_half_angle),
            "joint_l2_error": jnp.linalg.norm(errors.joints),
        }
    if config.family == "mimic":
        return {"termination_error": termination_error(errors, config.mimic)}
    scaled_w = errors.root_position_w * jnp.asarray(config.pos_axis_scale)
    return {
        "summed_pos_distance": jnp.sum(jnp.square(scaled_w)),
        "joint_distance": jnp.sum(jnp.square(errors.joints)),
        "quat_distance": jnp.square(errors.root_half_angle),
    }


def termination_error(errors: TrackingErrors, config: MimicTermination) -> jax.Array:
    """Returns dm_control's mean absolute error [] of joints (rad) and bodies (m), half of each.

    Source: `locomotion/tasks/reference_pose/tracking.py`, `_compute_termination_error`, without props.
    """
    joints, bodies = jnp.mean(jnp.abs(errors.joints)), jnp.mean(jnp.abs(errors.bodies_w))
    return 0.5 * config.body_error_multiplier * bodies + 0.5 * joints


def beyond(
    state: TermState, reference: Any, walker: Walker, *, distance: str, limit: float
) -> jax.Array:
    """Returns, [] bool, whether one of `TermState.distances` is above `limit`."""
    return state.distances[distance] > limit


def height_outside(
    state: TermState, reference: Any, walker: Walker, *, low: float, high: float
) -> jax.Array:
    """Returns, [] bool, whether the root body is below `low` or above `high`, metres."""
    height = state.physics.xpos[walker.root_body, 2]
    return (height < low) | (height > high)


def fallen(
    state: TermState, reference: Any, walker: Walker, *, lowest: float, tilt_deg: float = 90.0
) -> jax.Array:
    """Returns, [] bool, whether the root is below `lowest` metres, or its z axis tilts beyond `tilt_deg`."""
    upright = state.physics.xmat[walker.root_body, 2, 2]
    return (state.physics.xpos[walker.root_body, 2] < lowest) | (
        upright < jnp.cos(jnp.deg2rad(tilt_deg))
    )


BUILT_IN: dict[str, Term] = {term.__name__: term for term in (beyond, height_outside, fallen)}


def termination_terms(config: TerminationConfig) -> dict[str, Term]:
    """Returns the terms that end an episode as failed, by name: the family's and the user's own.

    Raises:
        UserError: a term of `config.terms` is unknown, cannot be imported or has the name of a family's term.
    """
    terms = _family(config)
    built_in = frozenset({*terms, "nan"})
    for name, section in config.terms.items():
        check_own_name(name, f"termination.terms.{name}", built_in)
        key = f"termination.terms.{name}.function"
        wanted = section.function or name
        terms[name] = partial(find_terms(key, [wanted], BUILT_IN)[wanted], **section.arguments)
    return terms


def _family(config: TerminationConfig) -> dict[str, Term]:
    if config.family == "none":
        return {}
    terms: dict[str, Term] = {}
    if config.family == "vnl_playground":
        limits = config.vnl_playground
        bounds = {
            "root_too_far": ("root_pos_distance", limits.max_root_distance),
            "root_too_rotated": ("root_angular_error", limits.max_root_angle_deg),
            "pose_error": ("joint_l2_error", limits.max_joint_distance),
        }
    elif config.family == "mimic":
        bounds = {"termination_error": ("termination_error", config.mimic.max_error)}
    else:
        low, high = config.healthy_z_range
        terms["fall"] = partial(height_outside, low=low, high=high)
        bounds = {
            "too_far": ("summed_pos_distance", config.max_pos_error),
            "bad_pose": ("joint_distance", config.max_joint_error),
            "bad_quat": ("quat_distance", config.max_quat_error),
        }
    return terms | {
        name: partial(beyond, distance=distance, limit=limit)
        for name, (distance, limit) in bounds.items()
    }
