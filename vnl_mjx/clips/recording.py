"""Represents a recording as its file has it: poses of one body, read lazily, before any conditioning.

`sources.open_recording` makes one from any file that the package reads.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.errors import UserError, nearest
from vnl_mjx.walkers.walker import Walker

ROOT_COLUMNS = 7  # root position 3, root quaternion 4


@dataclass(frozen=True)
class LazyFrames:
    """Reads and reshapes frames only when they are sliced."""

    shape: tuple[int, ...]  # of all frames
    dtype: np.dtype  # of what `read` gives
    # from a first frame and the one after the last to the array of those frames
    read: Callable[[int, int], np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: int | slice) -> np.ndarray:
        if isinstance(frames, slice):
            rows = range(*frames.indices(len(self)))
            if not rows:
                return np.empty((0, *self.shape[1:]), self.dtype)
            first, last = min(rows[0], rows[-1]), max(rows[0], rows[-1])
            values = self.read(first, last + 1)[:: abs(rows.step)]
            return values if rows.step > 0 else values[::-1]
        frame = range(len(self))[frames]
        return self.read(frame, frame + 1)[0]


FrameArray = np.ndarray | LazyFrames


@dataclass
class Recording:
    """Holds poses of one body over time, as stored in one file; a context manager that closes the file.

    Slice arrays along their first axis, the frames, rather than load them whole; they are valid until
    `close`. A reader fills in what its file says; `options.completed` checks that and adds the rest.
    """

    path: str  # as the user gave it, for messages
    layout: str  # kind of file, for tables
    # [frame, column] of numbers, in the file's own joint order; once `options.completed` has
    # converted them, in MuJoCo's conventions. With a root the columns are
    # root position (metres, world), root quaternion (w x y z), joints (radians); without one
    # they are joints only
    qpos: FrameArray
    qpos_name: str = "qpos"  # what the file calls it
    rate_hz: float | None = None  # frames per second; None where the file does not say
    # default rate of this kind of file, whose angles are then radians; None: there is
    # no default, and the unit of angles is unknown.
    usual_rate_hz: float | None = None
    # int [take]; frames that belong together without a break, in file order; their sum is the
    # number of frames
    take_lengths: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    take_names: tuple[str, ...] = ()  # one per take
    # names of the joint columns (without a root: of all columns); None if the file does not say
    joint_names: tuple[str, ...] | None = None
    # False for a body that is fixed to the world, without root columns in qpos; None
    # while this is unknown and the number of columns decides
    has_root: bool | None = None
    root_guessed: bool = False  # whether only the number of columns told that
    # further names of the same joints, in other models of the body
    other_names: tuple[tuple[str, ...], ...] = ()
    # by field of `Conventions`: what the file or its layout states; then what was applied
    conventions: Mapping[str, str] = field(default_factory=dict)
    # what such files usually have, which the poses have to confirm
    supposed: Mapping[str, str] = field(default_factory=dict)
    # the conventions that the file or the user states; the others need a look at the poses
    settled: frozenset[str] = frozenset()
    as_stored: FrameArray | None = None  # qpos before its conversion
    rate_hint: float | None = None  # frames per second that the file's velocities agree with
    # [frame, keypoint, 3], recorded marker positions in the world, metres
    keypoints: FrameArray | None = None
    keypoint_names: tuple[str, ...] = ()  # one per keypoint
    # body that each keypoint's marker sits on; () where the file does not say
    keypoint_bodies: tuple[str, ...] = ()
    # [keypoint, 3], each marker in that body's frame, metres
    keypoint_offsets: np.ndarray | None = None
    # [frame, keypoint, 3], fitted marker positions in the world, metres
    marker_sites: FrameArray | None = None
    scale: float | None = None  # scale of the fitted model, if the file says
    notes: tuple[str, ...] = ()  # what was assumed, for tables
    # How synthetic motion was made; None for recorded motion.
    made_by: str | None = None
    # names of the rows of stored_xpos and stored_xquat, if the file says
    body_names: tuple[str, ...] | None = None
    # [frame, body, 3], body positions that the file holds, metres, world
    stored_xpos: FrameArray | None = None
    # [frame, body, 4], body orientations that the file holds, w x y z, world
    stored_xquat: FrameArray | None = None
    # [frame, nv], velocities that the file holds, as MuJoCo's qvel
    stored_qvel: FrameArray | None = None
    trust_velocities: bool = True  # keep (and note) velocities that disagree with the poses
    # [frame, ...] by name, further features of `ReferenceFrames` that the file holds
    features: Mapping[str, FrameArray] = field(default_factory=dict)
    # names of the rows of such features, if any
    feature_rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # a feature's name in the file, for messages
    datasets: Mapping[str, str] = field(default_factory=dict)
    info: tuple[ClipInfo, ...] = ()  # one per take, or none
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)  # measures [take] by name
    close: Callable[[], None] = lambda: None  # closes the file; may be called more than once

    @property
    def num_frames(self) -> int:
        """Frames of all takes."""
        return self.qpos.shape[0]

    @property
    def take_rows(self) -> list[slice]:
        """Rows of each take's frames."""
        stops = np.cumsum(self.take_lengths, dtype=np.int64).tolist()
        return [
            slice(stop - n, stop) for stop, n in zip(stops, self.take_lengths.tolist(), strict=True)
        ]

    @property
    def num_joints(self) -> int:
        """Columns of qpos after the root's."""
        return self.qpos.shape[1] - (ROOT_COLUMNS if self.has_root else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def checked_rate(value: Any, place: str) -> float:
    """Returns the frames per second, or raises UserError naming `place`."""
    try:
        rate = float(np.asarray(value).reshape(()))
    except (TypeError, ValueError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        shown = np.array2string(np.asarray(value), threshold=4).splitlines()[0]
        raise UserError(f"{place}: expected a positive number of frames per second, found {shown}")
    return rate


def cut(num_frames: int, length: int) -> np.ndarray:
    """Returns lengths, int32 [part], of `num_frames` cut every `length`; the last may be shorter."""
    full, rest = divmod(num_frames, length)
    return np.array([length] * full + [rest] * (rest > 0), np.int32)


def match_joints(
    recording: Recording, walker: Walker, missing: str = "refuse"
) -> tuple[np.ndarray | None, str | None]:
    """Puts the joint columns of a recording in the walker's order.

    Args:
        recording: whose names, or number of columns, tell its joints.
        walker: whose joints are expected.
        missing: "rest" adds joints that the recording lacks by name, and a root that it lacks, at the
            walker's qpos0; its columns are then the walker's.

    Returns:
        int [joint], for each joint of the walker its column among the recording's joint columns, or
        None where they are already in order; and a note for tables, None where names agree as they are.

    Raises:
        UserError: the recording is of another body.
    """
    layout, num_columns = walker.layout, recording.qpos.shape[1]
    if recording.root_guessed and num_columns == layout.num_joints:
        recording.has_root, recording.as_stored = False, None
    given = f"{recording.path}: {num_columns} columns of qpos"
    names = _own_names(recording, walker)
    fix = "give the MJCF of the recorded body (walker_config.mjcf_path=PATH)"
    if recording.has_root and not layout.free_root:
        raise UserError(
            f"{given} with a free root's first, expected {layout.num_joints} joints for this "
            f"walker, which has no free root: {fix}, or the joints' names "
            "(source_config.joint_names) if the columns are joints only"
        )
    only_joints = not recording.has_root and num_columns == layout.num_joints
    if missing == "rest" and (names or only_joints):
        return _add_missing(recording, walker, names or walker.joint_names)
    if layout.free_root and not recording.has_root:
        cause = f"the recording is of another body; {fix}"
        if set(names) <= set(walker.joint_names) if names else only_joints:
            cause = (
                "the root's motion is missing; add it, or hold the root still "
                "(source_config.missing_joints=rest), also estimate it from the feet "
                f"(conditioning_config.root=from_feet), or {fix}"
            )
        raise UserError(
            f"{given} and no free root, expected {ROOT_COLUMNS} of a root and {layout.num_joints} "
            f"joints for this walker: {cause}"
        )
    if names is None and recording.num_joints != layout.num_joints:
        if recording.num_frames == layout.nq:
            fix = "or its table is transposed: store frames as rows"
        root = f"root pose {ROOT_COLUMNS}, " if layout.free_root else ""
        raise UserError(
            f"{given}, expected {layout.nq} for this walker ({root}joints {layout.num_joints}): "
            f"the recording is of another body; {fix}"
        )
    if names is None:
        return None, "no joint names: the columns are taken to be in the walker's order"
    order = joint_order(recording.path, names, walker.joint_names)
    return (None, None) if order is None else (np.array(order), "joints reordered by name")


def _own_names(recording: Recording, walker: Walker) -> tuple[str, ...] | None:
    """Returns the names of the recording's joints that most of the walker's joints have."""
    if recording.joint_names is None:
        return None
    known = set(walker.joint_names)
    every = (recording.joint_names, *recording.other_names)
    return max(every, key=lambda names: len(known & set(names)))


def _add_missing(
    recording: Recording, walker: Walker, names: tuple[str, ...]
) -> tuple[None, str | None]:
    """Gives a recording the walker's columns; those that it lacks are at rest."""
    column_of = {name: column for column, name in enumerate(names)}
    if unknown := [name for name in names if name not in walker.joint_names]:
        raise UserError(
            f"{recording.path}: {len(unknown)} joints are not in the walker: "
            f"{with_nearest(unknown, walker.joint_names)}; give the MJCF of the recorded body"
        )
    stored, rest, layout = recording.qpos, walker.model.qpos0, walker.layout
    lacking = [name for name in walker.joint_names if name not in column_of]
    own = [row for row, name in enumerate(walker.joint_names) if name in column_of]
    first = ROOT_COLUMNS if recording.has_root else 0
    source = [first + column_of[walker.joint_names[row]] for row in own]
    target = [layout.joint_qpos.start + row for row in own]
    if layout.free_root and recording.has_root:
        source, target = [*range(first), *source], [*range(first), *target]

    def read(start: int, stop: int) -> np.ndarray:
        values = np.tile(rest, (stop - start, 1))
        values[:, target] = np.asarray(stored[start:stop])[:, source]
        return values

    recording.qpos = LazyFrames((len(stored), layout.nq), np.dtype(np.float64), read)
    order = "joints matched by name"
    if recording.joint_names is None:
        order = "no joint names: the columns are taken to be in the walker's order"
    notes = [order]
    if layout.free_root and not recording.has_root:
        notes.append("no root in the file: held still")
    if lacking:
        shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" * (len(lacking) > 3))
        notes.append(f"{len(lacking)} joints that the file lacks held at rest: {shown}")
    return None, "; ".join(notes)


def reorder(values: np.ndarray, joints: slice, order: np.ndarray | None) -> None:
    """Puts the joint columns of qpos or qvel [frame, column] in the walker's order, in place."""
    if order is not None:
        values[:, joints] = values[:, joints][:, order]


def joint_order(path: str, names: Sequence[str], expected: Sequence[str]) -> list[int] | None:
    """Returns the place of each expected joint in `names`; None if both agree; UserError on a mismatch."""
    if tuple(names) == tuple(expected):
        return None
    columns = {name: column for column, name in enumerate(names)}
    missing = [name for name in expected if name not in columns]
    if missing or len(names) != len(expected):
        unknown = [name for name in columns if name not in set(expected)]
        raise UserError(
            f"{path}: the joint names do not match the walker's; not in the file: "
            f"{with_nearest(missing, names)}; not in the walker: "
            f"{with_nearest(unknown, expected)}; found {len(names)} names, expected the "
            f"walker's {len(expected)} joints, once each"
            + (
                ""
                if unknown
                else "; source_config.missing_joints=rest holds those that are missing"
            )
        )
    return [columns[name] for name in expected]


def with_nearest(names: Sequence[str], known: Sequence[str], most: int = 3) -> str:
    """Lists names for a message, each with the nearest known name."""
    parts = []
    for name in names[:most]:
        near = nearest(name, known)
        parts.append(f"{name!r}" + (f" (nearest: {near!r})" if near else ""))
    more = len(names) - most
    return ", ".join(parts) + (f" and {more} more" if more > 0 else "") if parts else "none"
