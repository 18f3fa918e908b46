"""The expert that the demonstration teacher imitates: the controls that made the clips, with feedback.

It reads what no policy sees (the recorded controls and the actuators' activations), so it serves as a
source of labels only.
"""

import flax.struct
import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.demo.make_clips import simulate
from vnl_mjx.errors import UserError
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.tasks.imitation import ImitationState
from vnl_mjx.walkers.walker import Walker

MAX_ACTION = 0.95  # what a tanh reaches without effort
POSE_GAIN, ACTIVATION_GAIN = 0.5, 1.0
MAX_POSE_DIFFERENCE = 1e-2  # rad, m: between the clips and their simulation repeated here


@flax.struct.dataclass
class Expert:
    """Labels for one environment.

    Attributes:
        ctrl: [frame, nu] controls that made the clips, in the clips' rows.
        activation: [frame, na] activations while they were made.
        transmission: [nu, num_joints] actuator length of each joint angle, m or rad per rad.
        stiffness: [nu] control that moves an actuator's equilibrium by one unit of length.
    """

    ctrl: jax.Array
    activation: jax.Array
    transmission: jax.Array
    stiffness: jax.Array

    def action(self, state: ImitationState, clips: ReferenceClips) -> jax.Array:
        """The control [nu] that leads `state` towards the next frame of its clip."""
        last = clips.lengths[state.clip] - 1
        # Not `ImitationTask.frame`, which falls behind as upstream's does.
        frame = jnp.minimum(state.start_frame + state.num_steps, last)
        row = clips.starts[state.clip] + frame
        lag = self.transmission @ (clips.joints[row] - state.physics.qpos[7:])
        # An episode starts with slack actuators; without the second term it would sag at first.
        ctrl = (
            self.ctrl[row]
            + POSE_GAIN * self.stiffness * lag
            + ACTIVATION_GAIN * (self.activation[row] - state.physics.act)
        )
        return jnp.clip(ctrl, -MAX_ACTION, MAX_ACTION)


def build_expert(walker: Walker, clips: ReferenceClips, seed: int) -> Expert:
    """Repeats the simulations that made `clips` for what the file does not hold.

    Raises:
        UserError: they give other clips (another seed, or edited behaviours).
    """
    motions = [simulate(walker, name, seed) for name in clips.names]
    qpos = np.concatenate([motion.qpos for motion in motions])
    if np.abs(qpos - clips.qpos()).max() > MAX_POSE_DIFFERENCE:
        raise UserError(
            f"{clips.source}: these are not the clips of seed {seed}; make them again with "
            f"python -m vnl_mjx.demo.make_clips --seed {seed}"
        )
    model = walker.model
    return Expert(
        ctrl=jnp.float32(np.concatenate([motion.ctrl for motion in motions])),
        activation=jnp.float32(np.concatenate([motion.act for motion in motions])),
        transmission=jnp.float32(_transmission(model)),
        # Affine actuators: force = gain * activation + bias_0 + bias_1 * length.
        stiffness=jnp.float32(-model.actuator_biasprm[:, 1] / model.actuator_gainprm[:, 0]),
    )


def _transmission(model: mujoco.MjModel) -> np.ndarray:
    """[nu, num_joints]: all transmissions of the rodent are joints and fixed tendons, so linear."""
    data = mujoco.MjData(model)
    rows = np.zeros((model.nu, model.nq - 7))
    for joint in range(model.nq - 7):
        data.qpos[7:] = np.eye(model.nq - 7)[joint]
        data.qpos[3] = 1.0
        mujoco.mj_fwdPosition(model, data)
        rows[:, joint] = data.actuator_length
    return rows
