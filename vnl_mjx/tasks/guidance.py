"""A guide for the first steps of training: the control that pulls every actuator to the reference pose.

It sees no balance and no contact, so it is a poor policy; but a network that starts from it starts
upright. Its weight in the loss fades (`PpoSection.guidance`).
"""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask

POSE_GAIN = 2.0  # of the distance that is left, on top of the control that holds the target
MAX_ACTION = 0.95  # what a tanh reaches without effort


class PoseGuide:
    """Position control of all actuators towards the next reference frame.

    An affine actuator with gain g and bias b0 + b1 * length holds a length l at control
    -(b0 + b1 * l) / g (MuJoCo documentation, "Computation", "Actuation model"). Torque actuators have no
    bias; `stiffness` of the corresponding position actuators takes its place.
    """

    def __init__(self, task: ImitationTask, pose_gain: float = POSE_GAIN):
        """Looks up how joints move the actuators of `task`'s model.

        Raises:
            ValueError: an actuator is not affine, so that no control holds a length.
        """
        model = task.physics.model
        stiffness, gain = -model.actuator_biasprm[:, 1], model.actuator_gainprm[:, 0]
        if not np.all(stiffness > 0):
            raise ValueError("guidance needs position actuators: one has no stiffness")
        self._task, self._pose_gain = task, pose_gain
        self._transmission = jnp.float32(actuator_transmission(model))
        self._stiffness = jnp.float32(stiffness / gain)
        self._offset = jnp.float32(-model.actuator_biasprm[:, 0] / gain)

    def action(self, state: ImitationState, clips: ReferenceClips) -> jax.Array:
        """The control [nu] of one environment, within +-`MAX_ACTION`."""
        target = clips.at(state.clip, self._task.frame(state) + 1).joints
        length = self._transmission @ target
        left = self._transmission @ (target - state.physics.qpos[7:])
        ctrl = self._offset + self._stiffness * (length + self._pose_gain * left)
        return jnp.clip(ctrl, -MAX_ACTION, MAX_ACTION)


def actuator_transmission(model: mujoco.MjModel) -> np.ndarray:
    """[nu, num_joints]: actuator length per joint angle, for transmissions that are linear in it."""
    data = mujoco.MjData(model)
    rows = np.zeros((model.nu, model.nq - 7))
    for joint in range(model.nq - 7):
        data.qpos[7:] = np.eye(model.nq - 7)[joint]
        data.qpos[3] = 1.0
        mujoco.mj_fwdPosition(model, data)
        rows[:, joint] = data.actuator_length
    return rows
