"""Reads and writes record files: the activity of a network on a recording's clock, in HDF5.

docs/record.md describes the format. One row is one control step; rows lie in order of time within
each session, and every quantity is a dataset [row, column] that is read and written in parts.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import h5py
import numpy as np

from vnl_mjx.clips.file import fixed_length
from vnl_mjx.clips.hdf5_access import (
    HDF5Output,
    atomic_hdf5,
    checked_version,
    has_format,
    open_hdf5,
    reading,
)
from vnl_mjx.clips.recording import checked_rate
from vnl_mjx.errors import UserError, did_you_mean

FORMAT = "vnl_mjx.record"
FORMAT_VERSION = 1

LAYERS, LATENT, ACTION = "layers", "latent", "action"
KINEMATICS, DYNAMICS, REFERENCE = "kinematics", "dynamics", "reference"
OBSERVATION, TRACKING = "observation", "tracking"
# A quantity is named "group/name"; the groups are those of encoding models.
GROUPS = (LAYERS, LATENT, ACTION, KINEMATICS, DYNAMICS, REFERENCE, OBSERVATION, TRACKING)

_CHUNK_BYTES = (
    2**16
)  # many pieces write a few rows each: a larger chunk would be rewritten for each


@dataclass(frozen=True)
class Rows:
    """Holds the table of rows, [row] each.

    Attributes:
        time: float64, on the recording's own clock, seconds: when the network saw its observation.
        session: int16, index into `sessions`.
        clip: int32, index into `clip_names`.
        frame: int32, frame of the clip at that time.
        start: bool, the network's memory and the body were set anew at this row.
        valid: bool, the body followed the recording; false after a fall until it follows again.
        sessions: names of the recordings.
        clip_names: names of the clips.
        clip_labels: behaviour of each clip, empty if not known.
    """

    time: np.ndarray
    session: np.ndarray
    clip: np.ndarray
    frame: np.ndarray
    start: np.ndarray
    valid: np.ndarray
    sessions: tuple[str, ...]
    clip_names: tuple[str, ...]
    clip_labels: tuple[str, ...]

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.time)

    @property
    def labels(self) -> np.ndarray:
        """The behaviour in each row, [row] strings; the clip's name where the behaviour is not known."""
        named = zip(self.clip_labels, self.clip_names, strict=True)
        return np.array([label or name for label, name in named])[self.clip]


_ROW_TYPES = {
    "time": np.float64,
    "session": np.int16,
    "clip": np.int32,
    "frame": np.int32,
    "start": bool,
    "valid": bool,
}
_NAME_LISTS = tuple(f.name for f in fields(Rows) if f.name not in _ROW_TYPES)


@dataclass(frozen=True)
class Quantity:
    """Describes a dataset of a record file: its columns, their unit, and how it is stored."""

    columns: Sequence[str]
    unit: str = ""
    dtype: type = np.float32


class ActivityWriter:
    """Writes quantities in parts, in any order; see `write_activity_file`."""

    def __init__(self, file: HDF5Output, num_rows: int, quantities: Mapping[str, Quantity]):
        """Creates the datasets; rows that nobody writes are NaN."""
        self._file, self._num_rows = file, num_rows
        self._datasets: dict[str, h5py.Dataset] = {}
        for name, quantity in quantities.items():
            self._create(name, quantity)

    def write(self, first_row: int, values: Mapping[str, np.ndarray]) -> None:
        """Writes values [rows, columns] of some quantities from `first_row` on.

        Raises:
            OSError: the disk is full.
        """
        for name, part in values.items():
            dataset = self._datasets[name]
            dataset[first_row : first_row + len(part)] = part
        self._file.stop_if_full()

    def _create(self, name: str, quantity: Quantity) -> None:
        group = name.partition("/")[0]
        if group not in GROUPS:
            raise ValueError(f"{name}: must begin with one of {GROUPS}")
        width = len(quantity.columns)
        rows = max(1, _CHUNK_BYTES // (max(1, width) * np.dtype(quantity.dtype).itemsize))
        dataset = self._file.create_dataset(
            f"values/{name}",
            shape=(self._num_rows, width),
            chunks=(min(rows, max(1, self._num_rows)), max(1, width)),
            dtype=quantity.dtype,
            fillvalue=np.nan,
            track_times=False,
        )
        dataset.attrs["unit"] = np.bytes_(quantity.unit.encode())
        dataset.attrs["columns"] = fixed_length(quantity.columns)
        self._datasets[name] = dataset


@contextlib.contextmanager
def write_activity_file(
    path: str | os.PathLike[str],
    rows: Rows,
    rate_hz: float,
    quantities: Mapping[str, Quantity],
    metadata: Mapping[str, Any],
) -> Iterator[ActivityWriter]:
    """Opens a writer; the complete file appears when the block ends, or no file does.

    The block may change `rows.valid` and `rows.start`, and add to `metadata`, which is JSON-able. `rate_hz`
    are rows per second, and `quantities` are named "group/name" (`GROUPS`).

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_hdf5(path) as file:
        file.attrs["format"] = np.bytes_(FORMAT)
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["rate_hz"] = float(rate_hz)
        yield ActivityWriter(file, rows.num_rows, quantities)
        for name, kind in _ROW_TYPES.items():
            column = np.asarray(getattr(rows, name), kind)
            file.create_dataset(f"rows/{name}", data=column, track_times=False)
        for name in _NAME_LISTS:
            names = fixed_length(getattr(rows, name))
            file.create_dataset(f"tables/{name}", data=names, track_times=False)
        text = np.bytes_(json.dumps(metadata, sort_keys=True))
        file.create_dataset("metadata", data=text, track_times=False)


class ActivityFile:
    """Reads an open record file.

    Attributes:
        path: as the user gave it.
        rate_hz: rows per second.
        rows: the table of rows.
        metadata: what the writer recorded: network, clips, hashes, options, table of layers.
        names: of the quantities, "group/name".
    """

    def __init__(self, file: h5py.File, path: str):
        """Reads the tables of an open HDF5 file."""
        self._file, self.path = file, path
        checked_version(file, path, FORMAT_VERSION)
        self.rate_hz = checked_rate(file.attrs["rate_hz"], f"{path}: rate_hz")
        columns = {name: self._dataset(f"rows/{name}")[()] for name in _ROW_TYPES}
        lists = {
            name: tuple(v.decode() for v in self._dataset(f"tables/{name}")[()])
            for name in _NAME_LISTS
        }
        self.rows = Rows(**columns, **lists)
        self.metadata: dict[str, Any] = json.loads(bytes(self._dataset("metadata")[()]))
        groups = cast(h5py.Group, file["values"])
        self.names = tuple(f"{g}/{n}" for g in groups for n in cast(h5py.Group, groups[g]))

    def columns(self, name: str) -> tuple[str, ...]:
        """Returns the names of the columns of a quantity; raises like `read`."""
        return tuple(v.decode() for v in np.asarray(self._quantity(name).attrs["columns"]))

    def unit(self, name: str) -> str:
        """Returns the unit of a quantity; raises like `read`."""
        return bytes(self._quantity(name).attrs["unit"]).decode()

    def read(self, name: str, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Returns a quantity, float32 [row, column]; `rows` are a slice or increasing indices.

        Raises:
            UserError: the file has no such quantity.
        """
        return np.asarray(self._quantity(name)[rows], np.float32)

    def in_group(self, group: str) -> tuple[str, ...]:
        """Returns the names of the quantities of a group."""
        return tuple(name for name in self.names if name.startswith(f"{group}/"))

    def _quantity(self, name: str) -> h5py.Dataset:
        if name not in self.names:
            hint = did_you_mean(name, self.names)
            raise UserError(
                f"{self.path}: expected one of {', '.join(self.names)}, found {name!r}{hint}"
            )
        return self._dataset(f"values/{name}")

    def _dataset(self, key: str) -> h5py.Dataset:
        return cast(h5py.Dataset, self._file[key])


@contextlib.contextmanager
def open_activity_file(path: str | os.PathLike[str]) -> Iterator[ActivityFile]:
    """Opens a record file.

    Raises:
        UserError: the file is missing, of another format, damaged or of a newer version.
    """
    with reading(path), open_hdf5(path) as file:
        if not has_format(file, FORMAT):
            raise UserError(f"{path}: is not a record file; `vnl-mjx record` makes one")
        yield ActivityFile(file, str(path))
