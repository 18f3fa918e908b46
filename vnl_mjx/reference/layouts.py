"""The layouts of clip files: STAC's and `all_clips` (ReferenceClip).

Layouts: stac-mjx `io.py` (datasets at the root) and track-mjx `io/load.py` (ReferenceClip).
"""

import math
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np
import yaml

from vnl_mjx.errors import UserError
from vnl_mjx.reference.clips import REFERENCE_CLIP_FEATURES
from vnl_mjx.reference.raw import RawClips
from vnl_mjx.walkers.walker import Walker

DEFAULT_RATE_HZ = 50.0  # what track-mjx and vnl-playground assume of every clip file
FORMATS = "HDF5 from stac-mjx (dataset 'qpos') or ReferenceClip HDF5 (group 'all_clips')"
ALL_CLIPS = "all_clips"
STAC_DATASETS = ("qpos", "qvel", "xpos", "xquat", "names_qpos", "names_xpos", "config")

_REQUIRED = ("position", "quaternion", "joints")
_ASSUMED_RATE = f"no frame rate in the file: {DEFAULT_RATE_HZ:g} Hz assumed"


@dataclass(frozen=True)
class FileContents:
    """All that was read of one file, as NumPy arrays; no HDF5 object outlives reading."""

    path: str
    datasets: dict[str, np.ndarray]
    attributes: dict[str, object]
    found: tuple[str, ...]  # names at the root, and in `all_clips` where it exists

    def numbers(self, name: str) -> np.ndarray | None:
        """A numeric dataset as float32; None where it is absent or empty."""
        values = self.datasets.get(name)
        if values is None or values.size == 0:
            return None
        if values.dtype.kind not in "fiu":
            raise UserError(f"{self.path}: {name!r} holds {values.dtype}, expected numbers")
        with np.errstate(over="ignore"):  # becomes infinity, which is reported with its place
            return values.astype(np.float32)

    def strings(self, name: str) -> tuple[str, ...] | None:
        """A dataset or attribute of strings; None where it is absent."""
        values = self.datasets.get(name, self.attributes.get(name))
        return (
            None if values is None else tuple(_text(value) for value in np.asarray(values).ravel())
        )


def read_stac_layout(
    contents: FileContents, walker: Walker, clip_length: int | None, rate_hz: float | None
) -> RawClips:
    """Datasets at the root: poses of all clips one after another, and a YAML `config`.

    Args:
        contents: of the file.
        walker: tells how many joints the file must have.
        clip_length: overrides the number of frames per clip that the file's config tells.
        rate_hz: frames per second; this layout does not tell.
    """
    path = contents.path
    features, datasets = _stac_features(contents, len(walker.joint_names))
    num_frames = len(features["position"])
    config = _stac_config(contents, needed=clip_length is None)
    recorded = None if clip_length else _stac_clip_length(contents, config)
    lengths = _cut(num_frames, clip_length or recorded or num_frames)
    notes = []
    if rate_hz is None:
        # RENDER_FPS is the rate of STAC's videos: a hint, not the recording's rate
        fps = config.get("model", {}).get("RENDER_FPS", DEFAULT_RATE_HZ)
        hint = "" if fps == DEFAULT_RATE_HZ else f"; the file's RENDER_FPS is {fps}"
        notes.append(_ASSUMED_RATE + hint)
    return RawClips(
        path=path,
        features=features,
        datasets=datasets,
        lengths=lengths,
        clip_names=_stac_clip_names(config, len(lengths)),
        joint_names=_stac_joint_names(contents, 7 + len(walker.joint_names)),
        body_names=contents.strings("names_xpos"),
        rate_hz=rate_hz or DEFAULT_RATE_HZ,
        trust_velocities=False,
        notes=notes,
    )


def _stac_features(
    contents: FileContents, num_joints: int
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Features and the dataset of each."""
    path, qpos, qvel = contents.path, contents.numbers("qpos"), contents.numbers("qvel")
    if "qpos" not in contents.datasets:
        raise UserError(f"{path}: expected {FORMATS}; found {_listing(contents.found)}")
    if qpos is None:
        raise UserError(f"{path}: 'qpos' is empty, expected at least one frame")
    if qpos.ndim != 2 or qpos.shape[1] != 7 + num_joints:
        raise UserError(
            f"{path}: 'qpos' has shape {qpos.shape}, expected (frames, {7 + num_joints}) for this "
            f"walker (root pose 7, joints {num_joints}); the file is of another body"
        )
    if qvel is not None and qvel.shape != (len(qpos), 6 + num_joints):
        raise UserError(
            f"{path}: 'qvel' has shape {qvel.shape}, expected {(len(qpos), 6 + num_joints)} or none"
        )
    columns = {
        "qpos": (qpos, ("position", "quaternion", "joints"), (3, 7)),
        "qvel": (qvel, ("velocity", "angular_velocity", "joints_velocity"), (3, 6)),
        "xpos": (contents.numbers("xpos"), ("body_positions",), ()),
        "xquat": (contents.numbers("xquat"), ("body_quaternions",), ()),
    }
    features, datasets = {}, {}
    for dataset, (values, names, cuts) in columns.items():
        if values is not None:
            parts = np.split(values, cuts, axis=1) if cuts else [values]
            features.update(zip(names, parts, strict=True))
            datasets.update(dict.fromkeys(names, dataset))
    return features, datasets


def _stac_config(contents: FileContents, needed: bool) -> dict:
    """The file's YAML configuration, {} where it has none or (unless needed) it is not readable."""
    text = contents.strings("config")
    if not text:
        return {}
    try:
        config = yaml.safe_load(text[0])
    except (yaml.YAMLError, ValueError):
        config = None
    if isinstance(config, dict):
        return {k: v for k, v in config.items() if isinstance(v, dict)}
    if needed:
        raise UserError(
            f"{contents.path}: 'config' is not the YAML that stac-mjx writes; give clip_length"
        )
    return {}


def _stac_clip_length(contents: FileContents, config: dict) -> int | None:
    frames = config.get("stac", {}).get("n_frames_per_clip")
    if frames is None:
        return None
    if not isinstance(frames, int) or frames < 1:
        raise UserError(
            f"{contents.path}: config stac.n_frames_per_clip is {frames!r}, expected at least 1; "
            "give clip_length"
        )
    return frames


def _stac_clip_names(config: dict, num_clips: int) -> tuple[str, ...]:
    order = config.get("model", {}).get("snips_order")
    if isinstance(order, list) and len(order) == num_clips:
        # entries are files of the machine where they were made: keep their stems only
        return tuple(PurePosixPath(PureWindowsPath(str(n)).as_posix()).stem for n in order)
    return tuple(f"clip_{clip}" for clip in range(num_clips))


def _stac_joint_names(contents: FileContents, num_columns: int) -> tuple[str, ...] | None:
    names = contents.strings("names_qpos")
    if names is None:
        return None
    if len(names) != num_columns or len(set(names[:7])) != 1:
        raise UserError(
            f"{contents.path}: 'names_qpos' has {len(names)} names starting {names[:2]}, expected "
            f"{num_columns}: the root joint's seven times, then one per joint"
        )
    return names[7:]


def read_all_clips_layout(
    contents: FileContents, walker: Walker, clip_length: int | None, rate_hz: float | None
) -> RawClips:
    """Group `all_clips` of arrays [clip, frame, ...]; our own files add names and rate at the root.

    Args:
        contents: of the file.
        walker: not needed here; arguments are those of `read_stac_layout`.
        clip_length: each clip is cut into clips of so many frames.
        rate_hz: overrides the attribute `rate_hz`.
    """
    del walker
    path = contents.path
    features = _all_clips_features(contents)
    num_clips, num_frames = features["position"].shape[:2]
    parts = _cut(num_frames, clip_length or num_frames)
    names = contents.strings("names")
    if names is None or len(names) != num_clips:
        names = tuple(f"clip_{clip}" for clip in range(num_clips))
    if len(parts) > 1:
        names = tuple(f"{name}_part_{part}" for name in names for part in range(len(parts)))
    rate, notes = rate_hz or contents.attributes.get("rate_hz"), []
    if rate is None:
        rate = DEFAULT_RATE_HZ
        notes.append(_ASSUMED_RATE)
    return RawClips(
        path=path,
        features={name: v.reshape(-1, *v.shape[2:]) for name, v in features.items()},
        datasets={name: f"{ALL_CLIPS}/{name}" for name in features},
        lengths=np.tile(parts, num_clips),
        clip_names=names,
        joint_names=contents.strings("joint_names"),
        body_names=contents.strings("body_names"),
        rate_hz=_rate(path, rate),
        trust_velocities=True,
        notes=notes,
    )


def _all_clips_features(contents: FileContents) -> dict[str, np.ndarray]:
    """Features [clip, frame, ...], of the same clips and frames."""
    path, features = contents.path, {}
    for name in REFERENCE_CLIP_FEATURES:
        values = contents.numbers(f"{ALL_CLIPS}/{name}")
        if values is not None:
            features[name] = values
    missing = [f"{ALL_CLIPS}/{name}" for name in _REQUIRED if name not in features]
    if missing:
        raise UserError(
            f"{path}: {', '.join(missing)} missing or empty; found {_listing(contents.found)}"
        )
    leading = {values.shape[:2] for values in features.values()}
    if len(leading) > 1 or any(values.ndim < 3 for values in features.values()):
        shapes = {name: values.shape for name, values in features.items()}
        raise UserError(
            f"{path}: shapes in {ALL_CLIPS!r} do not fit together, expected (clips, frames, ...) "
            f"of the same clips and frames, found {shapes}"
        )
    return features


def _rate(path: str, value: object) -> float:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise UserError(f"{path}: attribute 'rate_hz' is {value!r}, expected a positive number")
    return rate


def _cut(num_frames: int, length: int) -> np.ndarray:
    """Clip lengths, int32 [clip], of `num_frames` cut every `length`; the last may be shorter."""
    full, rest = divmod(num_frames, length)
    return np.array([length] * full + [rest] * (rest > 0), np.int32)


def _listing(names: tuple[str, ...], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(repr(name) for name in names[:most]) or "nothing") + more


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
