"""Computes the control that holds a pose, for starts with taut actuators and for guides."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.errors import UserError


class PoseControl:
    """Computes position control by affine actuators.

    An actuator with gain g and bias b0 + b1 * length rests at length l under control
    -(b0 + b1 * l) / g (MuJoCo documentation, "Computation", "Actuation model").

    Attributes:
        offset: [nu] control that holds length 0.
        stiffness: [nu] control per unit of length.
        transmission: [nu, num_joints] actuator length per joint angle.
    """

    def __init__(self, model: mujoco.MjModel):
        """Looks up how joints move the actuators.

        Raises:
            UserError: an actuator has no stiffness, so no control holds a length.
        """
        stiffness, gain = -model.actuator_biasprm[:, 1], model.actuator_gainprm[:, 0]
        if not np.all(stiffness > 0):
            name = model.actuator(int(np.argmin(stiffness))).name
            raise UserError(
                f"task.walker.torque_actuators: expected position actuators, but {name} has no stiffness; "
                "set it to false, or give ppo.guidance=0 and task.initial_activation=zero"
            )
        self.transmission = jnp.float32(actuator_transmission(model))
        self.stiffness = jnp.float32(stiffness / gain)
        self.offset = jnp.float32(-model.actuator_biasprm[:, 0] / gain)

    def hold(self, joints: jax.Array) -> jax.Array:
        """Returns the unbounded control [nu] that holds the actuators in the pose `joints` [num_joints]."""
        return self.offset + self.stiffness * (self.transmission @ joints)


def actuator_transmission(model: mujoco.MjModel) -> np.ndarray:
    """Returns actuator length per joint angle [nu, num_joints], for linear transmissions."""
    data = mujoco.MjData(model)
    first = 7 if model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE else 0
    joints = np.eye(model.nq - first)
    rows = np.zeros((model.nu, len(joints)))
    for joint, angles in enumerate(joints):
        data.qpos[first:] = angles
        if first:
            data.qpos[3] = 1.0
        mujoco.mj_fwdPosition(model, data)
        rows[:, joint] = data.actuator_length
    return rows
