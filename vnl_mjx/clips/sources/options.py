"""Holds what the user says about a recording, and completes what a reader found."""

from dataclasses import asdict, dataclass, replace
from typing import get_args, get_type_hints

import numpy as np

from vnl_mjx.clips.recording import ROOT_COLUMNS, LazyFrames, Recording, checked_rate, cut
from vnl_mjx.clips.sources.conventions import Conventions
from vnl_mjx.config.preprocessing import SourceSection
from vnl_mjx.errors import UserError

USUAL_RATE_HZ = 50.0  # track-mjx and vnl-playground assume this rate for every clip file
# share of the sampling interval by which time stamps differ from a constant rate's: of round-off, and
# at most, so that no frame is missing
_REGULAR, _MOST_JITTER = 1e-3, 0.25
_MOST_FRAMES = 2**31 - 1  # a year at 50 Hz; lengths of clips are int32
_CONVENTIONS = {name: get_args(kind) for name, kind in get_type_hints(Conventions).items()}
_WORDS = {
    "quaternion_order": "quaternions are",
    "length_unit": "lengths are",
    "up_axis": "up axis is",
    "angle_unit": "angles are",
}


@dataclass(frozen=True)
class SourceOptions(SourceSection):
    """Overrides or completes what a file says."""

    has_root: bool | None = None  # of the body, for files that do not say
    part: str = "take"  # what the user calls a take, for messages and names: "take" or "clip"

    def __post_init__(self) -> None:
        if self.rate_hz is not None:
            checked_rate(self.rate_hz, "rate_hz")
        if self.take_length is not None and self.take_length < 1:
            found = f"expected at least 1 frame, found {self.take_length}"
            raise UserError(f"{self.part}_length: {found}")
        for name, known in _CONVENTIONS.items():
            if (value := getattr(self, name)) is not None and value not in known:
                raise UserError(f"{name}: expected {' or '.join(known)}, found {value!r}")


def completed(recording: Recording, options: SourceOptions) -> Recording:
    """Checks what a reader found in a file, and applies the options; UserError if they do not fit."""
    check_qpos(recording)
    _complete_joints(recording, options)
    _complete_takes(recording, options)
    rate = options.rate_hz
    if rate is not None and recording.rate_hz not in (None, rate):
        recording.notes += (f"{rate:g} Hz as given; the file says {recording.rate_hz:g}",)
    recording.rate_hz = rate or recording.rate_hz
    _complete_conventions(recording, options)
    return recording


def check_qpos(recording: Recording) -> None:
    """Raises UserError if an array does not hold numbers by frame and column."""
    place = f"{recording.path}: {recording.qpos_name!r}"
    shape, dtype = recording.qpos.shape, recording.qpos.dtype
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


def set_rate_of_times(found: Recording, name: str, times: np.ndarray) -> None:
    """Sets the rate of a recording from time stamps in seconds; notes their jitter.

    Raises:
        UserError: a stamp is so far from its place at a constant rate that frames may be missing.
    """
    times = np.asarray(times, np.float64)
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else np.nan
    if not (np.isfinite(step) and step > 0):
        raise UserError(
            f"{found.path}: timestamps of {name!r} do not increase; correct them, or give an array "
            "without them and source_config.rate_hz"
        )
    # over the whole recording, as single steps carry round-off
    whole = float(times[-1] - times[0]) / len(steps)
    jitter = float(np.abs(times - times[0] - whole * np.arange(len(times))).max())
    if not jitter <= _MOST_JITTER * step:
        worst = int(np.argmax(np.abs(steps - step)))
        raise UserError(
            f"{found.path}: timestamps of {name!r} are not regular: {steps[worst]:.6g} s after frame "
            f"{worst}, {step:.6g} s elsewhere; resample the poses to one rate first"
        )
    found.rate_hz = 1.0 / whole
    if jitter > _REGULAR * step:
        found.notes += (
            f"timestamps jitter by up to {1000 * jitter:.2g} ms: {found.rate_hz:.6g} Hz taken",
        )


def _complete_joints(recording: Recording, options: SourceOptions) -> None:
    """Decides the names of the joint columns, and whether root columns come before them."""
    num_columns = recording.qpos.shape[1]
    names, has_root, origin = recording.joint_names, recording.has_root, recording.path
    if options.joint_names:
        if names is not None and names != tuple(options.joint_names):
            recording.notes += ("joint names as given, not the file's",)
        names, origin = tuple(options.joint_names), "joint_names"
    if names and len(names) >= ROOT_COLUMNS and len(set(names[:ROOT_COLUMNS])) == 1:
        names, has_root = names[ROOT_COLUMNS:], True
    elif names and has_root is not False and len(names) == num_columns - ROOT_COLUMNS + 1:
        recording.notes += (f"the first name, {names[0]!r}, is taken for the root's joint",)
        names, has_root = names[1:], True
    if has_root is None:
        has_root = options.has_root
    if has_root is None:
        has_root = num_columns > ROOT_COLUMNS and (names is None or len(names) != num_columns)
        recording.root_guessed = names is None
        if has_root and names is None:
            recording.notes += ("columns 0 to 6 are taken for the root's position and quaternion",)
    expected = num_columns - (ROOT_COLUMNS if has_root else 0)
    if names is not None and len(names) != expected:
        root = " after the root's seven" if has_root else ""
        raise UserError(
            f"{origin}: {len(names)} joint names for {recording.qpos_name!r} of {recording.path} "
            f"with {num_columns} columns, expected {expected}, one per column{root}"
        )
    recording.joint_names, recording.has_root = names, has_root


def _complete_takes(recording: Recording, options: SourceOptions) -> None:
    """Decides lengths, names and origins of the takes, cut as the options say."""
    num_frames, lengths = recording.num_frames, np.asarray(recording.take_lengths)
    if not lengths.size:
        lengths = cut(num_frames, options.take_length or num_frames)
        recording.take_names = tuple(f"{options.part}_{take}" for take in range(len(lengths)))
        recording.take_lengths = lengths
        return
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any():
        raise UserError(f"{recording.path}: lengths of takes must be whole numbers of at least 1")
    if lengths.sum() != num_frames:
        raise UserError(
            f"{recording.path}: takes of {int(lengths.sum())} frames in all, expected the "
            f"{num_frames} of {recording.qpos_name!r}"
        )
    names = recording.take_names or tuple(f"take_{take}" for take in range(len(lengths)))
    if len(names) != len(lengths):
        raise UserError(f"{recording.path}: {len(names)} names of takes for {len(lengths)} takes")
    most = options.take_length or num_frames
    parts = [cut(length, most) for length in lengths.tolist()]
    if recording.info and recording.rate_hz:
        recording.info = tuple(
            replace(info, start_s=info.start_s + float(first) / recording.rate_hz)
            for info, own in zip(recording.info, parts, strict=True)
            for first in np.cumsum(own) - own
        )
    recording.take_names = tuple(
        f"{name}_part_{part}" if len(own) > 1 else name
        for name, own in zip(names, parts, strict=True)
        for part in range(len(own))
    )
    recording.take_lengths = np.concatenate(parts).astype(np.int64)


def _complete_conventions(recording: Recording, options: SourceOptions) -> None:
    """Decides the conventions, and converts poses when they are read."""
    given = {n: v for n in _CONVENTIONS if (v := getattr(options, n)) is not None}
    usual = asdict(Conventions())
    if recording.usual_rate_hz is not None:
        for name, value in given.items():
            if value != usual[name]:
                raise UserError(
                    f"{name}: {recording.path} is {recording.layout}, whose {_WORDS[name]} "
                    f"{usual[name]}; read it without {name}={value}"
                )
        recording.settled, recording.as_stored = frozenset(usual), recording.qpos
        return
    said = recording.conventions
    recording.settled = frozenset({*given, *said})
    for name in given.keys() & said.keys():
        if given[name] != said[name]:
            text = f"{_WORDS[name]} {given[name]} as given; the file says {said[name]}"
            recording.notes += (text,)
    chosen = Conventions(**(usual | dict(recording.supposed) | dict(said) | given))
    recording.conventions, stored = asdict(chosen), recording.qpos
    recording.as_stored = stored
    if chosen == Conventions():
        return
    recording.notes += chosen.changes()
    recording.stored_xpos = recording.stored_xquat = None  # in the file's conventions

    def read(first: int, stop: int) -> np.ndarray:
        return chosen.converted(np.asarray(stored[first:stop]), bool(recording.has_root))

    dtype = np.promote_types(stored.dtype, np.float32)
    recording.qpos = LazyFrames(stored.shape, dtype, read)
