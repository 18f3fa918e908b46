"""Computes tracking errors once for rewards, terminations and metrics."""

import flax.struct
import jax
import numpy as np

from vnl_mjx import quaternions
from vnl_mjx.clips.container import ReferenceFrames
from vnl_mjx.config.imitation import UpstreamQuirks
from vnl_mjx.quaternions import matrix_quaternion, rotation_vector
from vnl_mjx.tasks.terms.state import (
    TermState,
    bodies_in_root_frame,
    center_of_mass_w,
    shifted_rows,
)
from vnl_mjx.walkers.walker import Walker


@flax.struct.dataclass
class TrackingErrors:
    """Holds the errors of one simulation from its reference frame: actual minus reference.

    Attributes:
        root_position_w: [3] world frame, m.
        root_half_angle: [] half the rotation angle to the reference orientation, rad.
        joints: [num_joints] rad.
        joints_velocity: [num_joints] rad/s.
        root_angular_velocity: [3] each in its own root frame, rad/s.
        center_of_mass_w: [3] world frame, m.
        bodies_w: [tracked bodies, 3] world frame, m.
        body_rotations: [tracked bodies, 3] rotation vector from each body to its reference, rad.
        end_effectors_w: [end effectors, 3] world frame, m.
        appendages_b: [appendages, 3] each in its own root body's frame, m.
        track_mjx_bodies_w: `bodies_w` for the rows of a track-mjx generation.
        track_mjx_end_effectors_w: `end_effectors_w`, likewise.
    """

    root_position_w: jax.Array
    root_half_angle: jax.Array
    joints: jax.Array
    joints_velocity: jax.Array
    root_angular_velocity: jax.Array
    center_of_mass_w: jax.Array
    bodies_w: jax.Array
    body_rotations: jax.Array
    end_effectors_w: jax.Array
    appendages_b: jax.Array
    track_mjx_bodies_w: jax.Array
    track_mjx_end_effectors_w: jax.Array


def tracking_errors(
    state: TermState, frame: ReferenceFrames, walker: Walker, quirks: UpstreamQuirks
) -> TrackingErrors:
    """Compares one simulation with one reference frame (`ReferenceClips.at`).

    Args:
        state: state of the simulation.
        frame: reference frame.
        walker: walker of both.
        quirks: row shifts of the teacher's track-mjx generation.
    """

    def track_mjx_positions(rows: np.ndarray) -> jax.Array:
        num_bodies = len(walker.body_names)
        actual = shifted_rows(rows, quirks.reward_body_row_shift, num_bodies)
        wanted = shifted_rows(rows, quirks.body_row_shift, num_bodies)
        return physics.xpos[actual] - reference_w[wanted]

    physics, reference_w = state.physics, frame.body_positions
    bodies, limbs = walker.tracked_bodies, walker.end_effectors
    appendages_b = bodies_in_root_frame(walker.appendages, walker.root_body, physics)
    turned = quaternions.multiply(
        quaternions.conjugate(matrix_quaternion(physics.xmat[bodies])),
        frame.body_quaternions[bodies],
    )
    pose = state.pose
    return TrackingErrors(
        root_position_w=pose.root_position - frame.position,
        root_half_angle=quaternions.half_angle(pose.root_quaternion, frame.quaternion),
        joints=pose.joints - frame.joints,
        joints_velocity=state.joint_velocities - frame.joints_velocity,
        root_angular_velocity=state.root_angular_velocity - frame.angular_velocity,
        center_of_mass_w=center_of_mass_w(physics, walker) - frame.center_of_mass,
        bodies_w=physics.xpos[bodies] - reference_w[bodies],
        body_rotations=rotation_vector(turned),
        end_effectors_w=physics.xpos[limbs] - reference_w[limbs],
        appendages_b=appendages_b - frame.appendages,
        track_mjx_bodies_w=track_mjx_positions(bodies),
        track_mjx_end_effectors_w=track_mjx_positions(limbs),
    )
