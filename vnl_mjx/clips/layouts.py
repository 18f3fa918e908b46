"""The layouts of clip files: STAC's and `all_clips` (ReferenceClip).

Layouts: stac-mjx `io.py` (datasets at the root) and track-mjx `io/load.py` (ReferenceClip).
"""

import math
from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips import stac_metadata
from vnl_mjx.clips.columns import POSE, split_qpos, split_qvel
from vnl_mjx.clips.container import REFERENCE_CLIP_FEATURES
from vnl_mjx.clips.unordered import UnorderedClips
from vnl_mjx.errors import UserError
from vnl_mjx.walkers.layout import Layout
from vnl_mjx.walkers.walker import Walker

DEFAULT_RATE_HZ = 50.0  # what track-mjx and vnl-playground assume of every clip file
FORMATS = "HDF5 from stac-mjx (dataset 'qpos') or ReferenceClip HDF5 (group 'all_clips')"
ALL_CLIPS = "all_clips"
STAC_DATASETS = ("qpos", "qvel", "xpos", "xquat", "names_qpos", "names_xpos", "config")

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
) -> UnorderedClips:
    """Datasets at the root: poses of all clips one after another, and a YAML `config`.

    Args:
        contents: of the file.
        walker: tells how many joints the file must have.
        clip_length: overrides the number of frames per clip that the file's config tells.
        rate_hz: frames per second; this layout does not tell.
    """
    path = contents.path
    layout = walker.layout
    features, datasets = _stac_features(contents, layout)
    num_frames = len(features["joints"])
    text = next(iter(contents.strings("config") or ()), None)
    config = stac_metadata.parse_config(path, text, "clip_length", needed=clip_length is None)
    recorded = None if clip_length else stac_metadata.clip_length(path, config, "clip_length")
    lengths = cut(num_frames, clip_length or recorded or num_frames)
    notes = []
    if rate_hz is None:
        # RENDER_FPS is the rate of STAC's videos: a hint, not the recording's rate
        fps = config.get("model", {}).get("RENDER_FPS", DEFAULT_RATE_HZ)
        hint = "" if fps == DEFAULT_RATE_HZ else f"; the file's RENDER_FPS is {fps}"
        notes.append(_ASSUMED_RATE + hint)
    return UnorderedClips(
        path=path,
        features=features,
        datasets=datasets,
        lengths=lengths,
        clip_names=stac_metadata.clip_names(config, len(lengths)),
        joint_names=_stac_joint_names(contents, layout),
        body_names=contents.strings("names_xpos"),
        rate_hz=rate_hz or DEFAULT_RATE_HZ,
        trust_velocities=False,
        notes=notes,
        free_root=layout.free_root,
    )


def _stac_features(
    contents: FileContents, layout: Layout
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Features and the dataset of each."""
    path, qpos, qvel = contents.path, contents.numbers("qpos"), contents.numbers("qvel")
    if "qpos" not in contents.datasets:
        raise UserError(f"{path}: expected {FORMATS}; found {listing(contents.found)}")
    if qpos is None:
        raise UserError(f"{path}: 'qpos' is empty, expected at least one frame")
    if qpos.ndim != 2 or qpos.shape[1] != layout.nq:
        root = "root pose 7, " if layout.free_root else ""
        raise UserError(
            f"{path}: 'qpos' has shape {qpos.shape}, expected (frames, {layout.nq}) for this "
            f"walker ({root}joints {layout.num_joints}); the file is of another body"
        )
    if qvel is not None and qvel.shape != (len(qpos), layout.nv):
        raise UserError(
            f"{path}: 'qvel' has shape {qvel.shape}, expected {(len(qpos), layout.nv)} or none"
        )
    xpos, xquat = contents.numbers("xpos"), contents.numbers("xquat")
    columns = {
        "qpos": split_qpos(qpos, layout),
        "qvel": {} if qvel is None else split_qvel(qvel, layout),
        "xpos": {} if xpos is None else {"body_positions": xpos},
        "xquat": {} if xquat is None else {"body_quaternions": xquat},
    }
    features = {name: values for part in columns.values() for name, values in part.items()}
    datasets = {name: dataset for dataset, part in columns.items() for name in part}
    return features, datasets


def _stac_joint_names(contents: FileContents, layout: Layout) -> tuple[str, ...] | None:
    names = contents.strings("names_qpos")
    if names is None:
        return None
    joint_names, has_root = stac_metadata.joint_names(contents.path, names, layout.nq)
    if layout.free_root and not has_root:
        raise UserError(
            f"{contents.path}: 'names_qpos' starts {names[:2]}, expected the root joint's name "
            "seven times: a body without a free root"
        )
    return joint_names


def read_all_clips_layout(
    contents: FileContents, walker: Walker, clip_length: int | None, rate_hz: float | None
) -> UnorderedClips:
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
    parts = cut(num_frames, clip_length or num_frames)
    names = contents.strings("names")
    if names is None or len(names) != num_clips:
        names = tuple(f"clip_{clip}" for clip in range(num_clips))
    if len(parts) > 1:
        names = tuple(f"{name}_part_{part}" for name in names for part in range(len(parts)))
    rate, notes = rate_hz or contents.attributes.get("rate_hz"), []
    if rate is None:
        rate = DEFAULT_RATE_HZ
        notes.append(_ASSUMED_RATE)
    return UnorderedClips(
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
        free_root=bool(contents.attributes.get("free_root", True)),
    )


def _all_clips_features(contents: FileContents) -> dict[str, np.ndarray]:
    """Features [clip, frame, ...], of the same clips and frames."""
    path, features = contents.path, {}
    for name in REFERENCE_CLIP_FEATURES:
        values = contents.numbers(f"{ALL_CLIPS}/{name}")
        if values is not None:
            features[name] = values
    missing = [f"{ALL_CLIPS}/{name}" for name in POSE if name not in features]
    if missing:
        raise UserError(
            f"{path}: {', '.join(missing)} missing or empty; found {listing(contents.found)}"
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


def cut(num_frames: int, length: int) -> np.ndarray:
    """Clip lengths, int32 [clip], of `num_frames` cut every `length`; the last may be shorter."""
    full, rest = divmod(num_frames, length)
    return np.array([length] * full + [rest] * (rest > 0), np.int32)


def listing(names: tuple[str, ...], most: int = 8) -> str:
    """Names for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(repr(name) for name in names[:most]) or "nothing") + more


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
