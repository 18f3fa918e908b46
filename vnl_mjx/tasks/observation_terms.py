"""The terms that an observation can be made of, by name: what the reference ahead is, and how far off.

A term reads one simulation and the reference frames ahead, and gives one row per frame; `vmap` it for many
simulations. `docs/observations.md` has the table. Names that dm_control has mean what they mean there
(`locomotion/tasks/reference_pose/tracking.py`), so that configurations of CoMic, MIMIC and the like carry
over; four more are track-mjx's, with its quirks.

A suffix `_local` is the frame of the simulated body now, `_global` the world.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vnl_mjx import quaternions
from vnl_mjx.clips.container import ReferenceFrames as Frames
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.quaternions import into_frame, matrix_quaternion, rotation_vector
from vnl_mjx.tasks.term_inputs import (
    TermRows,
    bodies_in_root_frame,
    center_of_mass_w,
    into_body,
)

ReferenceTerm = Callable[[TermRows, PhysicsState, Frames], jax.Array]
ControlTerm = Callable[[TermRows, jax.Array, jax.Array, float], jax.Array]


# track-mjx (`environment/task/single_clip_tracking.py: _get_obs`), and vnl-playground in its order.
# They rotate by the root quaternion where its inverse would give the body frame; teachers have learnt it so.


def reference_root_position(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 3] m. Root position, rotated by the root quaternion (not its inverse)."""
    return quaternions.rotate(ahead.position - state.qpos[:3], state.qpos[3:7])


def reference_root_quaternion(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 4] The root's quaternion times the inverse of the reference's."""
    return quaternions.multiply(state.qpos[3:7], quaternions.conjugate(ahead.quaternion))


def reference_joints(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked joints] rad. Angles, reference minus actual."""
    return (ahead.joints - state.qpos[7:])[:, rows.track_mjx_joints]


def reference_bodies(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked bodies, 3] m. Positions, rotated by the root quaternion."""
    at = rows.track_mjx_bodies
    return quaternions.rotate(ahead.body_positions[:, at] - state.xpos[at], state.qpos[3:7])


def reference_all_joints(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, joints] rad. The same of every joint (vnl-playground)."""
    return ahead.joints - state.qpos[7:]


def reference_bodies_by_body(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[tracked bodies, T, 3] m. `reference_bodies`, body by body (vnl-playground)."""
    return jnp.swapaxes(reference_bodies(rows, state, ahead), 0, 1)


# dm_control (`locomotion/tasks/reference_pose/tracking.py`)


def reference_rel_joints(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked joints] rad. Angles, reference minus actual."""
    return (ahead.joints - state.qpos[7:])[:, rows.joints]


def reference_rel_bodies_pos_global(
    rows: TermRows, state: PhysicsState, ahead: Frames
) -> jax.Array:
    """[T, tracked bodies, 3] m. Positions, reference minus actual, world."""
    return ahead.body_positions[:, rows.bodies] - state.xpos[rows.bodies]


def reference_rel_bodies_pos_local(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked bodies, 3] m. The same in the root body's frame."""
    return into_body(reference_rel_bodies_pos_global(rows, state, ahead), rows.root, state)


def reference_rel_bodies_quats(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked bodies, 4] Rotation from each body to its reference, w >= 0."""
    # the state holds matrices, which do not tell q from -q: the sign is that of the smaller rotation
    actual = matrix_quaternion(state.xmat[rows.bodies])
    turned = quaternions.multiply(
        quaternions.conjugate(actual), ahead.body_quaternions[:, rows.bodies]
    )
    return jnp.where(turned[..., :1] < 0, -turned, turned)


def reference_ego_bodies_quats(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked bodies, 4] Reference bodies seen from the reference's root."""
    root = quaternions.conjugate(ahead.quaternion)[:, None]
    return quaternions.multiply(root, ahead.body_quaternions[:, rows.bodies])


def reference_rel_root_quat(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 4] Rotation from the root to the reference's."""
    return quaternions.multiply(quaternions.conjugate(state.qpos[3:7]), ahead.quaternion)


def reference_rel_root_pos_local(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 3] m. Root position, reference minus actual, in the root's frame."""
    return into_frame(ahead.position - state.qpos[:3], state.qpos[3:7])


def reference_appendages_pos(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, appendages, 3] m. Of the reference, in the reference's root body frame."""
    return ahead.appendages


# Further features of a clip, as they are and relative to the simulated body


def reference_end_effectors_pos(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, end effectors, 3] m. Of the reference, in its root body's frame."""
    return ahead.end_effectors


def reference_rel_appendages_pos(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, appendages, 3] m. Reference minus actual, each in its own root frame."""
    return ahead.appendages - bodies_in_root_frame(rows.appendages, rows.root, state)


def reference_rel_end_effectors_pos(
    rows: TermRows, state: PhysicsState, ahead: Frames
) -> jax.Array:
    """[T, end effectors, 3] m. Likewise."""
    return ahead.end_effectors - bodies_in_root_frame(rows.end_effectors, rows.root, state)


def reference_center_of_mass(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 3] m. Of the reference, from its root, in its root's frame."""
    return into_frame(ahead.center_of_mass - ahead.position, ahead.quaternion)


def reference_rel_center_of_mass_local(
    rows: TermRows, state: PhysicsState, ahead: Frames
) -> jax.Array:
    """[T, 3] m. Reference minus actual, in the root body's frame."""
    return into_body(ahead.center_of_mass - center_of_mass_w(rows, state), rows.root, state)


def reference_velocity(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 3] m/s. Root velocity of the reference, in its own root's frame."""
    return into_frame(ahead.velocity, ahead.quaternion)


def reference_angular_velocity(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 3] rad/s. Likewise."""
    return ahead.angular_velocity


def reference_joints_velocity(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked joints] rad/s. Of the reference."""
    return ahead.joints_velocity[:, rows.joints]


def reference_rel_velocity_local(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, 3] m/s. Root velocity, reference minus actual, in the root's frame."""
    return into_frame(ahead.velocity - state.qvel[:3], state.qpos[3:7])


def reference_rel_angular_velocity_local(
    rows: TermRows, state: PhysicsState, ahead: Frames
) -> jax.Array:
    """[T, 3] rad/s. Likewise."""
    ahead_w = quaternions.rotate(ahead.angular_velocity, ahead.quaternion)
    return into_frame(ahead_w, state.qpos[3:7]) - state.qvel[3:6]


def reference_rel_joints_velocity(rows: TermRows, state: PhysicsState, ahead: Frames) -> jax.Array:
    """[T, tracked joints] rad/s. Reference minus actual."""
    return (ahead.joints_velocity - state.qvel[6:])[:, rows.joints]


# What the body has done since the last control step, of the poses then and now (dm_control's names)


def velocimeter_control(
    rows: TermRows, previous: jax.Array, now: jax.Array, seconds: float
) -> jax.Array:
    """[3] m/s. Root displacement over the last control step, in the root frame before it."""
    return into_frame((now[:3] - previous[:3]) / seconds, previous[3:7])


def gyro_control(rows: TermRows, previous: jax.Array, now: jax.Array, seconds: float) -> jax.Array:
    """[3] rad/s. Rotation over the last control step, in the root frame before it."""
    turned = quaternions.multiply(quaternions.conjugate(previous[3:7]), now[3:7])
    return rotation_vector(turned) / seconds


def joints_vel_control(
    rows: TermRows, previous: jax.Array, now: jax.Array, seconds: float
) -> jax.Array:
    """[tracked joints] rad/s. Change of angles over the last control step."""
    return (now[7:] - previous[7:])[rows.joints] / seconds


REFERENCE_TERMS: dict[str, ReferenceTerm] = {
    term.__name__: term
    for term in (
        reference_root_position,
        reference_root_quaternion,
        reference_joints,
        reference_bodies,
        reference_all_joints,
        reference_bodies_by_body,
        reference_rel_joints,
        reference_rel_bodies_pos_global,
        reference_rel_bodies_pos_local,
        reference_rel_bodies_quats,
        reference_ego_bodies_quats,
        reference_rel_root_quat,
        reference_rel_root_pos_local,
        reference_appendages_pos,
        reference_end_effectors_pos,
        reference_rel_appendages_pos,
        reference_rel_end_effectors_pos,
        reference_center_of_mass,
        reference_rel_center_of_mass_local,
        reference_velocity,
        reference_angular_velocity,
        reference_joints_velocity,
        reference_rel_velocity_local,
        reference_rel_angular_velocity_local,
        reference_rel_joints_velocity,
    )
}

CONTROL_TERMS: dict[str, ControlTerm] = {
    term.__name__: term for term in (velocimeter_control, gyro_control, joints_vel_control)
}
