"""When an episode fails (terminated) as opposed to merely ending (truncated, see `tasks.imitation`)."""

import jax
import jax.numpy as jnp

from vnl_mjx.config.rewards import MimicTermination, TerminationConfig
from vnl_mjx.tasks.tracking_errors import TrackingErrors


def distances(errors: TrackingErrors, config: TerminationConfig) -> dict[str, jax.Array]:
    """The distances that the thresholds of `config.family` bound, [] each, under upstream's names.

    "track_mjx": squared, m^2 and rad^2. "vnl_playground": m, degrees of half the angle, rad. "mimic": mixed,
    see `termination_error`.
    """
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
    """dm_control's mean absolute error [] of joints (rad) and bodies (m), half of each.

    Source: `locomotion/tasks/reference_pose/tracking.py`, `_compute_termination_error`, without props.
    """
    joints, bodies = jnp.mean(jnp.abs(errors.joints)), jnp.mean(jnp.abs(errors.bodies_w))
    return 0.5 * config.body_error_multiplier * bodies + 0.5 * joints


def failures(
    distance: dict[str, jax.Array],
    root_height: jax.Array,
    diverged: jax.Array,
    config: TerminationConfig,
) -> dict[str, jax.Array]:
    """Named failure flags, [] bool each; an episode terminates when any is raised.

    Args:
        distance: from `distances`.
        root_height: [] height of the root body, world frame, m.
        diverged: [] bool, the simulation met NaN.
        config: thresholds.
    """
    if config.family == "vnl_playground":
        limits = config.vnl_playground
        return {
            "root_too_far": distance["root_pos_distance"] > limits.max_root_distance,
            "root_too_rotated": distance["root_angular_error"] > limits.max_root_angle_deg,
            "pose_error": distance["joint_l2_error"] > limits.max_joint_distance,
            "nan": diverged,
        }
    if config.family == "mimic":
        far = distance["termination_error"] > config.mimic.max_error
        return {"termination_error": far, "nan": diverged}
    low, high = config.healthy_z_range
    return {
        "fall": (root_height < low) | (root_height > high),
        "too_far": distance["summed_pos_distance"] > config.max_pos_error,
        "bad_pose": distance["joint_distance"] > config.max_joint_error,
        "bad_quat": distance["quat_distance"] > config.max_quat_error,
        "nan": diverged,
    }
