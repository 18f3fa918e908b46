"""Finds poses among the named variables of a file, in the layouts that projects of the field write.

MuJoCo's `qpos`; position, quaternion and joints apart (mjlab, Isaac Lab, GMR); one variable per joint
(LocoMuJoCo's older files); angles by leg (flygym).
"""

from collections.abc import Iterator, Mapping

import numpy as np

from vnl_mjx.clips.recording import Recording, checked_rate
from vnl_mjx.clips.sources.variables import Variable, stripped
from vnl_mjx.errors import UserError, first_line

NAMES = ("joint_names", "names_qpos", "dof_names")
RATES = (
    *("rate_hz", "fps", "frequency", "frame_rate", "framerate", "mocap_frame_rate"),
    *("mocap_framerate", "data_fps"),
)
_POSITION = (
    *("root_pos", "root_position", "root_trans", "root_translation", "root_trans_offset"),
    *("root_pos_w", "base_pos", "base_position", "position", "trans", "translation"),
)
_QUATERNION = (
    *("root_quat", "root_rot", "root_rotation", "root_orientation", "root_quat_w"),
    *("base_quat", "base_rot", "base_orientation", "quaternion"),
)
# Isaac Gym's order and that of the projects which follow it (GMR, PHC).
_XYZW = frozenset(("root_rot", "base_rot"))
_JOINTS = (
    *("joint_pos", "joint_positions", "joint_angles", "dof_pos", "dof_positions", "dof"),
    "joints",
)
# poses of all bodies in the world, whose first is the root
_BODIES = (("body_pos_w", "body_quat_w"), ("body_positions", "body_rotations"))
_AXES = {"pitch": "", "roll": "_roll", "yaw": "_yaw"}  # in the joint names of flygym 1
_MOST_HINT_FRAMES = 2000
_FAST = 0.3  # share of a joint's fastest movement, from which on its velocity tells the rate


def open_parts(path: str, layout: str, variables: Mapping[str, Variable]) -> Recording | None:
    """Opens poses that are stored in several variables; None if the file is of another layout."""
    readers = (_by_leg, _by_joint, _root_and_joints)
    try:
        return next((found for read in readers if (found := read(path, layout, variables))), None)
    except UserError:
        raise
    except (IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: its variables do not fit together ({first_line(error)}); give the poses as one "
            "variable 'qpos' (frames, columns)"
        ) from error


def stated_rate(path: str, variables: Mapping[str, Variable]) -> float | None:
    """Returns the frames per second that a variable states; None if there is none."""
    for name in RATES:
        if name in variables and variables[name].is_number:
            return checked_rate(variables[name].read(), f"{path}: {name!r}")
    return None


def _root_and_joints(path: str, layout: str, variables: Mapping[str, Variable]) -> Recording | None:
    """Opens root position, root quaternion and joints, or the poses of all bodies and the joints."""
    joints = _first(variables, _JOINTS, 2)
    if joints is None:
        return None
    position, quaternion = _first(variables, _POSITION, 2), _first(variables, _QUATERNION, 2)
    notes, bodies = (), None
    if position and quaternion:
        root = [
            _table(path, variables, name, size) for name, size in ((position, 3), (quaternion, 4))
        ]
    else:
        bodies = next((pair for pair in _BODIES if {*pair} <= variables.keys()), None)
        if bodies is None:
            return None
        root = [variables[name].read()[:, 0] for name in bodies]
        notes = (f"the first body of {bodies[0]!r} is taken for the root",)
    angles = variables[joints].read()
    lengths = {len(part) for part in (*root, angles)}
    if len(lengths) > 1 or [part.shape[-1] for part in root] != [3, 4]:
        shapes = ", ".join(str(part.shape) for part in (*root, angles))
        raise UserError(
            f"{path}: root position, root quaternion and {joints!r} have shapes {shapes}, expected "
            "(frames, 3), (frames, 4) and (frames, joints)"
        )
    found = Recording(
        path,
        layout,
        np.concatenate([*root, angles], axis=1),
        qpos_name=joints,
        has_root=True,
        notes=notes,
    )
    if quaternion:  # its name does not say the order
        found.supposed = {"quaternion_order": "xyzw" if quaternion in _XYZW else "wxyz"}
    if bodies:
        found.conventions = {"quaternion_order": "wxyz", "length_unit": "m", "up_axis": "z"}
        found.stored_xpos, found.stored_xquat = (variables[name].read() for name in bodies)
        if "body_names" in variables:
            found.body_names = stripped(variables["body_names"])
    return found


def _table(path: str, variables: Mapping[str, Variable], name: str, size: int) -> np.ndarray:
    values = variables[name].read()
    if values.shape[1] != size:
        raise UserError(f"{path}: {name!r} has shape {values.shape}, expected (frames, {size})")
    return values


def _by_joint(path: str, layout: str, variables: Mapping[str, Variable]) -> Recording | None:
    """Opens one variable [frame] per joint, q_NAME beside its velocity dq_NAME."""
    angles = [
        name
        for name, one in variables.items()
        if name.startswith("q_") and f"d{name}" in variables and len(one.shape) == 1
    ]
    if len(angles) < 2 or len({variables[name].shape for name in angles}) > 1:
        return None
    qpos = np.stack([variables[name].read() for name in angles], axis=1)
    found = Recording(path, f"{layout}, a variable per joint", qpos, qpos_name=angles[0])
    found.joint_names = tuple(name.removeprefix("q_") for name in angles)
    found.has_root = False
    found.rate_hint = _rate_hint(qpos, [variables[f"d{name}"].read() for name in angles])
    return found


def _rate_hint(qpos: np.ndarray, velocities: list[np.ndarray]) -> float | None:
    """Returns the frames per second at which velocities agree with the poses' differences."""
    rows = slice(0, _MOST_HINT_FRAMES)
    moved = np.diff(qpos[rows], axis=0)
    speed = np.stack(velocities, axis=1)[rows]
    fast = np.abs(moved) > np.maximum(_FAST * np.abs(moved).max(axis=0, initial=0.0), 1e-9)
    ratios = 0.5 * (speed[1:] + speed[:-1])[fast] / moved[fast]
    rate = float(np.median(ratios)) if ratios.size else np.nan
    return float(f"{rate:.2g}") if rate > 0.0 else None


def _by_leg(path: str, layout: str, variables: Mapping[str, Variable]) -> Recording | None:
    """Opens flygym's angles [frame, leg, angle], with the legs' names and each angle's bodies and axis."""
    needed = ("joint_angles", "legs", "dofs_per_leg")
    if any(name not in variables for name in needed):
        return None
    angles = variables["joint_angles"].read()
    legs, dofs = stripped(variables["legs"]), np.reshape(variables["dofs_per_leg"].read(), (-1, 3))
    if angles.shape[1:] != (len(legs), len(dofs)):
        raise UserError(
            f"{path}: 'joint_angles' has shape {angles.shape}, expected (frames, {len(legs)}, "
            f"{len(dofs)}) for its 'legs' and 'dofs_per_leg'"
        )
    found = Recording(path, f"{layout} of flygym", angles.reshape(len(angles), -1))
    found.qpos_name, found.has_root = "joint_angles", False
    pairs = [(leg, *map(str, dof)) for leg in legs for dof in dofs]
    found.joint_names = tuple(_flygym_names(*pair)[0] for pair in pairs)
    found.other_names = (tuple(_flygym_names(*pair)[1] for pair in pairs),)
    found.notes = ("angles by leg, without the motion of the root",)
    return found


def _flygym_names(leg: str, parent: str, child: str, axis: str) -> tuple[str, str]:
    """Returns a joint's name in flygym 2 and in flygym 1."""
    above = "c_thorax" if parent == "thorax" else f"{leg}_{parent}"
    segment = {"trochanterfemur": "Femur"}.get(child, child.capitalize())
    return f"{above}-{leg}_{child}-{axis}", f"joint_{leg.upper()}{segment}{_AXES.get(axis, axis)}"


def _first(variables: Mapping[str, Variable], names: tuple[str, ...], rank: int) -> str | None:
    def fits() -> Iterator[str]:
        for name in names:
            if (
                name in variables
                and variables[name].is_number
                and len(variables[name].shape) == rank
            ):
                yield name

    return next(fits(), None)
