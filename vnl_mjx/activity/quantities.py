"""Computes the quantities of a record file: on the device while the loop runs, and from poses afterwards."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vnl_mjx.activity.environment import SessionState
from vnl_mjx.activity.file import (
    ACTION,
    DYNAMICS,
    GROUPS,
    KINEMATICS,
    LATENT,
    LAYERS,
    OBSERVATION,
    REFERENCE,
    TRACKING,
    Quantity,
)
from vnl_mjx.clips.columns import POSE, VELOCITY, join_qpos, join_qvel
from vnl_mjx.clips.container import ReferenceClips
from vnl_mjx.clips.features import FeatureComputer
from vnl_mjx.evaluation.latent.points import ROOT_STATE, root_state
from vnl_mjx.evaluation.tracking import pose_errors
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.training.rollout import Step
from vnl_mjx.walkers.walker import Walker

_ROOT_UNIT = "m, unit vector, m/s, rad/s"
# float16 would round positions in the world to millimetres.
_FLOAT32 = {f"{KINEMATICS}/qpos", f"{KINEMATICS}/qvel"}
_UNITS = {
    f"{KINEMATICS}/joint_angles": "rad or m",
    f"{KINEMATICS}/joint_velocities": "rad/s or m/s",
    f"{KINEMATICS}/root": _ROOT_UNIT,
    f"{KINEMATICS}/qpos": "m, quaternion w x y z, rad or m",
    f"{KINEMATICS}/qvel": "m/s (world), rad/s (root's frame), rad/s or m/s",
    f"{DYNAMICS}/torques": "N m or N",
    f"{DYNAMICS}/contacts": "1: stands on the floor",
    f"{DYNAMICS}/power": "W",
    f"{REFERENCE}/joint_angles": "rad or m",
    f"{REFERENCE}/root": _ROOT_UNIT,
    f"{LATENT}/kl": "nats",
    f"{LATENT}/sensitivity": "action per latent",
    f"{ACTION}/action": "control, -1 to 1",
    f"{ACTION}/teacher": "control, -1 to 1",
    f"{ACTION}/spread": "control",
    f"{TRACKING}/errors": "mm, degrees, rad, rad",
}
_ERRORS = ("root_error_mm", "root_angle_deg", "joint_error_rad", "joint_distance_rad")
_VALID, _START, _FEET = "valid", "start", "feet"
_QPOS, _QVEL = "qpos", "qvel"
# What the host computes from poses, and so reads from the device for these groups.
_NEED_POSES = (KINEMATICS, DYNAMICS, TRACKING)


def on_device(step: Step, walker: Walker, groups: Collection[str]) -> dict[str, jax.Array]:
    """Returns what a step records, [num_envs, width] each, for a rollout in a `SessionEnvironment`.

    Kinematics, observation and network are of the state that the network saw; forces, reward and distances
    are of the control step that its action makes.
    """
    before: SessionState = step.before
    after: SessionState = step.after
    joints = walker.layout.joint_qvel
    torques = after.moved.qfrc_actuator
    outcome, physics = step.outcome, before.imitation.physics
    power = jnp.sum(jnp.abs(torques * after.moved.qvel), axis=-1)
    found = step.acted.extra | {
        f"{DYNAMICS}/torques": torques[:, joints],
        f"{DYNAMICS}/power": power[:, None],
        f"{REFERENCE}/input": step.observation["reference"],
        f"{OBSERVATION}/proprioception": step.observation["proprioception"],
        f"{TRACKING}/reward": _stacked([outcome.reward, *_sorted(outcome.terms).values()]),
    }
    if outcome.distances:
        found[f"{TRACKING}/distances"] = _stacked(_sorted(outcome.distances).values())
    found = {name: values for name, values in found.items() if name.partition("/")[0] in groups}
    if not set(_NEED_POSES).isdisjoint(groups):
        found |= {_QPOS: physics.qpos, _QVEL: physics.qvel}
    if DYNAMICS in groups:
        moved = after.moved.xpos[:, walker.feet] - physics.xpos[:, walker.feet]
        found[_FEET] = jnp.linalg.norm(moved, axis=-1)
    follows = (before.settling == 0) & outcome.valid & ~outcome.terminated
    return found | {_VALID: follows, _START: step.starts}


def _sorted(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the columns in the order of their names, as jax sorts a dict."""
    return dict(sorted(columns.items()))


def _stacked(columns: Iterable[jax.Array]) -> jax.Array:
    return jnp.stack([jnp.asarray(v, jnp.float32) for v in columns], axis=-1)


class Quantities:
    """Knows the columns of every quantity of a recording, and computes those that follow from poses."""

    def __init__(
        self,
        task: ImitationTask,
        stretches: ReferenceClips,
        groups: Collection[str] = GROUPS,
        float16: bool = False,
    ):
        """Takes what is recorded, and the groups to write."""
        self._task, self._walker, self._groups = task, task.walker, tuple(groups)
        self._dtype = np.float16 if float16 else np.float32
        self._poses = {name: np.asarray(getattr(stretches, name)) for name in (*POSE, *VELOCITY)}
        self._layout = task.walker.layout
        self._features = FeatureComputer(task.walker, num_threads=1)

    def described(self, shapes: Mapping[str, Any], outcome: Any) -> dict[str, Quantity]:
        """Returns the quantities of a file.

        Args:
            shapes: of what `on_device` gives for one control step, with the leading axis.
            outcome: the shapes of its `StepOutcome`, for names.
        """
        widths = {name: found.shape[-1] for name, found in shapes.items() if "/" in name}
        blank = {name: np.zeros((1, *found.shape[1:])) for name, found in shapes.items()}
        made = self.derived(blank, np.zeros(1, int))
        widths |= {name: values.shape[-1] for name, values in made.items()}
        names = self._columns(outcome)
        return {
            name: Quantity(
                names.get(name) or tuple(map(str, range(width))),
                _UNITS.get(name, ""),
                np.float32 if name in _FLOAT32 else self._dtype,
            )
            for name, width in widths.items()
        }

    def derived(
        self, recorded: Mapping[str, np.ndarray], reference_row: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Returns the quantities that are computed from poses, [row, width] each.

        Args:
            recorded: what `on_device` gave, [row, ...].
            reference_row: [row] frames of the stretches.
        """
        layout, found = self._layout, {}
        frames = {name: values[reference_row] for name, values in self._poses.items()}
        expected = join_qpos(frames, layout)
        if REFERENCE in self._groups:
            found |= self._body(REFERENCE, expected, join_qvel(frames, layout))
            del found[f"{REFERENCE}/joint_velocities"]
        qpos, qvel = recorded.get(_QPOS), recorded.get(_QVEL)
        if KINEMATICS in self._groups:
            found |= self._body(KINEMATICS, qpos, qvel)
            found |= {f"{KINEMATICS}/qpos": qpos, f"{KINEMATICS}/qvel": qvel}
        if TRACKING in self._groups:
            errors = pose_errors(qpos, expected, layout)
            columns = [errors[name] for name in _ERRORS]
            found[f"{TRACKING}/errors"] = np.stack(columns, axis=-1)
        if DYNAMICS in self._groups and len(self._walker.feet):
            found[f"{DYNAMICS}/contacts"] = self._contacts(qpos, recorded[_FEET])
        return found

    def _body(self, group: str, qpos: np.ndarray, qvel: np.ndarray) -> dict[str, np.ndarray]:
        layout = self._layout
        found = {
            f"{group}/joint_angles": qpos[:, layout.joint_qpos],
            f"{group}/joint_velocities": qvel[:, layout.joint_qvel],
        }
        if layout.root is not None:
            found[f"{group}/root"] = root_state(qpos, qvel, layout)
        return found

    def _contacts(self, qpos: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """Returns 1 where a foot stands, by the rule of clips; `moved` is its travel in the step, m."""
        poses = self._features.kinematics(qpos.astype(np.float64))
        speeds = moved / self._task.config.physics.control_timestep
        return self._features.standing(poses.positions, poses.quaternions, speeds)

    def _columns(self, outcome: Any) -> dict[str, tuple[str, ...]]:
        walker, layout = self._walker, self._task.layout
        joints = walker.joint_names
        seen = {"reference": layout.reference, "proprioception": layout.proprioception}
        named = {
            part: tuple(f"{term}.{i}" for term, size in terms for i in range(size))
            for part, terms in seen.items()
        }
        root = ("root_x", "root_y", "root_z", "root_qw", "root_qx", "root_qy", "root_qz")
        turning = tuple(f"root_{v}{axis}" for v in ("v", "w") for axis in "xyz")
        free = walker.layout.free_root
        return {
            f"{KINEMATICS}/joint_angles": joints,
            f"{KINEMATICS}/joint_velocities": joints,
            f"{KINEMATICS}/root": ROOT_STATE,
            f"{KINEMATICS}/qpos": root * free + joints,
            f"{KINEMATICS}/qvel": turning * free + joints,
            f"{DYNAMICS}/torques": joints,
            f"{DYNAMICS}/contacts": tuple(walker.body_names[foot] for foot in walker.feet),
            f"{DYNAMICS}/power": ("total",),
            f"{REFERENCE}/joint_angles": joints,
            f"{REFERENCE}/root": ROOT_STATE,
            f"{REFERENCE}/input": named["reference"],
            f"{OBSERVATION}/proprioception": named["proprioception"],
            f"{OBSERVATION}/normalized": named["reference"] + named["proprioception"],
            f"{ACTION}/action": walker.actuator_names,
            f"{ACTION}/spread": walker.actuator_names,
            f"{ACTION}/teacher": walker.actuator_names,
            f"{TRACKING}/reward": ("reward", *_sorted(outcome.terms)),
            f"{TRACKING}/distances": tuple(_sorted(outcome.distances)),
            f"{TRACKING}/errors": _ERRORS,
        }


def layer_table(quantities: Mapping[str, Quantity]) -> list[dict[str, Any]]:
    """Returns network, layer and width of every recorded layer, JSON-able."""
    rows = []
    for name, quantity in quantities.items():
        group, _, layer = name.partition("/")
        if group == LAYERS:
            network, _, own = layer.rpartition(".") if "." not in layer else layer.partition(".")
            rows.append({"network": network, "layer": own, "width": len(quantity.columns)})
    return rows
