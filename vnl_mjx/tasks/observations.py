"""What a policy sees: the reference ahead, relative to the body, and proprioception.

Both are lists of terms by name (`ImitationConfig.reference` and `.proprioception`); `config/imitation.py` has
those of track-mjx's generations, dm_control and vnl-playground. `docs/observations.md` describes every term.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from vnl_mjx.clips.container import ReferenceClips, ReferenceFrames
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import PhysicsState
from vnl_mjx.quaternions import into_frame
from vnl_mjx.tasks.environment import Observation
from vnl_mjx.tasks.observation_terms import CONTROL_TERMS, REFERENCE_TERMS, ControlTerm
from vnl_mjx.tasks.term_inputs import (
    TermRows,
    bodies_in_root_frame,
    check_names,
    frames_ahead,
)
from vnl_mjx.walkers.walker import Walker

_KINEMATIC_SENSORS = ("accelerometer", "velocimeter", "gyro")

_ReferencePart = Callable[[PhysicsState, ReferenceFrames], jax.Array]
# state, qpos one control step ago, last controls [.., nu]
_ProprioceptivePart = Callable[[PhysicsState, jax.Array, jax.Array], jax.Array]
# Row of each part among the last controls. vnl-playground's `prev_action` is older than the name says.
_CONTROL_ROWS = {"last_action": -1, "previous_action": -2}


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
    """The observation of one task, its indices looked up by name once.

    Attributes:
        needs_previous: a part reads the pose of one control step ago.
        num_actions_read: how many of the last controls the parts read.
    """

    def __init__(self, config: ImitationConfig, walker: Walker, model: mujoco.MjModel):
        """Prepares the parts that `config` names.

        Raises:
            UserError: a part is unknown or listed twice, or the walker lacks a sensor that it reads.
        """
        self._walker = walker
        self._traj_length = config.traj_length
        rows = TermRows.build(walker, config.quirks)
        check_names("reference", config.reference, REFERENCE_TERMS)
        self._reference: dict[str, _ReferencePart] = {
            name: partial(REFERENCE_TERMS[name], rows) for name in config.reference
        }
        seconds = config.physics.control_timestep
        parts: dict[str, _ProprioceptivePart] = {
            name: _control_part(term, rows, seconds) for name, term in CONTROL_TERMS.items()
        }
        for name, row in _CONTROL_ROWS.items():
            parts[name] = _action_part(row)
        for name, part in _state_parts(walker, model, config.proprioception).items():
            parts[name] = _ignoring_past(part)
        check_names("proprioception", config.proprioception, parts)
        self._proprioception = {name: parts[name] for name in config.proprioception}
        self.needs_previous = not CONTROL_TERMS.keys().isdisjoint(config.proprioception)
        rows_read = [-_CONTROL_ROWS.get(name, 0) for name in config.proprioception]
        self.num_actions_read = max(rows_read, default=0)
        self._no_actions = np.zeros((self.num_actions_read, model.nu), np.float32)

    def layout(self, state: PhysicsState) -> ObservationLayout:
        """Sizes of all parts for simulations shaped like `state` (unbatched; nothing is computed)."""
        ahead = frames_ahead(self._walker, self._traj_length)
        return ObservationLayout(
            reference=tuple(
                (name, jax.eval_shape(part, state, ahead).size)
                for name, part in self._reference.items()
            ),
            proprioception=tuple(
                (name, jax.eval_shape(part, state, state.qpos, self._no_actions).size)
                for name, part in self._proprioception.items()
            ),
        )

    def observe(
        self,
        state: PhysicsState,
        clips: ReferenceClips,
        clip: jax.Array,
        frame: jax.Array,
        previous_qpos: jax.Array | None = None,
        actions: jax.Array | None = None,
    ) -> Observation:
        """Observes one simulation that is at `frame` of `clip`; NaN and Inf are cleaned as upstream does.

        Args:
            state: of the simulation.
            clips: that it follows.
            clip: [] index of the clip.
            frame: [] of the clip.
            previous_qpos: [nq] pose one control step ago, and after a reset the pose now. Only needed
                where `needs_previous`.
            actions: [at least `num_actions_read`, nu] last controls, oldest first, zeros before the
                episode. Only needed where `num_actions_read` > 0.
        """
        if previous_qpos is None:
            if self.needs_previous:
                raise ValueError("these terms need previous_qpos, the pose one control step ago")
            previous_qpos = state.qpos
        if actions is None:
            if self.num_actions_read:
                raise ValueError(f"these terms need the last {self.num_actions_read} controls")
            actions = jnp.asarray(self._no_actions)
        ahead = clips.window(clip, frame + 1, self._traj_length)
        reference = [part(state, ahead) for part in self._reference.values()]
        own = [part(state, previous_qpos, actions) for part in self._proprioception.values()]
        observation = Observation.of(reference=_flat(reference), proprioception=_flat(own))
        return jax.tree.map(jnp.nan_to_num, observation)


def _flat(parts: Sequence[jax.Array]) -> jax.Array:
    return jnp.concatenate([part.reshape(-1) for part in parts]) if parts else jnp.zeros(0)


def _control_part(term: ControlTerm, rows: TermRows, seconds: float) -> _ProprioceptivePart:
    return lambda state, previous_qpos, actions: term(rows, previous_qpos, state.qpos, seconds)


def _action_part(row: int) -> _ProprioceptivePart:
    return lambda state, previous_qpos, actions: actions[row]


def _ignoring_past(part: Callable[[PhysicsState], jax.Array]) -> _ProprioceptivePart:
    return lambda state, previous_qpos, actions: part(state)


def _state_parts(
    walker: Walker, model: mujoco.MjModel, proprioception: tuple[str, ...]
) -> dict[str, Callable[[PhysicsState], jax.Array]]:
    """The parts of proprioception that one state tells, by name."""
    root = walker.root_body
    return {
        "qpos": lambda state: state.qpos,
        "qvel": lambda state: state.qvel,
        "joint_angles": lambda state: state.qpos[7:],
        "joint_velocities": lambda state: state.qvel[6:],
        "actuator_forces": lambda state: state.qfrc_actuator,
        "root_height": lambda state: state.xpos[root, 2:],
        "root_z_axis": lambda state: state.xmat[root, 2],
        "root_velocity": lambda state: into_frame(state.qvel[:3], state.qpos[3:7]),
        "root_angular_velocity": lambda state: state.qvel[3:6],
        "end_effectors": partial(bodies_in_root_frame, walker.end_effectors, root),
        "appendages": partial(bodies_in_root_frame, walker.appendages, root),
        "kinematic_sensors": _sensor_reader(model, proprioception),
    }


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
