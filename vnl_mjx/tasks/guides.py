"""Defines guides: actions that a policy imitates early in training, weighted by `PpoSection.guidance`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.errors import UserError
from vnl_mjx.models.intention import FrozenPolicy
from vnl_mjx.physics.base import Physics, PhysicsState
from vnl_mjx.tasks.imitation import ImitationState, ImitationTask
from vnl_mjx.tasks.imitation_environment import ImitationEnvironmentState
from vnl_mjx.tasks.pose_control import PoseControl, actuator_transmission

# Gain on the remaining distance, added to the control that holds the target, for servos that the body's
# weight bends by a radian; in proportion for stiffer ones (`servo_sag`).
POSE_GAIN = 1.0
AHEAD = 3  # frames, of the target: actuators lag
MAX_ACTION = 0.95  # a tanh reaches this easily

# Function of one environment and the clips; returns an action [nu].
Guide = Callable[[ImitationState, ReferenceClips], jax.Array]


class BatchedGuide:
    """Batches a guide over the environments of a training."""

    def __init__(self, guide: Guide):
        """Takes the guide of one environment."""
        self._guide = guide

    def __call__(self, state: ImitationEnvironmentState, clips: ReferenceClips) -> jax.Array:
        """Returns actions [num_envs, nu], within +-`MAX_ACTION`."""
        actions = jax.vmap(lambda s: self._guide(s, clips))(state.imitation)
        return jnp.clip(actions, -MAX_ACTION, MAX_ACTION)


class PoseGuide:
    """Controls the positions of all actuators towards a reference frame ahead.

    It ignores balance and contacts, so it is a poor policy; but a network that imitates it first starts
    upright.
    """

    def __init__(self, task: ImitationTask, model: mujoco.MjModel):
        """Takes the task, and its body with position actuators; raises like `PoseControl`."""
        self._task, self._control = task, PoseControl(model)
        self._gain = POSE_GAIN * task.config.walker.servo_sag

    def __call__(self, state: ImitationState, clips: ReferenceClips) -> jax.Array:
        """See `Guide`."""
        target = clips.at(state.clip, self._task.frame(state) + AHEAD).joints
        left = target - state.physics.qpos[self._task.walker.layout.joint_qpos]
        return self._control.hold(target + self._gain * left)


class PolicyGuide:
    """Returns another policy's action at its mode."""

    def __init__(self, task: ImitationTask, policy: FrozenPolicy):
        """Takes the common task and the policy.

        Raises:
            UserError: the policy has a memory.
        """
        if policy.config.is_recurrent:
            raise UserError("guide_from: expected a feed-forward teacher, found a recurrent one")
        self._task, self._policy = task, policy

    def __call__(self, state: ImitationState, clips: ReferenceClips) -> jax.Array:
        """See `Guide`."""
        return self._policy.act(self._task.observe(state, clips).flat(), ()).action


class TorqueGuide:
    """Returns the torques nearest to those of position actuators under another guide.

    The body with position actuators is simulated for one control step from the same state, with equal
    initial forces. The result is the control whose force, after the actuators' own lag, is nearest to
    theirs over the substeps (least squares). Fixed gains in place of the simulation would be too high or
    too low: within a control step such an actuator brings a free limb to rest, yet carries the body on a
    standing one.
    """

    def __init__(self, guide: Guide, task: ImitationTask, servo: Physics):
        """Takes a guide of position control, the task with torques, and a body that the guide controls.

        Args:
            guide: guide of position control.
            task: task whose body has torque actuators.
            servo: simulates the same body with position actuators, one substep at a time.

        Raises:
            UserError: an actuator of the task has dynamics other than a first-order filter, or one of
                `servo` has no stiffness.
        """
        model, own = task.physics.model, servo.model
        self._guide, self._servo, self._layout = guide, servo, task.walker.layout
        self._activated = np.flatnonzero(model.actuator_actnum)
        self._torque = jnp.float32(model.actuator_gainprm[:, 0])
        self._gain = jnp.float32(own.actuator_gainprm[:, 0])
        self._control = PoseControl(own)
        self._actuator_force = jnp.float32(np.linalg.pinv(actuator_transmission(own).T))
        self._lag = jnp.float32(_lag(model, task.config.physics.num_substeps))

    def __call__(self, state: ImitationState, clips: ReferenceClips) -> jax.Array:
        """See `Guide`."""
        now, joints = state.physics, self._layout
        torque = jnp.zeros_like(self._torque).at[self._activated].set(now.act)  # over its limit
        resting = self._control.hold(now.qpos[joints.joint_qpos])
        pulling = resting + torque * self._torque / self._gain
        act = jnp.clip(pulling, -1.0, 1.0)[self._activated]
        start = self._servo.reset(now.qpos, now.qvel, act=act)
        ctrl = jnp.clip(self._guide(state, clips), -1.0, 1.0)

        def substep(servo: PhysicsState, _: None) -> tuple[PhysicsState, jax.Array]:
            servo = self._servo.step(servo, ctrl)
            return servo, self._actuator_force @ servo.qfrc_actuator[joints.joint_qvel]

        _, forces = jax.lax.scan(substep, start, length=len(self._lag))
        wanted = forces / self._torque - self._lag * torque
        reached = 1.0 - self._lag
        return jnp.sum(reached * wanted, axis=0) / jnp.sum(jnp.square(reached), axis=0)


def _lag(model: mujoco.MjModel, num_substeps: int) -> np.ndarray:
    """Returns the share of an activation that is left in each substep of a control step, [substep, nu]."""
    share = np.zeros((num_substeps, model.nu))
    for actuator, kind in enumerate(model.actuator_dyntype):
        decay = model.opt.timestep / max(model.actuator_dynprm[actuator, 0], mujoco.mjMINVAL)
        if kind == mujoco.mjtDyn.mjDYN_FILTER:
            share[:, actuator] = (1.0 - decay) ** np.arange(num_substeps)
        elif kind == mujoco.mjtDyn.mjDYN_FILTEREXACT:
            share[:, actuator] = np.exp(-decay * np.arange(num_substeps))
        elif kind != mujoco.mjtDyn.mjDYN_NONE:
            raise UserError(
                f"ppo.guidance: expected actuators without dynamics or with a filter, found "
                f"{mujoco.mjtDyn(kind).name} of {model.actuator(actuator).name!r}; set it to 0"
            )
    return share
