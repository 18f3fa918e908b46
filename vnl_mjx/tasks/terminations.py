"""When an episode fails (terminated) as opposed to merely ending (truncated, see `tasks.imitation`)."""

import jax
import jax.numpy as jnp

from vnl_mjx.config.imitation import TerminationConfig
from vnl_mjx.tasks.rewards import TrackingErrors


def distances(errors: TrackingErrors, config: TerminationConfig) -> dict[str, jax.Array]:
    """The squared distances that the thresholds bound, [] each, under upstream's names."""
    scaled_w = errors.root_position_w * jnp.asarray(config.pos_axis_scale)
    return {
        "summed_pos_distance": jnp.sum(jnp.square(scaled_w)),
        "joint_distance": jnp.sum(jnp.square(errors.joints)),
        "quat_distance": jnp.square(errors.root_half_angle),
    }


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
    low, high = config.healthy_z_range
    return {
        "fall": (root_height < low) | (root_height > high),
        "too_far": distance["summed_pos_distance"] > config.max_pos_error,
        "bad_pose": distance["joint_distance"] > config.max_joint_error,
        "bad_quat": distance["quat_distance"] > config.max_quat_error,
        "nan": diverged,
    }
