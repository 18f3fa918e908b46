"""A guide for the first steps of training: the control that pulls actuators to the reference pose.

It knows of no balance and no contact, so it is a poor policy; but a network that starts from it starts
upright. Its weight in the loss fades (`PpoSection.guidance`). Of a tail or a jaw, on which no balance
depends, it may go on to speak to a policy that can already walk (`PpoSection.guided_actuators`).
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.errors import UserError
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironmentState
from vnl_mjx.tasks.pose_control import PoseControl

POSE_GAIN = 2.0  # of the distance that is left, on top of the control that holds the target
MAX_ACTION = 0.95  # what a tanh reaches without effort


class PoseGuide:
    """Position control of actuators towards the next reference frame.

    Attributes:
        actuators: int [guided], those that it speaks for.
    """

    def __init__(self, task: ImitationTask, names: Sequence[str] = ()):
        """Takes the task whose states it guides; raises as `PoseControl` does.

        Args:
            task: whose states it guides.
            names: of the actuators that it speaks for, `*` for any letters; none: all.

        Raises:
            UserError: no actuator has one of the names, or as `PoseControl` does.
        """
        model = task.physics.model
        self._task, self._control = task, PoseControl(model)
        known = [model.actuator(index).name for index in range(model.nu)]
        for name in names:
            if not any(fnmatchcase(actuator, name) for actuator in known):
                raise UserError(
                    f"ppo.guided_actuators: no actuator is named {name}; the body has {', '.join(known)}"
                )
        is_guided = [not names or any(fnmatchcase(a, name) for name in names) for a in known]
        self.actuators = np.flatnonzero(is_guided)

    def __call__(self, state: ImitationEnvironmentState, clips: ReferenceClips) -> jax.Array:
        """Returns the controls [num_envs, guided], within +-`MAX_ACTION`."""
        return jax.vmap(lambda s: self._action(s, clips))(state.imitation)

    def _action(self, state: ImitationState, clips: ReferenceClips) -> jax.Array:
        target = clips.at(state.clip, self._task.frame(state) + 1).joints
        left = target - state.physics.qpos[self._task.walker.layout.joint_qpos]
        ctrl = self._control.hold(target + POSE_GAIN * left)[self.actuators]
        return jnp.clip(ctrl, -MAX_ACTION, MAX_ACTION)
