"""What a policy sees: the reference ahead, relative to the body, and proprioception.

Parts and order are those of track-mjx (`environment/task/single_clip_tracking.py: _get_obs`), one tuple of
proprioceptive parts per generation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import flax.struct
import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx import quaternions
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.reference.clips import ReferenceClips
from vnl_mjx.walkers.walker import Walker

_KINEMATIC_SENSORS = ("accelerometer", "velocimeter", "gyro")


@flax.struct.dataclass
class Observation:
    """One observation in two named parts.

    Attributes:
        reference: [..., reference_size] the next frames of the clip relative to the body.
        proprioception: [..., proprioception_size] the body's own state.
    """

    reference: jax.Array
    proprioception: jax.Array

    def flat(self) -> jax.Array:
        """The teacher's order: [..., reference_size + proprioception_size]."""
        return jnp.concatenate([self.reference, self.proprioception], axis=-1)


@dataclass(frozen=True)
class ObservationLayout:
    """Names and sizes of the parts, in order: the contract between a task and a policy."""

    reference: tuple[tuple[str, int], ...]
    proprioception: tuple[tuple[str, int], ...]

    @property
    def reference_size(self) -> int:
        """Length of the reference part."""
        return sum(size for _, size in self.reference)

    @property
    def proprioception_size(self) -> int:
        """Length of the proprioceptive part."""
        return sum(size for _, size in self.proprioception)

    def slices(self) -> dict[str, tuple[int, int]]:
        """Start and stop of each named part in the flat observation."""
        result, start = {}, 0
        for name, size in (*self.reference, *self.proprioception):
            result[name] = (start, start + size)
            start += size
        return result


class ObservationFunctions:
    """The observation of one task, its indices looked up by name once."""

    def __init__(self, config: ImitationConfig, walker: Walker, model: mujoco.MjModel):
        """Prepares the parts that `config` names.

        Raises:
            UserError: a proprioceptive part is unknown, or the walker lacks a sensor that it reads.
        """
        self._walker = walker
        self._traj_length = config.traj_length
        self.joint_rows = shifted_rows(
            walker.tracked_joints, config.quirks.joint_row_shift, len(walker.joint_names)
        )
        self.body_rows = shifted_rows(
            walker.tracked_bodies, config.quirks.body_row_shift, len(walker.body_names)
        )
        parts: dict[str, Callable[[PhysicsState], jax.Array]] = {
            "qpos": lambda state: state.qpos,
            "qvel": lambda state: state.qvel,
            "joint_angles": lambda state: state.qpos[7:],
            "joint_velocities": lambda state: state.qvel[6:],
            "actuator_forces": lambda state: state.qfrc_actuator,
            "root_height": lambda state: state.xpos[walker.root_body, 2:],
            "root_z_axis": lambda state: state.xmat[walker.root_body, 2],
            "end_effectors": self._end_effectors_b,
            "kinematic_sensors": _sensor_reader(model, config.proprioception),
        }
        unknown = [name for name in config.proprioception if name not in parts]
        if unknown:
            raise UserError(
                f"proprioception: unknown part {unknown[0]!r}, known are {sorted(parts)}"
            )
        self._proprioception = {name: parts[name] for name in config.proprioception}

    def layout(self, state: PhysicsState) -> ObservationLayout:
        """Sizes of all parts for simulations shaped like `state` (unbatched; nothing is computed)."""
        frames = self._traj_length
        shapes = {
            name: jax.eval_shape(part, state).shape[0]
            for name, part in self._proprioception.items()
        }
        return ObservationLayout(
            reference=(
                ("reference_root_position", 3 * frames),
                ("reference_root_quaternion", 4 * frames),
                ("reference_joints", len(self.joint_rows) * frames),
                ("reference_bodies", 3 * len(self.body_rows) * frames),
            ),
            proprioception=tuple(shapes.items()),
        )

    def observe(
        self, state: PhysicsState, clips: ReferenceClips, clip: jax.Array, frame: jax.Array
    ) -> Observation:
        """Observes one simulation that is at `frame` of `clip`; NaN and Inf are cleaned as upstream does."""
        ahead = clips.window(clip, frame + 1, self._traj_length)
        observation = Observation(
            reference=self._reference(state, ahead),
            proprioception=jnp.concatenate([part(state) for part in self._proprioception.values()]),
        )
        return jax.tree.map(jnp.nan_to_num, observation)

    def _reference(self, state: PhysicsState, ahead) -> jax.Array:
        quat = state.qpos[3:7]
        # Upstream rotates by the root quaternion where its inverse would give the body frame; teachers
        # have learnt it so.
        root_position = quaternions.rotate(ahead.position - state.qpos[:3], quat)
        root_quaternion = quaternions.multiply(quat, quaternions.conjugate(ahead.quaternion))
        joints = (ahead.joints - state.qpos[7:])[:, self.joint_rows]
        body_errors_w = ahead.body_positions[:, self.body_rows] - state.xpos[self.body_rows]
        bodies = quaternions.rotate(body_errors_w, quat)
        parts = (root_position, root_quaternion, joints, bodies)
        return jnp.concatenate([part.reshape(-1) for part in parts])

    def _end_effectors_b(self, state: PhysicsState) -> jax.Array:
        root = self._walker.root_body
        offsets_w = state.xpos[self._walker.end_effectors] - state.xpos[root]
        return (offsets_w @ state.xmat[root]).reshape(-1)


def shifted_rows(rows: np.ndarray, shift: int, num_rows: int) -> np.ndarray:
    """Rows as an upstream generation read them (`config.imitation.UpstreamQuirks`), clamped as JAX does."""
    return np.minimum(rows + shift, num_rows - 1)


def _sensor_reader(
    model: mujoco.MjModel, proprioception: tuple[str, ...]
) -> Callable[[PhysicsState], jax.Array]:
    if "kinematic_sensors" not in proprioception:
        return lambda state: state.sensordata[:0]
    if model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_SENSOR):
        raise ValueError("the observation reads sensors: PhysicsConfig.sensors must be True")
    rows = []
    for name in _KINEMATIC_SENSORS:
        sensor = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, name)
        if sensor < 0:
            raise UserError(f"walker: the observation reads sensor {name!r}, which the model lacks")
        start = model.sensor_adr[sensor]
        rows.append(np.arange(start, start + model.sensor_dim[sensor]))
    sensor_rows = np.concatenate(rows)
    return lambda state: state.sensordata[sensor_rows]
