"""Opens STAC output: HDF5 of both layouts, and the older pickles.

Fields: stac-mjx `io.py`. The fields of both are the same; a pickle holds the entries of the model
configuration beside them.
"""

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import yaml

from vnl_mjx.clips.columns import POSE, VELOCITY
from vnl_mjx.clips.recording import ROOT_COLUMNS, FrameArray, LazyFrames, Recording, cut
from vnl_mjx.clips.sources.arrays import open_pickle_of_variables
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, texts
from vnl_mjx.clips.sources.options import (
    USUAL_RATE_HZ,
    SourceOptions,
    check_qpos,
    checked_rate,
    completed,
)
from vnl_mjx.clips.sources.restricted_pickle import read_plain_pickle
from vnl_mjx.errors import UserError
from vnl_mjx.parsing import check_yaml

_OLD_MARKER_SITES = "walker_body_sites"
_BY_FRAME = ("qpos", "qvel", "xpos", "xquat", "kp_data", "marker_sites", _OLD_MARKER_SITES)
# The last is of `vnl-mjx fit`; stac-mjx writes no rate.
_SMALL = ("offsets", "kp_names", "names_qpos", "names_xpos", "rate_hz")
_DATASETS = {
    **dict.fromkeys(POSE, "qpos"),
    **dict.fromkeys(VELOCITY, "qvel"),
    "body_positions": "xpos",
    "body_quaternions": "xquat",
}


def open_stac_hdf5(source: Hdf5Source, options: SourceOptions) -> Recording:
    """Opens a STAC file; reads arrays slice by slice."""
    fields: dict[str, Any] = {name: source.frames(name) for name in _BY_FRAME}
    fields |= {name: source.small(name) for name in _SMALL}
    text = next(iter(texts(source.small("config")) or ()), None)
    needed = options.take_length is None
    config = _parse_config(source.path, text, f"{options.part}_length", needed)
    return _recording(source.path, "STAC HDF5", fields, config, options)


def open_stac_pickle(path: str, options: SourceOptions) -> Recording:
    """Reads a STAC pickle whole: a dictionary of arrays and of model settings."""
    values = read_plain_pickle(Path(path))
    if "qpos" not in values:
        return open_pickle_of_variables(path, values, options)
    fields: dict[str, Any] = {name: _numbers(path, name, values) for name in _BY_FRAME}
    fields |= {name: values.get(name) for name in _SMALL}
    config = {"model": values, "stac": {}}
    if "N_FRAMES_PER_CLIP" in values:
        config["stac"] = {"n_frames_per_clip": values["N_FRAMES_PER_CLIP"]}
    return _recording(path, "STAC pickle", fields, config, options)


def _numbers(path: str, name: str, values: Mapping[str, Any]) -> np.ndarray | None:
    """Returns an entry as an array of numbers; None if it is absent or empty."""
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
    if fields["qpos"] is None:
        raise UserError(f"{path}: 'qpos' is empty, expected at least one frame")
    found = Recording(path, layout, fields["qpos"], usual_rate_hz=USUAL_RATE_HZ)
    check_qpos(found)
    num_frames, num_columns = found.qpos.shape
    names, qvel = texts(fields["names_qpos"]), fields["qvel"]
    if names:
        if len(names) != num_columns:
            raise UserError(
                f"{path}: 'names_qpos' has {len(names)} names starting {tuple(names[:2])}, "
                f"expected {num_columns}: the root joint's seven times, then one per joint"
            )
        found.has_root = len(names) >= ROOT_COLUMNS and len(set(names[:ROOT_COLUMNS])) == 1
        found.joint_names = names[ROOT_COLUMNS:] if found.has_root else names
    elif qvel is not None:  # a quaternion has one component more than its velocity
        found.has_root = qvel.shape[-1] < num_columns
    model = config.get("model", {})
    given = options.take_length
    length = given or _clip_length(path, config, f"{options.part}_length")
    found.take_lengths = cut(num_frames, length or num_frames)
    part = options.part if given else "clip"
    found.take_names = _clip_names(config, len(found.take_lengths), part)
    if not given and length and num_frames % length:
        found.notes += (f"the last take has {num_frames % length} frames, not {length}",)
    if fields["rate_hz"] is not None:
        found.rate_hz = checked_rate(fields["rate_hz"], f"{path}: 'rate_hz'")
    fps = _finite(model.get("RENDER_FPS"))
    if found.rate_hz is None and options.rate_hz is None and fps is not None:
        found.notes += (f"STAC files have no frame rate (RENDER_FPS, of its videos, is {fps:g})",)
    found.scale = _finite(model.get("SCALE_FACTOR"))
    found.body_names = texts(fields["names_xpos"]) or None
    found.stored_xpos = _by_body(found, "xpos", fields["xpos"], 3)
    found.stored_xquat = _by_body(found, "xquat", fields["xquat"], 4)
    if qvel is not None:
        fits = len(qvel.shape) == 2 and len(qvel) == num_frames
        _check_shape(path, "qvel", qvel.shape, fits, f"({num_frames} frames, columns)")
    found.stored_qvel, found.trust_velocities, found.datasets = qvel, False, _DATASETS
    _add_keypoints(found, fields, model)
    return completed(found, options)


def _check_shape(
    path: str, name: str, shape: tuple[int, ...], fits: bool, expected: object
) -> None:
    if not fits:
        raise UserError(f"{path}: {name!r} has shape {shape}, expected {expected}")


def _finite(value: object) -> float | None:
    """Returns a setting that is a number; None for anything else."""
    if not isinstance(value, int | float | np.number):
        return None
    try:
        number = float(value)
    except (TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _by_body(
    found: Recording, name: str, values: FrameArray | None, size: int
) -> FrameArray | None:
    """Checks poses of bodies and returns them, [frame, body, size]."""
    if values is None:
        return None
    num_frames, num_bodies = found.num_frames, (*values.shape, 0)[1]
    fits = values.shape == (num_frames, num_bodies, size)
    _check_shape(found.path, name, values.shape, fits, f"({num_frames} frames, bodies, {size})")
    names = found.body_names
    if names is not None and len(names) != num_bodies:
        raise UserError(
            f"{found.path}: {len(names)} body names in 'names_xpos' for the {num_bodies} of "
            f"{name!r}"
        )
    return values


def _add_keypoints(found: Recording, fields: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    names = texts(fields["kp_names"])
    if not names or fields["kp_data"] is None:
        return
    found.keypoint_names = names
    found.keypoints = _as_points(found, "kp_data", fields["kp_data"])
    sites = fields["marker_sites"]
    sites = fields[_OLD_MARKER_SITES] if sites is None else sites
    found.marker_sites = _as_points(found, "marker_sites", sites)
    if fields["offsets"] is not None:
        array = np.asarray(fields["offsets"])
        fits = array.dtype.kind in "fiu" and array.size == 3 * len(names)
        _check_shape(found.path, "offsets", array.shape, fits, f"({len(names)} keypoints, 3)")
        found.keypoint_offsets = array.reshape(len(names), 3).astype(np.float64)
    pairs = model.get("KEYPOINT_MODEL_PAIRS")
    pairs = pairs if isinstance(pairs, Mapping) else {}
    bodies = tuple(pairs.get(name) for name in names)
    if all(isinstance(body, str) for body in bodies):
        found.keypoint_bodies = bodies
    else:
        found.notes += ("the file does not say which bodies the keypoints' markers sit on",)


def _as_points(found: Recording, name: str, values: FrameArray | None) -> FrameArray | None:
    """Returns points [frame, keypoint, 3]; STAC stores recorded points as [frame, 3 * keypoint]."""
    if values is None:
        return None
    shape = (found.num_frames, len(found.keypoint_names), 3)
    flat = (shape[0], 3 * shape[1])
    expected = f"{shape} or {flat} for the {shape[1]} keypoints of 'kp_names'"
    _check_shape(found.path, name, values.shape, values.shape in (shape, flat), expected)

    def read(first: int, stop: int) -> np.ndarray:
        return np.asarray(values[first:stop]).reshape(stop - first, *shape[1:])

    return values if values.shape == shape else LazyFrames(shape, values.dtype, read)


def _parse_config(path: str, text: str | None, option: str, needed: bool) -> dict[str, dict]:
    """Returns groups of a STAC configuration; {} if there is none, or an unneeded one is unreadable.

    `option` is what the user can give in its place.
    """
    if not text:
        return {}
    try:
        check_yaml(text)
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError):
        config = None
    if isinstance(config, dict):
        return {k: v for k, v in config.items() if isinstance(v, dict)}
    if needed:
        raise UserError(f"{path}: 'config' is not the YAML that stac-mjx writes; give {option}")
    return {}


def _clip_length(path: str, config: dict[str, dict], option: str) -> int | None:
    """Returns the frames per clip; None if the configuration does not say."""
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
    """Returns a name per clip: the configuration's if it has as many, else "clip_0" or "take_0", ..."""
    order = config.get("model", {}).get("snips_order")
    order = order if isinstance(order, list) else []
    if len(order) == num_clips and all(isinstance(name, str) for name in order):
        # entries are files of the machine where they were made: keep their stems only
        return tuple(PurePosixPath(PureWindowsPath(n).as_posix()).stem for n in order)
    return tuple(f"{part}_{clip}" for clip in range(num_clips))
