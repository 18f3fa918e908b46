"""Describes how to compute an observation from MuJoCo's data, for software without this package.

The `formula` of a part is NumPy code over the names in `NAMES`. Evaluate it after the last `mj_step` of a
control step, without another `mj_forward`: MuJoCo's derived arrays are then one physics step older than
`qpos`, as in training. `examples/export/drive_onnx.py` evaluates these formulas.
"""

import inspect
from typing import Any, NamedTuple

from vnl_mjx.extensions import is_path
from vnl_mjx.tasks.imitation import ImitationTask
from vnl_mjx.tasks.terms.observations import (
    BODY_TERMS,
    REFERENCE_TERMS,
    SENSORS,
    sensor_rows,
    track_mjx_terms,
)
from vnl_mjx.tasks.terms.state import shifted_rows

NAMES = {
    "data": "mujoco.MjData after a control step; before the first one after mj_forward",
    "np": "NumPy",
    "root": "id of the root body, `root_body`",
    "bodies": "ids of the bodies that a part lists as `bodies`",
    "joints": "rows of the joints that a part lists as `joints`, among the hinges and slides",
    "sensors": "rows of data.sensordata of the sensors that a part lists as `sensors`, in order",
    "previous_qpos": "data.qpos one control step ago; before the first step as it is now",
    "controls": "[2, nu] the last two controls, oldest first; zeros before the first step",
    "dt": "seconds per control step",
    "rotation(q)": "matrix [3, 3] of a quaternion w x y z (mju_quat2Mat)",
    "turn(p, q)": "rotation vector [3] from quaternion p to q in the frame of p (mju_subQuat of q, p)",
}


class _Part(NamedTuple):
    unit: str
    frame: str
    formula: str


def observation_parts(task: ImitationTask) -> dict[str, list[dict[str, Any]]]:
    """Returns the named slices of `reference` and `proprioception`, in order, ready for JSON."""
    layout = task.layout
    return {
        "reference": _sliced(layout.reference, lambda name: _reference(name, task)),
        "proprioception": _sliced(layout.proprioception, lambda name: _body(name, task)),
    }


def _sliced(parts: tuple[tuple[str, int], ...], describe: Any) -> list[dict[str, Any]]:
    rows, start = [], 0
    for name, size in parts:
        rows.append({"name": name, "start": start, "stop": start + size, **describe(name)})
        start += size
    return rows


def _body(name: str, task: ImitationTask) -> dict[str, Any]:
    if is_path(name):
        return {"unit": None, "frame": None, "formula": None, "meaning": "a part of the user's own"}
    unit, frame, formula = _parts(task)[name]
    found = {
        "unit": unit,
        "frame": frame,
        "formula": formula,
        "meaning": _meaning(BODY_TERMS[name]),
    }
    walker, config = task.walker, task.walker.config
    if name == "end_effectors":
        found["bodies"] = list(config.end_effector_names)
    if name == "appendages":
        found["bodies"] = [walker.body_names[row] for row in walker.appendages]
    if name == "joints_vel_control":
        found["joints"] = list(config.joint_names)
    if name in SENSORS:
        sensor_rows(task.physics.model, name)
        found["sensors"] = list(SENSORS[name])
    return found


def _parts(task: ImitationTask) -> dict[str, _Part]:
    """Returns unit, frame and formula of every proprioceptive term."""
    walker = task.walker
    is_free = walker.root is not None
    first_q, first_v = walker.layout.joint_qpos.start, walker.layout.joint_qvel.start
    position, quaternion = "data.qpos[:3]", "data.qpos[3:7]"
    if task.config.quirks.root_lags or not is_free:
        body = int(walker.model.jnt_bodyid[0]) if is_free else walker.root_body
        position, quaternion = f"data.xpos[{body}]", f"data.xquat[{body}]"
    before = ("previous_qpos[:3]", "previous_qpos[3:7]") if is_free else (position, quaternion)
    in_root = "((data.xpos[bodies] - data.xpos[root]) @ data.xmat[root].reshape(3, 3)).ravel()"
    velocity = f"rotation({quaternion}).T @ data.qvel[:3]" if is_free else "np.zeros(3)"
    angular = "data.qvel[3:6]" if is_free else "np.zeros(3)"
    joints = f"data.qpos[{first_q}:]"
    moved = f"rotation({before[1]}).T @ ({position} - {before[0]}) / dt"
    change = f"(data.qpos - previous_qpos)[{first_q}:][joints] / dt"
    return {
        "qpos": _Part("m, 1, rad", "world", "data.qpos"),
        "qvel": _Part("m/s, rad/s", "world; angular: root", "data.qvel"),
        "joint_angles": _Part("rad", "joint", joints),
        "joint_velocities": _Part("rad/s", "joint", f"data.qvel[{first_v}:]"),
        "actuator_forces": _Part("N m (root: N, N m)", "joint", "data.qfrc_actuator"),
        "activations": _Part("1", "actuator", "data.act"),
        "root_height": _Part("m", "world", "data.xpos[root, 2:]"),
        "root_z_axis": _Part("1", "root", "data.xmat[root].reshape(3, 3)[2]"),
        "root_velocity": _Part("m/s", "root", velocity),
        "root_angular_velocity": _Part("rad/s", "root", angular),
        "end_effectors": _Part("m", "root", in_root),
        "appendages": _Part("m", "root", in_root),
        "last_action": _Part("1", "actuator", "controls[-1]"),
        "previous_action": _Part("1", "actuator", "controls[-2]"),
        "kinematic_sensors": _Part("m/s^2, m/s, rad/s", "sensor", "data.sensordata[sensors]"),
        "touch_sensors": _Part("N", "sensor", "data.sensordata[sensors]"),
        "velocimeter_control": _Part("m/s", "root, one control step ago", moved),
        "gyro_control": _Part(
            "rad/s", "root, one control step ago", f"turn({before[1]}, {quaternion}) / dt"
        ),
        "joints_vel_control": _Part("rad/s", "joint", change),
    }


def _reference(name: str, task: ImitationTask) -> dict[str, Any]:
    """Describes a part of the reference in words and rows, because it needs a clip."""
    walker, quirks = task.walker, task.config.quirks
    if is_path(name):
        return {"unit": None, "frame": None, "meaning": "a part of the user's own"}
    upstream = track_mjx_terms(walker, quirks)
    meaning = _meaning((REFERENCE_TERMS | upstream)[name])
    found = {"unit": _unit(meaning), "frame": _frame(name), "meaning": meaning}
    shifts = (quirks.joint_row_shift, quirks.body_row_shift) if name in upstream else (0, 0)
    if "tracked joints" in meaning:
        found["joints"] = _shifted(walker.tracked_joints, shifts[0], walker.joint_names)
    if "tracked bodies" in meaning:
        found["bodies"] = _shifted(walker.tracked_bodies, shifts[1], walker.body_names)
    return found


def _shifted(rows: Any, shift: int, names: tuple[str, ...]) -> list[str]:
    return [names[row] for row in shifted_rows(rows, shift, len(names))]


def _meaning(term: Any) -> str:
    return " ".join((inspect.getdoc(term) or "").split())


def _unit(meaning: str) -> str:
    """Returns the unit that follows the shape in a term's docstring."""
    words = meaning.partition("] ")[2]
    found = [unit for unit in ("m/s", "rad/s", "rad", "m") if words.startswith(f"{unit}.")]
    return found[0] if found else "1"


def _frame(name: str) -> str:
    if "local" in name or "rel_root" in name:
        return "root"
    if "global" in name:
        return "world"
    return "joint" if "joints" in name else "as in `meaning`"
