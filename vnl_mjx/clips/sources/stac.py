"""STAC output: HDF5 old and new, and the older pickles.

Fields: stac-mjx `io.py`. The fields of both are the same; a pickle holds the entries of the model
configuration beside them.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import yaml

from vnl_mjx.clips.columns import POSE, VELOCITY
from vnl_mjx.clips.recording import FrameArray, LazyFrames, Recording, cut
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, listing, texts
from vnl_mjx.clips.sources.options import Found, SourceOptions, check_qpos, make_recording
from vnl_mjx.clips.sources.restricted_pickle import read_plain_pickle
from vnl_mjx.errors import UserError

_BY_FRAME = ("qpos", "qvel", "xpos", "xquat", "kp_data", "marker_sites")
_SMALL = ("offsets", "kp_names", "names_qpos", "names_xpos")
_OLD_MARKER_SITES = "walker_body_sites"
_DATASETS = {
    **dict.fromkeys(POSE, "qpos"),
    **dict.fromkeys(VELOCITY, "qvel"),
    "body_positions": "xpos",
    "body_quaternions": "xquat",
}


def open_stac_hdf5(source: Hdf5Source, options: SourceOptions) -> Recording:
    """A STAC file; arrays by frame stay in the file."""
    fields = {name: source.frames(name) for name in _BY_FRAME}
    fields |= {name: source.small(name) for name in _SMALL}
    if fields["marker_sites"] is None:
        fields["marker_sites"] = source.frames(_OLD_MARKER_SITES)
    if fields["qpos"] is None:
        raise UserError(f"{source.path}: 'qpos' is empty, expected at least one frame")
    text = next(iter(texts(source.small("config")) or ()), None)
    needed = options.take_length is None
    config = _parse_config(source.path, text, f"{options.part}_length", needed)
    return _recording(source.path, "STAC HDF5", fields, config, options)


def open_stac_pickle(path: str, options: SourceOptions) -> Recording:
    """A STAC pickle, read whole: a dictionary of arrays and of model settings."""
    values = read_plain_pickle(Path(path))
    if "qpos" not in values:
        raise UserError(
            f"{path}: the pickle has no 'qpos'; found {listing(tuple(values))}: expected the "
            "output of stac-mjx"
        )
    fields: dict[str, Any] = {name: _numbers(path, name, values) for name in _BY_FRAME}
    fields |= {name: values.get(name) for name in _SMALL}
    if fields["marker_sites"] is None:
        fields["marker_sites"] = _numbers(path, _OLD_MARKER_SITES, values)
    if fields["qpos"] is None:
        raise UserError(f"{path}: 'qpos' is empty, expected at least one frame")
    config = {"model": values, "stac": {}}
    if "N_FRAMES_PER_CLIP" in values:
        config["stac"] = {"n_frames_per_clip": values["N_FRAMES_PER_CLIP"]}
    return _recording(path, "STAC pickle", fields, config, options)


def _numbers(path: str, name: str, values: Mapping[str, Any]) -> np.ndarray | None:
    """An entry as an array of numbers, None where it is absent or empty."""
    value = values.get(name)
    if value is None:
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # rows of different lengths
        array = np.asarray("")
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path}: {name!r} holds {type(value).__name__}, expected numbers by frame")
    return array if array.size and array.ndim else None


def _recording(
    path: str,
    layout: str,
    fields: Mapping[str, Any],
    config: dict[str, dict],
    options: SourceOptions,
) -> Recording:
    found = Found(path, layout, fields["qpos"], radians=True)
    check_qpos(found)
    num_frames, num_columns = found.qpos.shape
    names = texts(fields["names_qpos"])
    if names:
        joint_names, has_root = _joint_names(path, names, num_columns)
        found.joint_names, found.has_root = joint_names, has_root
    elif fields["qvel"] is not None:  # a quaternion has one component more than its velocity
        found.has_root = fields["qvel"].shape[-1] < num_columns
    model = config.get("model", {})
    given = options.take_length
    length = given or _clip_length(path, config, f"{options.part}_length")
    found.take_lengths = cut(num_frames, length or num_frames)
    part = options.part if given else "clip"
    found.take_names = _clip_names(config, len(found.take_lengths), part)
    if not given and length and num_frames % length:
        found.notes.append(f"the last take has {num_frames % length} frames, not {length}")
    fps = _finite(model.get("RENDER_FPS"))
    if options.rate_hz is None and fps is not None:
        found.notes.append(f"STAC files have no frame rate (RENDER_FPS, of its videos, is {fps:g})")
    body_names = texts(fields["names_xpos"]) or None
    found.fields = {
        "scale": _finite(model.get("SCALE_FACTOR")),
        "body_names": body_names,
        "stored_xpos": _by_body(path, "xpos", fields, num_frames, body_names, 3),
        "stored_xquat": _by_body(path, "xquat", fields, num_frames, body_names, 4),
        "stored_qvel": _qvel(path, fields["qvel"], num_frames),
        "trust_velocities": False,
        "datasets": _DATASETS,
        **_keypoints(path, fields, model, num_frames, found.notes),
    }
    return make_recording(found, options)


def _finite(value: object) -> float | None:
    """A setting that is a number, None for anything else."""
    if not isinstance(value, int | float | np.number):
        return None
    try:
        number = float(value)
    except (TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _by_body(
    path: str,
    name: str,
    fields: Mapping[str, Any],
    num_frames: int,
    body_names: tuple[str, ...] | None,
    size: int,
) -> FrameArray | None:
    values: FrameArray | None = fields[name]
    if values is None:
        return None
    num_bodies = values.shape[1] if len(values.shape) > 1 else 0
    if values.shape != (num_frames, num_bodies, size):
        expected = f"({num_frames} frames, bodies, {size})"
        raise UserError(f"{path}: {name!r} has shape {values.shape}, expected {expected}")
    if body_names is not None and len(body_names) != num_bodies:
        raise UserError(
            f"{path}: {len(body_names)} body names in 'names_xpos' for the {num_bodies} of {name!r}"
        )
    return values


def _qvel(path: str, values: FrameArray | None, num_frames: int) -> FrameArray | None:
    if values is not None and (len(values.shape) != 2 or len(values) != num_frames):
        raise UserError(
            f"{path}: 'qvel' has shape {values.shape}, expected ({num_frames} frames, columns)"
        )
    return values


def _keypoints(
    path: str, fields: Mapping[str, Any], model: Mapping[str, Any], num_frames: int, notes: list
) -> dict[str, Any]:
    """Fields of the recording about keypoints."""
    names = texts(fields["kp_names"])
    if not names or fields["kp_data"] is None:
        return {}
    shape = (num_frames, len(names), 3)
    found: dict[str, Any] = {"keypoint_names": names}
    for name, key in (("keypoints", "kp_data"), ("marker_sites", "marker_sites")):
        found[name] = _as_points(path, key, fields[key], shape)
    offsets = fields["offsets"]
    if offsets is not None:
        array = np.asarray(offsets)
        if array.dtype.kind not in "fiu" or array.size != 3 * len(names):
            raise UserError(
                f"{path}: 'offsets' has shape {array.shape}, expected ({len(names)} keypoints, 3)"
            )
        found["keypoint_offsets"] = array.reshape(len(names), 3).astype(np.float64)
    pairs = model.get("KEYPOINT_MODEL_PAIRS")
    pairs = pairs if isinstance(pairs, Mapping) else {}
    bodies = tuple(pairs.get(name) for name in names)
    if all(isinstance(body, str) for body in bodies):
        found["keypoint_bodies"] = bodies
    else:
        notes.append("the file does not say which bodies the keypoints' markers sit on")
    return found


def _as_points(
    path: str, name: str, values: FrameArray | None, shape: tuple[int, ...]
) -> FrameArray | None:
    """Points [frame, keypoint, 3]; STAC stores recorded ones as [frame, 3 * keypoint]."""
    if values is None:
        return None
    if values.shape not in (shape, (shape[0], 3 * shape[1])):
        raise UserError(
            f"{path}: {name!r} has shape {values.shape}, expected {shape} or "
            f"{(shape[0], 3 * shape[1])} for the {shape[1]} keypoints of 'kp_names'"
        )

    def read(first: int, stop: int) -> np.ndarray:
        return np.asarray(values[first:stop]).reshape(stop - first, *shape[1:])

    return values if values.shape == shape else LazyFrames(shape, values.dtype, read)


def _parse_config(path: str, text: str | None, option: str, needed: bool) -> dict[str, dict]:
    """Groups of a STAC configuration, {} where there is none or (unless needed) it is unreadable.

    Args:
        path: of the file, for messages.
        text: YAML, or None.
        option: what the user can give in its place, for messages.
        needed: refuse what is not a STAC configuration.
    """
    if not text:
        return {}
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        config = None
    if isinstance(config, dict):
        return {k: v for k, v in config.items() if isinstance(v, dict)}
    if needed:
        raise UserError(f"{path}: 'config' is not the YAML that stac-mjx writes; give {option}")
    return {}


def _clip_length(path: str, config: dict[str, dict], option: str) -> int | None:
    """Frames per clip, None where the configuration does not say."""
    frames = config.get("stac", {}).get("n_frames_per_clip")
    if frames is None:
        return None
    is_whole = isinstance(frames, int | np.integer) and not isinstance(frames, bool)
    if not is_whole or frames < 1:
        # a nested value could be endless when it is written out
        shown = repr(frames)[:40] if np.isscalar(frames) else type(frames).__name__
        raise UserError(
            f"{path}: config stac.n_frames_per_clip is {shown}, expected at least 1; give {option}"
        )
    return int(frames)


def _clip_names(config: dict[str, dict], num_clips: int, part: str) -> tuple[str, ...]:
    """One name per clip: the configuration's where it has as many, else "clip_0" or "take_0", ..."""
    order = config.get("model", {}).get("snips_order")
    order = order if isinstance(order, list) else []
    if len(order) == num_clips and all(isinstance(name, str) for name in order):
        # entries are files of the machine where they were made: keep their stems only
        return tuple(PurePosixPath(PureWindowsPath(n).as_posix()).stem for n in order)
    return tuple(f"{part}_{clip}" for clip in range(num_clips))


def _joint_names(path: str, names: Sequence[str], num_columns: int) -> tuple[tuple[str, ...], bool]:
    """Names of the joint columns of qpos, and whether root columns stand before them.

    Args:
        path: of the file, for messages.
        names: `names_qpos`: one per column; those of a free root joint are its name seven times.
        num_columns: of qpos.
    """
    has_root = len(names) >= 7 and len(set(names[:7])) == 1
    if len(names) != num_columns:
        raise UserError(
            f"{path}: 'names_qpos' has {len(names)} names starting {tuple(names[:2])}, expected "
            f"{num_columns}: the root joint's seven times, then one per joint"
        )
    return tuple(names[7:] if has_root else names), has_root
