"""The terms that an observation can be made of: the reference ahead, how far off it is, and the body itself.

A term of the reference gives one row per frame ahead. `docs/observations.md` has the table. Names that
dm_control has mean what they mean there (`locomotion/tasks/reference_pose/tracking.py`), so that
configurations of CoMic, MIMIC and the like carry over; six more are track-mjx's, with its quirks.

A suffix `_local` is the frame of the simulated body now, `_global` the world.
"""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx import quaternions
from vnl_mjx.clips.container import ReferenceFrames as Frames
from vnl_mjx.config.imitation import UpstreamQuirks
from vnl_mjx.errors import UserError
from vnl_mjx.quaternions import into_frame, matrix_quaternion, rotation_vector
from vnl_mjx.tasks.terms.state import (
    Term,
    TermState,
    bodies_in_root_frame,
    center_of_mass_w,
    into_body,
    shifted_rows,
)
from vnl_mjx.walkers.walker import Walker

# track-mjx (`environment/task/single_clip_tracking.py: _get_obs`), and vnl-playground in its order.
# They rotate by the root quaternion where its inverse would give the body frame; teachers have learnt it so.


def reference_root_position(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 3] m. Root position, rotated by the root quaternion (not its inverse)."""
    return quaternions.rotate(ahead.position - state.pose.root_position, state.pose.root_quaternion)


def reference_root_quaternion(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 4] The root's quaternion times the inverse of the reference's."""
    return quaternions.multiply(state.pose.root_quaternion, quaternions.conjugate(ahead.quaternion))


def reference_all_joints(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, joints] rad. The same of every joint (vnl-playground)."""
    return ahead.joints - state.pose.joints


def track_mjx_terms(walker: Walker, quirks: UpstreamQuirks) -> dict[str, Term]:
    """Returns the terms that read rows as the teacher's track-mjx generation did, by name."""
    rows = shifted_rows(walker.tracked_joints, quirks.joint_row_shift, len(walker.joint_names))
    bodies = shifted_rows(walker.tracked_bodies, quirks.body_row_shift, len(walker.body_names))

    def reference_joints(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
        """[T, tracked joints] rad. Angles, reference minus actual."""
        return (ahead.joints - state.pose.joints)[:, rows]

    def reference_bodies(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
        """[T, tracked bodies, 3] m. Positions, rotated by the root quaternion."""
        away = ahead.body_positions[:, bodies] - state.physics.xpos[bodies]
        return quaternions.rotate(away, state.pose.root_quaternion)

    def reference_bodies_by_body(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
        """[tracked bodies, T, 3] m. `reference_bodies`, body by body (vnl-playground)."""
        return jnp.swapaxes(reference_bodies(state, ahead, walker), 0, 1)

    terms = (reference_joints, reference_bodies, reference_bodies_by_body)
    return {term.__name__: term for term in terms}


# dm_control (`locomotion/tasks/reference_pose/tracking.py`)


def reference_rel_joints(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, tracked joints] rad. Angles, reference minus actual."""
    return (ahead.joints - state.pose.joints)[:, walker.tracked_joints]


def reference_rel_bodies_pos_global(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, tracked bodies, 3] m. Positions, reference minus actual, world."""
    return (
        ahead.body_positions[:, walker.tracked_bodies] - state.physics.xpos[walker.tracked_bodies]
    )


def reference_rel_bodies_pos_local(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, tracked bodies, 3] m. The same in the root body's frame."""
    return into_body(
        reference_rel_bodies_pos_global(state, ahead, walker), walker.root_body, state.physics
    )


def reference_rel_bodies_quats(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, tracked bodies, 4] Rotation from each body to its reference, w >= 0."""
    # the state holds matrices, which do not tell q from -q: the sign is that of the smaller rotation
    actual = matrix_quaternion(state.physics.xmat[walker.tracked_bodies])
    turned = quaternions.multiply(
        quaternions.conjugate(actual), ahead.body_quaternions[:, walker.tracked_bodies]
    )
    return jnp.where(turned[..., :1] < 0, -turned, turned)


def reference_ego_bodies_quats(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, tracked bodies, 4] Reference bodies seen from the reference's root."""
    root = quaternions.conjugate(ahead.quaternion)[:, None]
    return quaternions.multiply(root, ahead.body_quaternions[:, walker.tracked_bodies])


def reference_rel_root_quat(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 4] Rotation from the root to the reference's."""
    return quaternions.multiply(quaternions.conjugate(state.pose.root_quaternion), ahead.quaternion)


def reference_rel_root_pos_local(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 3] m. Root position, reference minus actual, in the root's frame."""
    return into_frame(ahead.position - state.pose.root_position, state.pose.root_quaternion)


def reference_appendages_pos(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, appendages, 3] m. Of the reference, in the reference's root body frame."""
    return ahead.appendages


# Further features of a clip, as they are and relative to the simulated body


def reference_end_effectors_pos(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, end effectors, 3] m. Of the reference, in its root body's frame."""
    return ahead.end_effectors


def reference_rel_appendages_pos(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, appendages, 3] m. Reference minus actual, each in its own root frame."""
    return ahead.appendages - bodies_in_root_frame(
        walker.appendages, walker.root_body, state.physics
    )


def reference_rel_end_effectors_pos(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, end effectors, 3] m. Likewise."""
    return ahead.end_effectors - bodies_in_root_frame(
        walker.end_effectors, walker.root_body, state.physics
    )


def reference_center_of_mass(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 3] m. Of the reference, from its root, in its root's frame."""
    return into_frame(ahead.center_of_mass - ahead.position, ahead.quaternion)


def reference_rel_center_of_mass_local(
    state: TermState, ahead: Frames, walker: Walker
) -> jax.Array:
    """[T, 3] m. Reference minus actual, in the root body's frame."""
    return into_body(
        ahead.center_of_mass - center_of_mass_w(state.physics, walker),
        walker.root_body,
        state.physics,
    )


def reference_velocity(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 3] m/s. Root velocity of the reference, in its own root's frame."""
    return into_frame(ahead.velocity, ahead.quaternion)


def reference_angular_velocity(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 3] rad/s. Likewise."""
    return ahead.angular_velocity


def reference_joints_velocity(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, tracked joints] rad/s. Of the reference."""
    return ahead.joints_velocity[:, walker.tracked_joints]


def reference_rel_velocity_local(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, 3] m/s. Root velocity, reference minus actual, in the root's frame."""
    return into_frame(ahead.velocity - state.root_velocity, state.pose.root_quaternion)


def reference_rel_angular_velocity_local(
    state: TermState, ahead: Frames, walker: Walker
) -> jax.Array:
    """[T, 3] rad/s. Likewise."""
    ahead_w = quaternions.rotate(ahead.angular_velocity, ahead.quaternion)
    return into_frame(ahead_w, state.pose.root_quaternion) - state.root_angular_velocity


def reference_rel_joints_velocity(state: TermState, ahead: Frames, walker: Walker) -> jax.Array:
    """[T, tracked joints] rad/s. Reference minus actual."""
    return (ahead.joints_velocity - state.joint_velocities)[:, walker.tracked_joints]


# What the body has done since the last control step, of the poses then and now (dm_control's names)


def velocimeter_control(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[3] m/s. Root displacement over the last control step, in the root frame before it."""
    before = state.previous
    moved = state.pose.root_position - before.root_position
    return into_frame(moved / state.control_timestep, before.root_quaternion)


def gyro_control(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[3] rad/s. Rotation over the last control step, in the root frame before it."""
    before = quaternions.conjugate(state.previous.root_quaternion)
    turned = quaternions.multiply(before, state.pose.root_quaternion)
    return rotation_vector(turned) / state.control_timestep


def joints_vel_control(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[tracked joints] rad/s. Change of angles over the last control step."""
    change = state.pose.joints - state.previous.joints
    return change[walker.tracked_joints] / state.control_timestep


# Every function above whose name says so.
REFERENCE_TERMS: dict[str, Term] = {
    name: term for name, term in vars().items() if name.startswith("reference_")
}

# The body itself


def qpos(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[nq] Generalised position."""
    return state.physics.qpos


def qvel(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[nv] Generalised velocity."""
    return state.physics.qvel


def joint_angles(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[joints] rad."""
    return state.pose.joints


def joint_velocities(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[joints] rad/s."""
    return state.joint_velocities


def actuator_forces(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[nv] N m. Forces of the actuators in joint coordinates."""
    return state.physics.qfrc_actuator


def activations(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[na] Activations of the actuators that have one, such as muscles."""
    return state.physics.act


def root_height(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[1] m. Of the root body."""
    return state.physics.xpos[walker.root_body, 2:]


def root_z_axis(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[3] The world's z axis in the root body's frame."""
    return state.physics.xmat[walker.root_body, 2]


def root_velocity(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[3] m/s. In the root's frame."""
    return into_frame(state.root_velocity, state.pose.root_quaternion)


def root_angular_velocity(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[3] rad/s. In the root's frame."""
    return state.root_angular_velocity


def end_effectors(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[end effectors, 3] m. From the root body, in its frame."""
    return bodies_in_root_frame(walker.end_effectors, walker.root_body, state.physics)


def appendages(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[appendages, 3] m. Likewise."""
    return bodies_in_root_frame(walker.appendages, walker.root_body, state.physics)


def last_action(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[nu] Control of the last step."""
    return state.actions[-1]


def previous_action(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[nu] Control of the step before the last, which vnl-playground calls `prev_action`."""
    return state.actions[-2]


def kinematic_sensors(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[9] Accelerometer, velocimeter and gyro."""
    return state.physics.sensordata[sensor_rows(walker.model, "kinematic_sensors")]


def touch_sensors(state: TermState, ahead: Frames | None, walker: Walker) -> jax.Array:
    """[4] N. Of the rodent's palms and soles, left before right."""
    return state.physics.sensordata[sensor_rows(walker.model, "touch_sensors")]


SENSORS = {
    "kinematic_sensors": ("accelerometer", "velocimeter", "gyro"),
    "touch_sensors": ("palm_L", "palm_R", "sole_L", "sole_R"),
}


def sensor_rows(model: mujoco.MjModel, term: str) -> np.ndarray:
    """Returns the rows of `sensordata` that a term of `SENSORS` reads.

    Raises:
        UserError: the walker lacks one of the sensors.
    """
    rows = []
    for name in SENSORS[term]:
        sensor = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, name)
        if sensor < 0:
            raise UserError(f"walker: the observation reads sensor {name!r}, which the model lacks")
        start = model.sensor_adr[sensor]
        rows.append(np.arange(start, start + model.sensor_dim[sensor]))
    return np.concatenate(rows)


CONTROL_TERMS: dict[str, Term] = {
    term.__name__: term for term in (velocimeter_control, gyro_control, joints_vel_control)
}
BODY_TERMS: dict[str, Term] = CONTROL_TERMS | {
    term.__name__: term
    for term in (
        qpos,
        qvel,
        joint_angles,
        joint_velocities,
        actuator_forces,
        activations,
        root_height,
        root_z_axis,
        root_velocity,
        root_angular_velocity,
        end_effectors,
        appendages,
        last_action,
        previous_action,
        kinematic_sensors,
        touch_sensors,
    )
}
