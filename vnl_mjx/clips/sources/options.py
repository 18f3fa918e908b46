"""What the user says about a recording, and what every reader does with it."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vnl_mjx.clips.container import ClipInfo
from vnl_mjx.clips.recording import ROOT_COLUMNS, FrameArray, LazyFrames, Recording, cut
from vnl_mjx.errors import UserError

DEFAULT_RATE_HZ = 50.0  # what track-mjx and vnl-playground assume of every clip file
_MOST_FRAMES = 2**31 - 1  # a year at 50 Hz; lengths of clips are int32
ANGLE_UNITS = ("radians", "degrees")


@dataclass(frozen=True)
class SourceOptions:
    """What overrides, or stands in for, what a file says.

    Attributes:
        rate_hz: frames per second.
        take_length: frames that belong together; takes are cut into so many.
        joint_names: of the joint columns, or of every column with the root's name seven times.
        angle_unit: of the joint columns of files that do not define it, one of `ANGLE_UNITS`.
        has_root: of the body, for files that do not say.
        part: what the user calls a take, for messages and names: "take" or "clip".
    """

    rate_hz: float | None = None
    take_length: int | None = None
    joint_names: tuple[str, ...] | None = None
    angle_unit: str = "radians"
    has_root: bool | None = None
    part: str = "take"

    def __post_init__(self) -> None:
        if self.rate_hz is not None:
            checked_rate(self.rate_hz, "rate_hz")
        if self.take_length is not None and self.take_length < 1:
            found = f"expected at least 1 frame, found {self.take_length}"
            raise UserError(f"{self.part}_length: {found}")
        if self.angle_unit not in ANGLE_UNITS:
            raise UserError(
                f"angle_unit: expected {' or '.join(ANGLE_UNITS)}, found {self.angle_unit!r}"
            )


@dataclass
class Found:
    """What a reader found in a file; `make_recording` checks it and applies the options.

    Attributes:
        path: as the user gave it.
        layout: kind of file.
        qpos: [frame, column]; its shape and type are checked here.
        qpos_name: what the file calls it.
        joint_names: of the joint columns (of all, where `has_root` is None).
        has_root: None where only the number of columns can tell.
        rate_hz: what the file says, a number above 0.
        take_lengths: [take], None where the file does not say.
        take_names: one per take, or none.
        info: one per take, or none.
        radians: the layout defines that angles are radians.
        degrees: the file itself says that angles are degrees.
        notes: for `Recording.notes`.
        fields: other fields of `Recording`.
    """

    path: str
    layout: str
    qpos: FrameArray
    qpos_name: str = "qpos"
    joint_names: tuple[str, ...] | None = None
    has_root: bool | None = None
    rate_hz: float | None = None
    take_lengths: np.ndarray | None = None
    take_names: tuple[str, ...] = ()
    info: tuple[ClipInfo, ...] = ()
    radians: bool = False
    degrees: bool = False
    notes: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)


def make_recording(found: Found, options: SourceOptions) -> Recording:
    """The recording of what was found, after the options.

    Raises:
        UserError: qpos is not numbers by frame and column, or the options do not fit it.
    """
    check_qpos(found)
    joint_names, has_root = _joints(found, options)
    lengths, names, info = _takes(found, options)
    if options.rate_hz is not None and found.rate_hz not in (None, options.rate_hz):
        found.notes.append(f"{options.rate_hz:g} Hz as given; the file says {found.rate_hz:g}")
    return Recording(
        path=found.path,
        qpos=_in_radians(found, options, has_root),
        rate_hz=options.rate_hz or found.rate_hz,
        take_lengths=lengths,
        take_names=names,
        joint_names=joint_names,
        info=info,
        has_root=has_root,
        layout=found.layout,
        # the layouts that define their angles' unit are stac-mjx's and track-mjx's, at 50 Hz
        usual_rate_hz=DEFAULT_RATE_HZ if found.radians else None,
        notes=tuple(found.notes),
        **found.fields,
    )


def check_qpos(found: Found) -> None:
    """Raises UserError for what is not numbers by frame and column."""
    place = f"{found.path}: {found.qpos_name!r}"
    shape, dtype = found.qpos.shape, found.qpos.dtype
    if dtype.kind not in "fiu":
        raise UserError(f"{place} holds {dtype}, expected numbers")
    if len(shape) != 2:
        raise UserError(f"{place} has shape {shape}, expected (frames, columns)")
    if 0 in shape:
        raise UserError(f"{place} is empty (shape {shape}), expected at least one frame")
    if shape[0] > _MOST_FRAMES:
        raise UserError(
            f"{place} declares {shape[0]:,} frames, more than there can be; is it damaged?"
        )


def checked_rate(value: Any, place: str) -> float:
    """Frames per second, or UserError naming `place`."""
    try:
        rate = float(np.asarray(value).reshape(()))
    except (TypeError, ValueError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        shown = np.array2string(np.asarray(value), threshold=4).splitlines()[0]
        raise UserError(f"{place}: expected a positive number of frames per second, found {shown}")
    return rate


def _joints(found: Found, options: SourceOptions) -> tuple[tuple[str, ...] | None, bool]:
    """Names of the joint columns, and whether root columns stand before them."""
    num_columns = found.qpos.shape[1]
    names, has_root, origin = found.joint_names, found.has_root, found.path
    if options.joint_names is not None:
        if names is not None and names != options.joint_names:
            found.notes.append("joint names as given, not the file's")
        names, origin = options.joint_names, "joint_names"
    if names and len(names) >= ROOT_COLUMNS and len(set(names[:ROOT_COLUMNS])) == 1:
        names, has_root = names[ROOT_COLUMNS:], True
    if has_root is None:
        has_root = options.has_root
    if has_root is None:
        has_root = num_columns > ROOT_COLUMNS and (names is None or len(names) != num_columns)
        if has_root and names is None:
            found.notes.append("columns 0 to 6 are taken for the root's position and quaternion")
    expected = num_columns - (ROOT_COLUMNS if has_root else 0)
    if names is not None and len(names) != expected:
        root = " after the root's seven" if has_root else ""
        raise UserError(
            f"{origin}: {len(names)} joint names for {found.qpos_name!r} of {found.path} with "
            f"{num_columns} columns, expected {expected}, one per column{root}"
        )
    return names, has_root


def _takes(
    found: Found, options: SourceOptions
) -> tuple[np.ndarray, tuple[str, ...], tuple[ClipInfo, ...]]:
    """Lengths, names and origins of the takes, cut as the options say."""
    num_frames = found.qpos.shape[0]
    if found.take_lengths is None:
        lengths = cut(num_frames, options.take_length or num_frames)
        return lengths, tuple(f"{options.part}_{take}" for take in range(len(lengths))), ()
    lengths = np.asarray(found.take_lengths)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any():
        raise UserError(f"{found.path}: lengths of takes must be whole numbers of at least 1")
    if lengths.sum() != num_frames:
        raise UserError(
            f"{found.path}: takes of {int(lengths.sum())} frames in all, expected the {num_frames} "
            f"of {found.qpos_name!r}"
        )
    names = found.take_names or tuple(f"take_{take}" for take in range(len(lengths)))
    if len(names) != len(lengths):
        raise UserError(f"{found.path}: {len(names)} names of takes for {len(lengths)} takes")
    if options.take_length is None:
        return lengths.astype(np.int64), names, found.info
    parts, part_names, infos = [], [], []
    for take, length in enumerate(lengths.tolist()):
        own = cut(length, options.take_length)
        parts.append(own)
        part_names += [
            f"{names[take]}_part_{p}" if len(own) > 1 else names[take] for p in range(len(own))
        ]
        if found.info and found.rate_hz:
            info, firsts = found.info[take], np.cumsum(own) - own
            infos += [
                replace(info, start_s=info.start_s + float(f) / found.rate_hz) for f in firsts
            ]
    return np.concatenate(parts).astype(np.int64), tuple(part_names), tuple(infos)


def _in_radians(found: Found, options: SourceOptions, has_root: bool) -> FrameArray:
    given = options.angle_unit == "degrees"
    if given and found.radians:
        raise UserError(
            f"angle_unit: {found.path} is {found.layout}, whose angles are radians; read it "
            "without angle_unit=degrees"
        )
    if not (given or found.degrees):
        return found.qpos
    qpos, first_joint = found.qpos, ROOT_COLUMNS if has_root else 0
    dtype = np.promote_types(qpos.dtype, np.float32)

    def read(first: int, stop: int) -> np.ndarray:
        values = np.array(qpos[first:stop], dtype)
        values[:, first_joint:] *= np.pi / 180.0
        return values

    found.notes.append("joints converted from degrees")
    return LazyFrames(qpos.shape, dtype, read)
