"""A guide for the first steps of training: the control that pulls every actuator to the reference pose.

It knows of no balance and no contact, so it is a poor policy; but a network that starts from it starts
upright. Its weight in the loss fades (`PpoSection.guidance`).
"""

import jax
import jax.numpy as jnp

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironmentState
from vnl_mjx.tasks.pose_control import PoseControl

POSE_GAIN = 2.0  # of the distance that is left, on top of the control that holds the target
MAX_ACTION = 0.95  # what a tanh reaches without effort


class PoseGuide:
    """Position control of all actuators towards the next reference frame."""

    def __init__(self, task: ImitationTask):
        """Takes the task whose states it guides; raises as `PoseControl` does."""
        self._task, self._control = task, PoseControl(task.physics.model)

    def __call__(self, state: ImitationEnvironmentState, clips: ReferenceClips) -> jax.Array:
        """Returns the controls [num_envs, nu], within +-`MAX_ACTION`."""
        return jax.vmap(lambda s: self._action(s, clips))(state.imitation)

    def _action(self, state: ImitationState, clips: ReferenceClips) -> jax.Array:
        target = clips.at(state.clip, self._task.frame(state) + 1).joints
        left = target - state.physics.qpos[self._task.walker.layout.joint_qpos]
        ctrl = self._control.hold(target + POSE_GAIN * left)
        return jnp.clip(ctrl, -MAX_ACTION, MAX_ACTION)
