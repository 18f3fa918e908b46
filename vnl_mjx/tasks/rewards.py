"""Tracking errors, computed once, and the reward terms made of them.

Formulas: track-mjx `environment/task/reward.py`, which follows dm_control's reference-pose task.
"""

from dataclasses import dataclass

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx import quaternions
from vnl_mjx.config.imitation import RewardConfig, UpstreamQuirks
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.reference.clips import ReferenceFrames
from vnl_mjx.tasks.term_inputs import shifted_rows
from vnl_mjx.walkers.walker import Walker


@flax.struct.dataclass
class TrackingErrors:
    """How far one simulation is from its reference frame. Rewards, terminations and metrics read this.

    Attributes:
        root_position_w: [3] actual minus reference, world frame, m.
        root_half_angle: [] half the rotation angle to the reference orientation, rad.
        joints: [num_joints] actual minus reference, rad.
        root_angular_velocity: [3] actual minus reference, rad/s.
        bodies_w: [tracked bodies, 3] actual minus reference, world frame, m.
        end_effectors_w: [end effectors, 3] actual minus reference, world frame, m.
    """

    root_position_w: jax.Array
    root_half_angle: jax.Array
    joints: jax.Array
    root_angular_velocity: jax.Array
    bodies_w: jax.Array
    end_effectors_w: jax.Array


@dataclass(frozen=True)
class RewardRows:
    """Body rows that the reward reads, of the simulation and of the reference (equal but for a quirk)."""

    bodies: np.ndarray
    end_effectors: np.ndarray
    reference_bodies: np.ndarray
    reference_end_effectors: np.ndarray

    @classmethod
    def build(cls, walker: Walker, quirks: UpstreamQuirks) -> "RewardRows":
        """The rows of `walker`, as the teacher's generation read them."""
        num_bodies = len(walker.body_names)
        actual, reference = quirks.reward_body_row_shift, quirks.body_row_shift
        return cls(
            bodies=shifted_rows(walker.tracked_bodies, actual, num_bodies),
            end_effectors=shifted_rows(walker.end_effectors, actual, num_bodies),
            reference_bodies=shifted_rows(walker.tracked_bodies, reference, num_bodies),
            reference_end_effectors=shifted_rows(walker.end_effectors, reference, num_bodies),
        )


def tracking_errors(
    state: PhysicsState, frame: ReferenceFrames, rows: RewardRows
) -> TrackingErrors:
    """Compares one simulation with one reference frame (`ReferenceClips.at`)."""
    reference_w = frame.body_positions
    return TrackingErrors(
        root_position_w=state.qpos[:3] - frame.position,
        root_half_angle=quaternions.half_angle(state.qpos[3:7], frame.quaternion),
        joints=state.qpos[7:] - frame.joints,
        root_angular_velocity=state.qvel[3:6] - frame.angular_velocity,
        bodies_w=state.xpos[rows.bodies] - reference_w[rows.reference_bodies],
        end_effectors_w=state.xpos[rows.end_effectors] - reference_w[rows.reference_end_effectors],
    )


def reward_terms(
    errors: TrackingErrors,
    state: PhysicsState,
    action: jax.Array,
    previous_action: jax.Array,
    action_window: jax.Array,
    config: RewardConfig,
) -> dict[str, jax.Array]:
    """Weighted, signed terms, [] each; the reward is their sum.

    Args:
        errors: of this simulation after the step.
        state: the simulation after the step.
        action: [nu] control that was applied.
        previous_action: [nu] control before it (pass `action` where upstream's difference is always 0).
        action_window: [window, nu] the last controls, oldest first, zeros before the episode.
        config: weights and scales.
    """

    def tracking(weight: float, scale: float, error: jax.Array) -> jax.Array:
        return weight * jnp.exp(-scale * jnp.sum(jnp.square(error)))

    power = jnp.sum(jnp.abs(state.qvel[6:]) * jnp.abs(state.qfrc_actuator[6:]))
    # An empty window has no variance and no jerk (generations before these costs).
    variance = jnp.sum(jnp.var(action_window, axis=0)) if len(action_window) else jnp.float32(0)
    jerk = jnp.sum(jnp.square(jnp.diff(action_window, n=2, axis=0)))
    return {
        "pos_reward": tracking(config.pos_weight, config.pos_exp_scale, errors.root_position_w),
        "quat_reward": tracking(config.quat_weight, config.quat_exp_scale, errors.root_half_angle),
        "joint_reward": tracking(config.joint_weight, config.joint_exp_scale, errors.joints),
        "angvel_reward": tracking(
            config.angvel_weight, config.angvel_exp_scale, errors.root_angular_velocity
        ),
        "bodypos_reward": tracking(
            config.bodypos_weight, config.bodypos_exp_scale, errors.bodies_w
        ),
        "endeff_reward": tracking(
            config.endeff_weight, config.endeff_exp_scale, errors.end_effectors_w
        ),
        "ctrl_cost": -config.ctrl_cost_weight * jnp.sum(jnp.square(action)),
        "ctrl_diff_cost": -config.ctrl_diff_cost_weight
        * jnp.sum(jnp.square(action - previous_action)),
        "energy_cost": -config.energy_cost_weight * jnp.minimum(power, config.energy_cost_max),
        "var_cost": -config.action_variance_weight * variance,
        "jerk_cost": -config.action_jerk_weight * jerk,
    }
