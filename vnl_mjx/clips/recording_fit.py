"""How the stored body poses of a recording fit a walker."""

import numpy as np

from vnl_mjx.clips.kinematics import Kinematics
from vnl_mjx.clips.recording import Recording, reorder
from vnl_mjx.walkers.walker import Walker

_SAMPLES = 200
_SAME_M = 1e-5
_FLOOR = "floor"  # body of track-mjx's model that STAC's model does not have


def compare_stored_poses(
    recording: Recording, walker: Walker, kinematics: Kinematics, order: np.ndarray | None
) -> str | None:
    """One line on how far the stored body positions are from the walker's; None where there are none.

    `order` are the columns of the file's joints in the walker's order, None where they are in it.
    """
    stored, names = recording.stored_xpos, recording.body_names
    if stored is None:
        return None
    if names is None and stored.shape[1] == len(walker.body_names) - 1:
        names = tuple(name for name in walker.body_names if name != _FLOOR)
    names = names or ()
    shared = [name for name in names if name in walker.body_names]
    if not shared or len(names) != stored.shape[1]:
        return f"body positions of {stored.shape[1]} unnamed bodies: not compared"
    step = max(recording.num_frames // _SAMPLES, 1)
    rows = range(0, recording.num_frames, step)
    qpos = np.array([recording.qpos[row] for row in rows], np.float64)
    layout = walker.layout
    reorder(qpos, layout.joint_qpos, order)
    good = np.isfinite(qpos).all(axis=1)
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
    hint = ""
    if walker.config.rescaling == "track_mjx" and walker.config.source == "rodent":
        hint = "; older STAC files are of walker_config.rescaling=dm_control"
    return (
        f"its body positions differ from the walker's by up to {1000 * worst:.2f} mm ({body}), and "
        f"were computed anew{hint}"
    )
