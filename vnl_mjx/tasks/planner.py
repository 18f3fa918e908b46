"""Finds physically feasible motion by sampling controls around a reference, without a policy.

Many simulations follow the reference in short windows, each with its own random offset of the control, and
the nearest continue. Source: Liu, Yin, van de Panne, Shao, Xu 2010, "Sampling-based contact-rich motion
control". The reference drifts slowly with the simulation, so that a motion that lags a little is not pulled
off its feet.
"""

from dataclasses import dataclass
from typing import NamedTuple

import mujoco
import numpy as np

from vnl_mjx.clips.body_size import ratios
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.config.imitation import ImitationConfig
from vnl_mjx.errors import UserError
from vnl_mjx.physics.base import STATE_FIELDS, configure_model
from vnl_mjx.physics.mujoco_batch import SimulationRows
from vnl_mjx.tasks.pose_control import PoseControl
from vnl_mjx.walkers.layout import FreeRoot
from vnl_mjx.walkers.walker import Walker

# Of a rat; for another body they are scaled as lengths and speeds are (`clips.body_size.Ratios`).
_VELOCITY_SCALE = 5.0  # weight of the squared error of the root's velocity, s^2/m^2
_BODY_SCALE = 6.0  # weight of every body's squared error, 1/m^2; also holds the tail
_FLOOR_SCALE = 200.0  # weight of every body's squared depth below a margin above the floor, 1/m^2
_FLOOR_MARGIN = 0.005  # m
_OFFSET_SCALE = 0.005  # weight of the squared offset of the control
_FORGETTING = 0.9  # factor of a window's cost in each later window
_FALLEN_ANGLE, _FALLEN_HEIGHT = np.deg2rad(60.0), 0.03  # rad and m from the reference


@dataclass(frozen=True)
class PlannerOptions:
    """Defines how controls are sampled.

    Attributes:
        num_samples: number of simulations.
        num_kept: number of simulations that continue after a window.
        window: control steps of a window.
        spread: standard deviation of a new offset of the control.
        memory: share of its offset that a simulation keeps in the next window.
        look_ahead: frames by which the target pose lies ahead, because actuators lag.
        pose_gain: gain on the distance to that pose, added to the control that holds it.
        drift_rate: rate at which the reference's place follows the simulation's, 1/s.
        num_threads: threads of the simulations; 0: every core.
    """

    num_samples: int = 256
    num_kept: int = 64
    window: int = 3
    spread: float = 0.06
    memory: float = 1.0
    look_ahead: int = 3
    pose_gain: float = 2.0
    drift_rate: float = 5.0
    num_threads: int = 0


class Plan(NamedTuple):
    """Holds a simulated motion along one clip.

    Attributes:
        qpos: float64 [frame, nq], from the clip's first frame on, at its rate; ends with a fall.
        ctrl: float64 [frame - 1, nu], control from each frame to the next.
        fell: whether the body left the reference's posture (60 degrees, or 3 cm of a rat's height).
    """

    qpos: np.ndarray
    ctrl: np.ndarray
    fell: bool


class _Beam(NamedTuple):
    """Holds the continuing simulations, [kept, ...] each."""

    state: dict[str, np.ndarray]
    offset: np.ndarray
    drift: np.ndarray
    cost: np.ndarray


class Planner:
    """Plans motions of one walker with a free root and position actuators, on MuJoCo C."""

    def __init__(self, walker: Walker, config: ImitationConfig, options: PlannerOptions):
        """Takes the task with the physics and the reward weights.

        Raises:
            UserError: the number of samples or the window is 0, or the walker has no free root or no
                position actuators.
        """
        for name, found in (("sample", options.num_samples), ("step of a window", options.window)):
            if found < 1:
                raise UserError(f"plan: expected 1 {name} or more, found {found}")
        if walker.root is None:
            raise UserError("plan: expected a body with a free root, found none")
        self._size = ratios(walker)
        self.options, self._walker, self._reward = options, walker, config.reward
        self._model = model = configure_model(walker.model, config.physics)
        control = PoseControl(model)
        self._offset, self._stiffness, self._transmission = (
            np.asarray(part, np.float64)
            for part in (control.offset, control.stiffness, control.transmission)
        )
        self._activated = np.flatnonzero(model.actuator_actnum)
        self._rows = SimulationRows(model, options.num_samples, options.num_threads)
        self._num_substeps = config.physics.num_substeps
        self._timestep = config.physics.control_timestep

    def plan(self, clips: ReferenceClips, clip: int, seed: int) -> Plan:
        """Follows one clip from its first frame to its last, at the task's control rate.

        Raises:
            UserError: the clips' frames are not one control step apart.
        """
        if abs(clips.rate_hz * self._timestep - 1.0) > 1e-6:
            raise UserError(
                f"{clips.source}: the clips run at {clips.rate_hz:g} Hz, expected the control rate of "
                f"{1 / self._timestep:g} Hz; resample them (vnl-mjx preprocess)"
            )
        rng = np.random.default_rng([seed, clip])
        reference = _Reference(clips, clips.rows[clip])
        reference.holding = self._holding(reference.qpos)
        beam, history = self._start(reference), []
        for start in range(0, len(reference.qpos) - 1, self.options.window):
            steps = range(start, min(start + self.options.window, len(reference.qpos) - 1))
            beam, parents, qpos, ctrl = self._advance(beam, reference, steps, rng)
            history.append((parents, qpos, ctrl))
            if self._fallen(qpos[:, 0], reference.qpos[steps.start + 1 : steps.stop + 1]):
                break
        return self._traced(reference, history)

    def _start(self, reference: "_Reference") -> _Beam:
        state = {
            "qpos": reference.qpos[:1],
            "qvel": reference.qvel[:1],
            "act": self.start_activation(reference.qpos[0])[None],
            "qacc_warmstart": np.zeros((1, self._model.nv)),
        }
        return _Beam(state, np.zeros((1, self._model.nu)), np.zeros((1, 2)), np.zeros(1))

    def start_activation(self, qpos: np.ndarray) -> np.ndarray:
        """Returns activations [na] of actuators that hold the pose `qpos` [nq], for the start of a plan."""
        return np.clip(self._holding(qpos[None])[0], -1.0, 1.0)[self._activated]

    def _advance(
        self, beam: _Beam, reference: "_Reference", steps: range, rng: np.random.Generator
    ) -> tuple[_Beam, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the beam after one window, with the parents and motions of its simulations."""
        options, arrays, count = self.options, self._rows.arrays, self.options.num_samples
        num_parents = len(beam.cost)
        parents = np.arange(count) % num_parents
        offset = options.memory * beam.offset[parents]
        offset += options.spread * rng.normal(size=offset.shape)
        offset[:num_parents] = options.memory * beam.offset  # one sample per parent without noise
        for name in STATE_FIELDS:
            self._rows.write(name, slice(None), beam.state[name][parents])
        drift, cost, visited = beam.drift[parents].copy(), np.zeros(count), []
        for step in steps:
            ctrl = np.clip(self._towards(reference, step) + offset, -1.0, 1.0)
            arrays["ctrl"][:] = ctrl
            bad = self._rows.run(lambda: self._rows.batch.step(nstep=self._num_substeps))
            drift += options.drift_rate * self._timestep * (self._strayed(reference, step) - drift)
            cost += np.where(bad, np.inf, self._cost(reference, step + 1, drift))
            visited.append((np.array(arrays["qpos"]), ctrl))
        cost = cost / options.window + _OFFSET_SCALE * np.square(offset).sum(axis=1)
        total = _FORGETTING * beam.cost[parents] + np.nan_to_num(cost, nan=np.inf)
        best = np.argsort(total, kind="stable")[: options.num_kept]
        state = {name: np.array(arrays[name].reshape(count, -1)[best]) for name in STATE_FIELDS}
        qpos, ctrl = (np.stack(parts)[:, best] for parts in zip(*visited, strict=True))
        beam = _Beam(state, offset[best], drift[best], total[best])
        return beam, parents[best], qpos, ctrl

    def _towards(self, reference: "_Reference", step: int) -> np.ndarray:
        """Returns controls [sample, nu] towards the pose ahead."""
        last = len(reference.qpos) - 1
        joints = self._walker.layout.joint_qpos
        ahead = min(step + 1 + self.options.look_ahead, last)
        left = reference.qpos[ahead, joints] - self._rows.arrays["qpos"][:, joints]
        closer = self._stiffness * (left @ self._transmission.T)
        return reference.holding[ahead] + self.options.pose_gain * closer

    def _holding(self, qpos: np.ndarray) -> np.ndarray:
        """Returns controls [frame, nu] that hold poses and carry the weight as well as possible."""
        model, joints = self._model, self._walker.layout.joint_qvel
        data, weight = mujoco.MjData(model), []
        for pose in qpos:
            data.qpos[:] = pose
            mujoco.mj_forward(model, data)
            weight.append(data.qfrc_bias[joints].copy())
        force = np.linalg.lstsq(self._transmission.T, np.transpose(weight), rcond=None)[0].T
        lengths = qpos[:, self._walker.layout.joint_qpos] @ self._transmission.T
        gain = self._model.actuator_gainprm[:, 0]
        return self._offset + self._stiffness * lengths + force / gain

    def _strayed(self, reference: "_Reference", step: int) -> np.ndarray:
        """Returns the root's offset along x and y from the reference [sample, 2], m."""
        return self._rows.arrays["qpos"][:, :2] - reference.qpos[step + 1, :2]

    def _cost(self, reference: "_Reference", frame: int, drift: np.ndarray) -> np.ndarray:
        """Returns minus the weighted logarithms of the task's tracking terms, [sample]."""
        reward, arrays, walker = self._reward, self._rows.arrays, self._walker
        qpos, qvel, wanted = arrays["qpos"], arrays["qvel"], reference.qpos[frame]
        moved = np.pad(drift, ((0, 0), (0, 1)))
        places = arrays["xpos"].reshape(len(qpos), -1, 3)
        bodies = places - moved[:, None] - reference.bodies[frame]
        length, speed = self._size.length, self._size.speed
        lowest = walker.floor_height + _FLOOR_MARGIN * length
        depth = np.maximum(lowest - places[:, 1:, 2], 0.0)

        def squared(error: np.ndarray) -> np.ndarray:
            return np.square(error).reshape(len(qpos), -1).sum(axis=1)

        turned = np.abs(qpos[:, FreeRoot.quaternion] @ wanted[FreeRoot.quaternion]).clip(0.0, 1.0)
        joints = (qpos - wanted)[:, walker.layout.joint_qpos][:, walker.tracked_joints]
        velocity = (qvel - reference.qvel[frame])[:, FreeRoot.velocity]
        return (
            reward.pos_weight * reward.pos_exp_scale * squared(qpos[:, :3] - moved - wanted[:3])
            + reward.quat_weight * reward.quat_exp_scale * np.square(np.arccos(turned))
            + reward.joint_weight * reward.joint_exp_scale * squared(joints)
            + reward.endeff_weight
            * reward.endeff_exp_scale
            * squared(bodies[:, walker.end_effectors])
            + _BODY_SCALE * squared(bodies / length)
            + _FLOOR_SCALE * squared(depth / length)
            + _VELOCITY_SCALE * squared(velocity / speed)
        )

    def _traced(self, reference: "_Reference", history: list) -> Plan:
        """Traces the best final simulation back to the start."""
        row, qpos, ctrl = 0, [], []
        for parents, positions, controls in reversed(history):
            qpos.append(positions[:, row])
            ctrl.append(controls[:, row])
            row = parents[row]
        motion = np.concatenate([reference.qpos[:1], *qpos[::-1]])
        fell = self._fallen(motion, reference.qpos[: len(motion)])
        return Plan(motion, np.concatenate(ctrl[::-1]), fell)

    def _fallen(self, qpos: np.ndarray, wanted: np.ndarray) -> bool:
        """Returns whether the root of any frame is far from the reference's height or orientation."""
        aligned = np.abs((qpos * wanted)[:, FreeRoot.quaternion].sum(axis=1)).clip(0.0, 1.0)
        too_far = np.abs(qpos - wanted)[:, 2] > _FALLEN_HEIGHT * self._size.length
        return bool((too_far | (2.0 * np.arccos(aligned) > _FALLEN_ANGLE)).any())


class _Reference:
    """Holds one clip's frames in float64."""

    def __init__(self, clips: ReferenceClips, rows: slice):
        self.holding = np.empty(0)  # [frame, nu], see `Planner`
        self.qpos = np.asarray(clips.qpos()[rows], np.float64)
        self.qvel = np.asarray(clips.qvel()[rows], np.float64)
        self.bodies = np.asarray(clips.body_positions[rows], np.float64)
