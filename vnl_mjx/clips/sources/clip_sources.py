"""Opens files that already hold clips, as recordings with one take per clip.

Layouts: track-mjx `io/load.py` (group `all_clips`, ReferenceClip) and our own (`clips/file.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.columns import POSE, VELOCITY, columns_of
from vnl_mjx.clips.container import FEATURES
from vnl_mjx.clips.file import ClipFile
from vnl_mjx.clips.recording import LazyFrames, Recording, checked_rate
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, listing, texts
from vnl_mjx.clips.sources.options import USUAL_RATE_HZ, SourceOptions, completed
from vnl_mjx.errors import UserError

ALL_CLIPS = "all_clips"
_FRAMES = (*POSE, *VELOCITY, "body_positions", "body_quaternions")
_SIZES = {"position": (3,), "quaternion": (4,), "velocity": (3,), "angular_velocity": (3,)}


def open_all_clips(source: Hdf5Source, options: SourceOptions) -> Recording:
    """Opens a file with the group `all_clips` of arrays [clip, frame, ...]."""
    features = {name: _clip_frames(source, f"{ALL_CLIPS}/{name}") for name in _FRAMES}
    missing = [f"{ALL_CLIPS}/{name}" for name in POSE if features[name] is None]
    if missing:
        raise UserError(
            f"{source.path}: {', '.join(missing)} missing or empty; found {listing(source.found())}"
        )
    first = source.dataset(f"{ALL_CLIPS}/position")
    clips, length = map(int, first.shape[:2]) if first is not None else (0, 0)
    names = texts(source.small("names")) or ()
    rate, free_root = source.small("rate_hz"), source.small("free_root")
    found = _found(
        source.path,
        "ReferenceClip HDF5 (all_clips)",
        features,
        True if free_root is None else bool(free_root),
    )
    found.joint_names = texts(source.small("joint_names"))
    if rate is not None:
        found.rate_hz = checked_rate(rate, f"{source.path}: attribute 'rate_hz'")
    found.take_lengths = np.full(clips, length)
    clip_names = tuple(f"clip_{clip}" for clip in range(clips))
    found.take_names = names if len(names) == clips else clip_names
    found.body_names = texts(source.small("body_names"))
    found.datasets = {name: f"{ALL_CLIPS}/{name}" for name in _FRAMES}
    return completed(found, options)


def open_own_clips(source: Hdf5Source, options: SourceOptions) -> Recording:
    """Opens a clip file of this package."""
    with source.reading():
        clips = ClipFile(source.file, source.path)
    features = {name: source.frames(f"features/{name}") for name in clips.stored}
    stored = {name: features.get(name) for name in _FRAMES}
    found = _found(source.path, "clips of vnl_mjx", stored, clips.free_root)
    names = clips.name_lists
    found.joint_names = names["joint_names"]
    found.rate_hz = checked_rate(clips.rate_hz, f"{source.path}: attribute 'rate_hz'")
    found.take_lengths, found.take_names = np.asarray(clips.lengths), clips.names
    found.info = clips.info
    ways = sorted({info.made_by for info in clips.info} - {""})
    found.made_by = ", ".join(ways) or None
    found.body_names, found.quality = names["body_names"], clips.quality
    found.features = {n: v for n, v in features.items() if n not in _FRAMES and v is not None}
    found.feature_rows = {
        "end_effectors": names["end_effector_names"],
        "appendages": names["appendage_names"],
        "contacts": names["foot_names"],
    }
    found.datasets = {name: f"features/{name}" for name in FEATURES}
    if any(info.mirrored for info in clips.info):
        found.notes += ("some clips are mirrored copies of others",)
    return completed(found, options)


def _clip_frames(source: Hdf5Source, name: str) -> LazyFrames | None:
    """Returns an array [clip, frame, ...] as frames one after another."""
    data = source.dataset(name)
    if data is None or not data.size:
        return None
    if data.ndim < 3:
        raise UserError(
            f"{source.path}: {name!r} has shape {data.shape}, expected (clips, frames, ...)"
        )
    clips, length = map(int, data.shape[:2])

    def read(data: h5py.Dataset, first: int, stop: int) -> np.ndarray:
        clip = first // length
        frames = data[clip : -(-stop // length)].reshape(-1, *data.shape[2:])
        return frames[first - clip * length : stop - clip * length]

    return source.frames(name, (clips * length, *data.shape[2:]), read)


def _found(
    path: str, layout: str, features: dict[str, LazyFrames | None], free_root: bool
) -> Recording:
    """Builds the recording of either layout; refuses features that do not fit together."""
    given: dict[str, Any] = {n: array for n, array in features.items() if array is not None}
    frames = len(given["position"])
    joints = given["joints"].shape[1:]
    rows = [array.shape[1:2] for n, array in given.items() if n.startswith("body_")]
    for name, array in given.items():
        if name.startswith("body_"):
            expected = (frames, *rows[0], 3 if name == "body_positions" else 4)
        else:
            expected = (frames, *(_SIZES[name] if name in _SIZES else joints))
        if array.shape != expected:
            raise UserError(
                f"{path}: {name!r} has shape {array.shape} over all clips, expected {expected}"
            )
    moving, pose = columns_of(VELOCITY, free_root), columns_of(POSE, free_root)
    return Recording(
        path,
        layout,
        _joined(given, pose),
        usual_rate_hz=USUAL_RATE_HZ,
        has_root=free_root,
        stored_xpos=given.get("body_positions"),
        stored_xquat=given.get("body_quaternions"),
        stored_qvel=_joined(given, moving) if given.keys() >= set(VELOCITY) else None,
    )


def _joined(features: Mapping[str, LazyFrames], names: Sequence[str]) -> LazyFrames:
    parts = [features[name] for name in names]
    if any(len(part.shape) != 2 for part in parts):
        return parts[-1]  # refused with its shape
    columns = sum(part.shape[1] for part in parts)

    def read(first: int, stop: int) -> np.ndarray:
        return np.concatenate([part[first:stop] for part in parts], axis=1)

    dtype = np.result_type(*(part.dtype for part in parts))
    return LazyFrames((len(parts[0]), columns), dtype, read)
