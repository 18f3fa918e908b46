"""Matches the stored body poses of a recording to a walker and compares them."""

import numpy as np

from vnl_mjx.clips.body_size import body_length
from vnl_mjx.clips.columns import is_usable
from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.clips.recording import Recording, reorder, with_nearest
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.walker import Walker

SAMPLES = 200  # frames whose stored body poses are compared with the walker's
_SAME_M = 1e-5
_OTHER_ORDER = 0.1  # body lengths, from which on joints are in another order
_FLOOR = "floor"  # body of track-mjx's model that STAC's model does not have


def match_bodies(
    recording: Recording, walker: Walker, num_rows: int
) -> tuple[list[int], list[int]]:
    """Returns the walker's body ids that stored body poses hold, and the row of each, or UserError."""
    names, root = _stored_names(recording, walker, num_rows), walker.body_names[walker.root_body]
    if names is None:
        raise UserError(
            f"{recording.path}: body poses of {num_rows} bodies without names, expected "
            f"{len(walker.body_names)} as the walker has; add the dataset 'names_xpos' to match by "
            "name"
        )
    if len(names) != num_rows:
        raise UserError(
            f"{recording.path}: {len(names)} body names for the {num_rows} bodies of the body poses"
        )
    row_of = {name: row for row, name in enumerate(names)}
    ids = [body for body, name in enumerate(walker.body_names) if name in row_of]
    if root not in row_of:
        raise UserError(
            f"{recording.path}: the body names do not match the walker's; not in the file: "
            f"{with_nearest([root], names)}"
        )
    return ids, [row_of[walker.body_names[body]] for body in ids]


def _stored_names(recording: Recording, walker: Walker, num_rows: int) -> tuple[str, ...] | None:
    """Returns the names of body poses' rows; without names, the walker's if the number agrees, else None."""
    bodies = walker.body_names
    fitting = (bodies, tuple(name for name in bodies if name != _FLOOR), bodies[1:])
    same = next((names for names in fitting if len(names) == num_rows), None)
    return same if recording.body_names is None else recording.body_names


def compare_stored_poses(
    recording: Recording, walker: Walker, kinematics: Kinematics, order: np.ndarray | None
) -> str | None:
    """Returns a line on how far stored body positions are from the walker's; None if none are stored.

    `order` lists the columns of the file's joints in the walker's order; None if they are in it already.

    Raises:
        UserError: joints without names are in another order than the walker's, as body positions tell.
    """
    stored = recording.stored_xpos
    if stored is None:
        return None
    names = _stored_names(recording, walker, stored.shape[1]) or ()
    shared = [name for name in names if name in walker.body_names]
    if not shared or len(names) != stored.shape[1]:
        return f"body positions of {stored.shape[1]} unnamed bodies: not compared"
    step = max(recording.num_frames // SAMPLES, 1)
    rows = range(0, recording.num_frames, step)
    qpos = np.array([recording.qpos[row] for row in rows], np.float64)
    layout = walker.layout
    reorder(qpos, layout.joint_qpos, order)
    good = is_usable(qpos).all(axis=1)
    if root := layout.root:
        norms = np.linalg.norm(qpos[:, root.quaternion], axis=1, keepdims=True)
        qpos[:, root.quaternion] /= np.maximum(norms, 1e-9)
    found = kinematics(qpos[good]).positions[:, [walker.body_names.index(n) for n in shared]]
    given = np.array([stored[row] for row, ok in zip(rows, good, strict=True) if ok])
    if not given.size:
        return None
    errors = np.linalg.norm(found - given[:, [names.index(n) for n in shared]], axis=-1)
    worst, body = float(np.nanmax(errors)), shared[int(np.argmax(np.nanmax(errors, axis=0)))]
    if worst <= _SAME_M:
        return "its body positions are the walker's"
    nameless = recording.usual_rate_hz is None and recording.joint_names is None
    if nameless and worst > _OTHER_ORDER * body_length(walker):
        raise UserError(
            f"{recording.path}: its joints have no names, and in the walker's order its body positions "
            f"differ by up to {1000 * worst:.0f} mm ({body}); give the order (Isaac Lab's is breadth "
            "first) as source_config.joint_names, or the MJCF of the recorded body"
        )
    hint = ""
    if walker.config.rescaling == "track_mjx" and walker.config.source == "rodent":
        hint = "; older STAC files are of walker_config.rescaling=dm_control"
    return (
        f"its body positions differ from the walker's by up to {1000 * worst:.2f} mm ({body}), and "
        f"were computed anew{hint}"
    )
