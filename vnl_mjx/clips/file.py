"""Reads and writes our own clip files: self-describing HDF5, read lazily and written clip by clip.

docs/clip_format.md describes the format. The frames of all clips lie one after another in one
dataset per feature, cut into chunks of a clip's length, beside a table of clips.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, get_type_hints

import h5py
import numpy as np

from vnl_mjx.clips.columns import POSE
from vnl_mjx.clips.container import FEATURES, ClipInfo
from vnl_mjx.clips.hdf5_access import (
    HDF5_ERRORS,
    HDF5Output,
    atomic_hdf5,
    checked_version,
    has_format,
    open_hdf5,
    reading,
)
from vnl_mjx.clips.recording import checked_rate
from vnl_mjx.clips.stored_body import held_body, write_body
from vnl_mjx.errors import UserError
from vnl_mjx.versions import installed_versions
from vnl_mjx.walkers.walker import Walker

FORMAT = "vnl_mjx.clips"
FORMAT_VERSION = 2
_ALL_FEATURES_VERSION = 1  # of a file that lacks no feature
POSES = POSE  # features in every file
QUALITY_PREFIX = "quality_"

_MAX_CHUNK_FRAMES = 250
_RECORDED_PACKAGES = ("vnl-mjx", "mujoco", "numpy", "scipy", "h5py")
_WORLD, _ROOT = "world", "root body"
# Unit and frame of each feature, for readers without this package.
_MEANING = {
    "position": ("m", _WORLD),
    "quaternion": ("unit, w x y z", _WORLD),
    "joints": ("rad or m", "joint"),
    "body_positions": ("m", _WORLD),
    "velocity": ("m/s", _WORLD),
    "angular_velocity": ("rad/s", "root (as in MuJoCo's qvel of a free joint)"),
    "joints_velocity": ("rad/s or m/s", "joint"),
    "body_quaternions": ("unit, w x y z", _WORLD),
    "center_of_mass": ("m", _WORLD),
    "end_effectors": ("m", _ROOT),
    "appendages": ("m", _ROOT),
    "contacts": ("1: stands on the floor", "none"),
}
_NAME_LISTS = ("joint_names", "body_names", "end_effector_names", "appendage_names", "foot_names")
_INFO_TYPES = get_type_hints(ClipInfo)
_COLUMNS = {"name": str, "start": int, "length": int, **_INFO_TYPES}


@dataclass(frozen=True)
class ClipRow:
    """Holds one clip's row in the table."""

    name: str  # of the clip
    length: int  # frames
    info: ClipInfo = field(default_factory=ClipInfo)  # where it is from
    # measures by name; NaN is stored where a clip lacks one
    quality: Mapping[str, float] = field(default_factory=dict)


class ClipWriter:
    """Appends clips to a file; see `write_clip_file`.

    Attributes:
        rows: of the clips that were appended.
    """

    def __init__(
        self,
        file: HDF5Output,
        walker: Walker,
        rate_hz: float,
        compression: str | None,
        features: Sequence[str] = FEATURES,
    ):
        """Writes what does not depend on the clips."""
        self._file, self._features = file, features
        self._compression = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        if compression is None:
            self._compression = {}
        self.rows: list[ClipRow] = []
        self._frames = 0
        file.attrs["format"] = np.bytes_(FORMAT)
        complete = set(features) == set(FEATURES)
        file.attrs["format_version"] = _ALL_FEATURES_VERSION if complete else FORMAT_VERSION
        file.attrs["rate_hz"] = float(rate_hz)
        if not walker.layout.free_root:  # files of before do not say, and are of bodies with one
            file.attrs["free_root"] = False
        for name, values in name_lists(walker).items():
            file.attrs[name] = fixed_length(values)

    def append(self, features: Mapping[str, np.ndarray], row: ClipRow) -> None:
        """Appends one clip, with every feature of the file, [row.length, ...].

        Raises:
            OSError: the disk is full.
        """
        start, stop = self._frames, self._frames + row.length
        for name in self._features:
            values = np.asarray(features[name], np.float32)
            if len(values) != row.length or row.length < 1:
                raise ValueError(f"{row.name}: {len(values)} frames of {name}, {row.length=}")
            dataset = self._dataset(name, values)
            dataset.resize(stop, axis=0)
            dataset[start:stop] = values
        self._file.stop_if_full()
        self._frames = stop
        self.rows.append(row)

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Writes the table of clips and the metadata."""
        rows = self.rows
        lengths = np.array([row.length for row in rows], np.int32)
        table: dict[str, np.ndarray] = {
            "name": fixed_length([row.name for row in rows]),
            "start": np.cumsum(lengths, dtype=np.int64) - lengths,
            "length": lengths,
        }
        for name, kind in _INFO_TYPES.items():
            column = [getattr(row.info, name) for row in rows]
            table[name] = fixed_length(column) if kind is str else np.array(column, kind)
        for name in dict.fromkeys(name for row in rows for name in row.quality):
            column = [row.quality.get(name, np.nan) for row in rows]
            table[QUALITY_PREFIX + name] = np.array(column, np.float32)
        # `file[name] = values` would store the time of writing
        for name, column in table.items():
            self._file.create_dataset(f"clips/{name}", data=column, track_times=False)
        # a dataset, as attributes are limited to 64 kB in the older file versions
        text = np.bytes_(json.dumps(metadata, sort_keys=True))
        self._file.create_dataset("metadata", data=text, track_times=False)

    def _dataset(self, name: str, values: np.ndarray) -> h5py.Dataset:
        key = f"features/{name}"
        if key not in self._file:
            shape = values.shape[1:]
            dataset = self._file.create_dataset(
                key,
                shape=(0, *shape),
                # a walker without feet has rows of no width, which HDF5 cannot cut into chunks
                maxshape=(None, *(size or None for size in shape)),
                chunks=(min(len(values), _MAX_CHUNK_FRAMES), *(max(size, 1) for size in shape)),
                dtype=np.float32,
                **self._compression,
            )
            dataset.attrs["unit"], dataset.attrs["frame"] = map(np.bytes_, _MEANING[name])
        return cast(h5py.Dataset, self._file[key])


@contextlib.contextmanager
def write_clip_file(
    path: str | os.PathLike[str],
    walker: Walker,
    rate_hz: float,
    metadata: dict[str, Any],
    compression: str | None = "gzip",
    features: Sequence[str] = FEATURES,
) -> Iterator[ClipWriter]:
    """Opens a writer; the complete file appears when the block ends, or no file does.

    The block may add to `metadata`, which is JSON-able; the writer adds the walker's fingerprint, software
    versions, and the files of another body than the rodent. The file holds `features`; with `POSES` alone it
    is small, and readers compute the rest.

    Raises:
        UserError: the file cannot be written, or the block wrote no clip.
    """
    with atomic_hdf5(path) as file:
        writer = ClipWriter(file, walker, rate_hz, compression, features)
        yield writer
        if not writer.rows:
            raise UserError(f"{path}: not written, no clip is left to write")
        versions = installed_versions(_RECORDED_PACKAGES)
        writer.finish({**metadata, "walker": walker.fingerprint(), "versions": versions})
        write_body(file, walker.config)


class ClipFile:
    """Reads clips of an open file on demand.

    Attributes:
        path: as the user gave it.
        rate_hz: frames per second.
        free_root: whether the body has a free root joint.
        names: one per clip.
        starts: int64 [clip], first row of each clip.
        lengths: int32 [clip].
        info: one per clip.
        quality: measure to float32 [clip].
        metadata: what the writer recorded.
        stored: names of the features in the file, at least `POSES`.
        joint_names: of the columns of joints, and likewise for the other lists of names.
    """

    def __init__(self, file: h5py.File, path: str):
        """Reads the table of clips of an open HDF5 file."""
        self._file, self.path = file, path
        version = checked_version(file, path, FORMAT_VERSION)
        self.rate_hz = checked_rate(file.attrs["rate_hz"], f"{path}: rate_hz")
        self.free_root = bool(file.attrs.get("free_root", True))
        self.name_lists = {name: _strings(file.attrs[name]) for name in _NAME_LISTS}
        held = cast(h5py.Group, file["features"])
        required = FEATURES if version == _ALL_FEATURES_VERSION else POSES
        self.stored = tuple(name for name in FEATURES if name in held or name in required)
        clips = cast(h5py.Group, file["clips"])
        stored = {name: cast(h5py.Dataset, column) for name, column in clips.items()}
        for name, column in stored.items():
            kinds = "SUO" if _COLUMNS.get(name) is str else "biuf"
            is_known = name in _COLUMNS or name.startswith(QUALITY_PREFIX)
            if is_known and (
                column.shape != stored["name"].shape or column.dtype.kind not in kinds
            ):
                raise ValueError(f"column {name!r} of the clips is {column.dtype} {column.shape}")
        table = {name: column[()] for name, column in stored.items()}
        self.names = _strings(table["name"])
        self.starts, self.lengths = table["start"], table["length"]
        self._check_table()
        columns = {
            name: _strings(table[name]) if kind is str else table[name].tolist()
            for name, kind in _INFO_TYPES.items()
        }
        rows = zip(*columns.values(), strict=True)
        self.info = tuple(ClipInfo(**dict(zip(columns, row, strict=True))) for row in rows)
        self.quality = {
            name.removeprefix(QUALITY_PREFIX): column
            for name, column in table.items()
            if name.startswith(QUALITY_PREFIX)
        }
        self.metadata: dict[str, Any] = json.loads(bytes(cast(h5py.Dataset, file["metadata"])[()]))

    @property
    def num_clips(self) -> int:
        """Number of clips."""
        return len(self.names)

    def body(self) -> dict[str, bytes]:
        """Returns the files of the body by their place, see `held_body`; none for the rodent."""
        return held_body(self._file)

    def feature(self, clip: int, name: str) -> np.ndarray:
        """Returns a feature of one clip, float32 [frame, ...]."""
        first = int(self.starts[clip])
        return self._dataset(name)[first : first + int(self.lengths[clip])]

    def _dataset(self, feature: str) -> h5py.Dataset:
        return cast(h5py.Dataset, self._file[f"features/{feature}"])

    def _check_table(self) -> None:
        lengths = self.lengths.astype(np.int64)
        total = {name: len(self._dataset(name)) for name in self.stored}
        fits = (self.starts == np.cumsum(lengths) - lengths).all() and (lengths > 0).all()
        if not fits or not len(lengths) or set(total.values()) != {int(lengths.sum())}:
            raise UserError(
                f"{self.path}: is damaged: the table of {len(lengths)} clips gives "
                f"{int(lengths.sum())} frames, and the features have {sorted(set(total.values()))}; "
                "make it again"
            )


@contextlib.contextmanager
def open_clip_file(path: str | os.PathLike[str]) -> Iterator[ClipFile]:
    """Opens a clip file of our own format.

    Raises:
        UserError: the file is missing, of another format, damaged or of a newer version.
    """
    with reading(path), open_hdf5(path) as file:
        if not is_clip_file(file):
            raise UserError(
                f"{path}: is not a clip file of vnl_mjx; `vnl-mjx preprocess` makes one"
            )
        yield ClipFile(file, str(path))


def is_clip_file(file: h5py.File) -> bool:
    """Returns whether an open HDF5 file is marked as our format."""
    return has_format(file, FORMAT)


def is_own_file(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file is marked as our format; False if that cannot be read."""
    try:
        with open_hdf5(path) as file:
            return is_clip_file(file)
    except HDF5_ERRORS:
        return False


def name_lists(walker: Walker) -> dict[str, tuple[str, ...]]:
    """Returns the names in a clip file of columns and rows of its features."""

    def named(bodies: Sequence[int] | np.ndarray) -> tuple[str, ...]:
        return tuple(walker.body_names[body] for body in bodies)

    return {
        "joint_names": walker.joint_names,
        "body_names": walker.body_names,
        "end_effector_names": named(walker.end_effectors),
        "appendage_names": named(walker.appendages),
        "foot_names": named(walker.feet),
    }


def _strings(values: np.ndarray) -> tuple[str, ...]:
    return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in np.ravel(values))


def fixed_length(strings: Sequence[str]) -> np.ndarray:
    """Returns strings as one block of UTF-8 bytes, padded to the longest.

    HDF5 can hang on a damaged heap of variable-length strings; these have no heap.
    """
    encoded = [string.encode() for string in strings]
    return np.array(encoded, h5py.string_dtype(length=max([1, *map(len, encoded)])))
