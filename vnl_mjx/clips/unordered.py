"""What was read of a clip file, before it is put in a walker's order, and its checks."""

from dataclasses import dataclass, field

import numpy as np

from vnl_mjx.clips.container import ClipInfo, clip_starts
from vnl_mjx.errors import UserError

_NORM_TOLERANCE = 1e-5  # unit to float32 round-off; left as stored, so that copies are exact
_ZERO_NORM = 1e-3


@dataclass
class UnorderedClips:
    """What was read of one file, in the file's own order.

    Attributes:
        path: as the user gave it, for messages.
        features: arrays by the names of `FEATURES`, [frame, ...]; those that the file has.
        datasets: dataset name of each feature, for messages.
        lengths: [clip], frames per clip; their sum is the number of frames.
        clip_names: one per clip.
        joint_names: of the columns of joints, where the file tells.
        body_names: of the rows of body_positions, where the file tells.
        rate_hz: frames per second, where the file tells.
        trust_velocities: keep velocities that disagree with the poses (and say so).
        notes: collected for `ReferenceClips.notes`.
        info: one per clip, or none.
        free_root: whether the poses are of a body with a free root.
    """

    path: str
    features: dict[str, np.ndarray]
    datasets: dict[str, str]
    lengths: np.ndarray
    clip_names: tuple[str, ...]
    joint_names: tuple[str, ...] | None
    body_names: tuple[str, ...] | None
    rate_hz: float
    trust_velocities: bool
    notes: list[str] = field(default_factory=list)
    info: tuple[ClipInfo, ...] = ()
    free_root: bool = True


def check_root(raw: UnorderedClips, free_root: bool) -> None:
    """Raises UserError for poses with a free root where the walker has none, or the reverse."""
    if raw.free_root != free_root:
        words = {True: "a body with a free root", False: "a body without a free root"}
        raise UserError(
            f"{raw.path}: expected poses of {words[free_root]}, as the walker is, found those of "
            f"{words[raw.free_root]}; give the MJCF of the recorded body"
        )


def check_shapes(raw: UnorderedClips, num_joints: int) -> None:
    """Raises UserError for the first feature whose shape is not that of `ReferenceFrames`."""
    num_frames = int(raw.lengths.sum())
    sizes = {"position": 3, "quaternion": 4, "velocity": 3, "angular_velocity": 3}
    sizes["center_of_mass"] = 3
    for name, array in raw.features.items():
        if name.startswith("body_"):  # how many bodies there are is compared later, by name
            num_rows = raw.features.get("body_positions", array).shape[1:2]
            expected = (num_frames, *num_rows, 3 if name == "body_positions" else 4)
        elif name in ("end_effectors", "appendages", "contacts"):  # only our own files have them
            expected = (num_frames, *array.shape[1:])
        else:
            expected = (num_frames, sizes.get(name, num_joints))
        if array.shape != expected:
            raise UserError(
                f"{raw.path}: {raw.datasets[name]!r} has shape {array.shape} over all clips, "
                f"expected {expected} for a walker with {num_joints} joints"
            )


def check_finite(raw: UnorderedClips) -> None:
    """Raises UserError for NaN or infinity, with the first place."""
    for name, array in raw.features.items():
        bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if bad.any():
            row = int(np.argmax(bad))
            raise UserError(
                f"{raw.path}: {raw.datasets[name]!r} holds NaN or infinity in "
                f"{_place(raw, row)} ({int(bad.sum())} such frames); "
                "repair or leave out that stretch of the recording"
            )


def unit_quaternions(raw: UnorderedClips, name: str) -> np.ndarray:
    """The quaternions of feature `name`, unit; raises UserError where one is nearly zero."""
    stored = raw.features[name]
    norms = np.linalg.norm(stored.astype(np.float64), axis=-1)
    near_zero = norms < _ZERO_NORM
    if near_zero.any():
        row = int(np.argwhere(near_zero)[0, 0])
        raise UserError(
            f"{raw.path}: {raw.datasets[name]!r} holds a quaternion of norm "
            f"{norms[near_zero][0]:.2g} in {_place(raw, row)}, "
            "expected unit quaternions (w x y z)"
        )
    off = np.abs(norms - 1.0) > _NORM_TOLERANCE
    if not off.any():
        return stored
    raw.notes.append(f"{int(off.sum())} quaternions of {raw.datasets[name]} normalised")
    unit = stored.copy()
    unit[off] = stored[off] / norms[off][:, None]
    return unit


def _place(raw: UnorderedClips, row: int) -> str:
    starts = clip_starts(raw.lengths)
    clip = int(np.searchsorted(starts, row, side="right")) - 1
    return f"clip {clip} ({raw.clip_names[clip]!r}), frame {row - int(starts[clip])}"
