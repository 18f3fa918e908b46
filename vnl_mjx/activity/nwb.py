"""Writes a record file as NWB: one file per session, read by slices, so that memory stays bounded."""

import glob
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from vnl_mjx.activity.file import ActivityFile, open_activity_file
from vnl_mjx.clips.hdf5_access import atomic_hdf5, check_replaceable
from vnl_mjx.config.walker import RODENT_SOURCE
from vnl_mjx.errors import UserError
from vnl_mjx.files import file_name
from vnl_mjx.versions import how_to_install

MODULE = "network_activity"
_BLOCK_ROWS = 4096
_MAX_NAMED = 200  # columns whose names fit into a comment
_REGULAR_S = 1e-6
# NWB needs one; said in the file's notes.
_UNKNOWN_START = datetime(2000, 1, 1, tzinfo=UTC)


def check_nwb(path: Path, overwrite: bool) -> None:
    """Raises UserError if NWB cannot be written, before anything is recorded for it."""
    _pynwb(path)
    if path.suffix != ".nwb":
        raise UserError(f"--nwb: expected the name of an .nwb file, found {path}")
    found = [path, *path.parent.glob(f"{glob.escape(path.stem)}.*.nwb")]  # of several sessions
    for old in found:
        if old.exists():
            check_replaceable(old, overwrite)


def export_nwb(record: Path, path: Path, session_start: datetime | None = None) -> tuple[Path, ...]:
    """Writes each session of a record file as NWB; several sessions get their name before the suffix.

    Every quantity is a time series of the processing module `network_activity`, on the recording's clock.
    The clips are time intervals with their behaviour, and rows that are not valid are invalid times.

    Args:
        record: a record file.
        path: the file to write.
        session_start: date and time at which the recording's clock was 0; None: unknown.

    Returns:
        The written files.

    Raises:
        UserError: pynwb is missing, or a file cannot be read or written.
    """
    pynwb, written = _pynwb(path), []
    with open_activity_file(record) as activity:
        names = activity.rows.sessions
        for number, name in enumerate(names):
            several = len(names) > 1
            target = path.with_name(f"{path.stem}.{file_name(name)}.nwb") if several else path
            rows = np.flatnonzero(activity.rows.session == number)
            if not len(rows):
                continue
            nwb = _session(pynwb, activity, slice(int(rows[0]), int(rows[-1]) + 1), session_start)
            with atomic_hdf5(target) as file, pynwb.NWBHDF5IO(file=file, mode="w") as io:
                io.write(nwb)
            written.append(target)
    return tuple(written)


def _pynwb(path: Path) -> Any:
    try:
        return import_module("pynwb")
    except ImportError as error:
        raise UserError(
            f"{path}: NWB needs the extra 'nwb', found no pynwb; run {how_to_install('nwb')}"
        ) from error


def _session(
    pynwb: Any, activity: ActivityFile, rows: slice, session_start: datetime | None
) -> Any:
    table = activity.rows
    name = table.sessions[table.session[rows.start]]
    notes = {"metadata": activity.metadata, "session_start_is_known": session_start is not None}
    nwb = pynwb.NWBFile(
        session_description=f"activity of a network whose body follows the recording {name}",
        identifier=str(uuid4()),
        session_start_time=session_start or _UNKNOWN_START,
        session_id=file_name(name),
        experiment_description="simulation by vnl-mjx record; no animal was recorded in this file",
        keywords=["neural network", "simulation", "motor control"],
        source_script="vnl-mjx record",
        source_script_file_name="vnl-mjx",
        subject=pynwb.file.Subject(
            subject_id="simulated_body",
            description="a body in a physics simulation, moved by a network",
            sex="U",
            age="P0D/",  # not known, as a range without an upper end
            species=_species(activity.metadata),
        ),
        notes=json.dumps(notes),
    )
    module = nwb.create_processing_module(
        name=MODULE, description="quantities of vnl-mjx record, one row per control step"
    )
    clock = _clock(table.time[rows], activity.rate_hz)
    for quantity in activity.names:
        module.add(_series(pynwb, activity, quantity, rows, clock))
    _add_intervals(pynwb, nwb, activity, rows)
    return nwb


def _species(metadata: Mapping[str, Any]) -> str | None:
    """Returns the species of the bundled body; of others it is not known."""
    is_rat = metadata.get("body", {}).get("source") == RODENT_SOURCE
    return "Rattus norvegicus" if is_rat else None


def _clock(time: np.ndarray, rate_hz: float) -> dict[str, Any]:
    """Returns start and rate of regular times, as NWB asks, else the times."""
    regular = time[0] + np.arange(len(time)) / rate_hz
    if np.abs(time - regular).max() < _REGULAR_S:
        return {"starting_time": float(time[0]), "rate": rate_hz}
    return {"timestamps": time}


def _series(
    pynwb: Any, activity: ActivityFile, quantity: str, rows: slice, clock: dict[str, Any]
) -> Any:
    iterator = import_module("hdmf.data_utils").DataChunkIterator
    columns, unit = activity.columns(quantity), activity.unit(quantity)
    named = len(columns) <= _MAX_NAMED and not columns[0].isdecimal()
    series = pynwb.TimeSeries(
        name=quantity.replace("/", "_"),
        description=f"{quantity}, [row, column] of a record file",
        comments=f"columns: {', '.join(columns)}" if named else f"{len(columns)} columns",
        data=iterator(
            data=_read(activity, quantity, rows),
            maxshape=(rows.stop - rows.start, len(columns)),
            dtype=np.dtype(np.float32),
            buffer_size=_BLOCK_ROWS,
        ),
        unit=unit or "a.u.",
        **clock,
    )
    if "timestamps" in clock:
        clock["timestamps"] = series  # the next series share these times
    return series


def _read(activity: ActivityFile, quantity: str, rows: slice) -> Iterator[np.ndarray]:
    for first in range(rows.start, rows.stop, _BLOCK_ROWS):
        yield from activity.read(quantity, slice(first, min(first + _BLOCK_ROWS, rows.stop)))


def _add_intervals(pynwb: Any, nwb: Any, activity: ActivityFile, rows: slice) -> None:
    # Intervals include both ends, so they end between two rows.
    table, half = activity.rows, 0.5 / activity.rate_hz
    time, clip = table.time[rows], table.clip[rows]
    clips = pynwb.epoch.TimeIntervals(
        name="clips", description="clips of the recording that the body follows"
    )
    clips.add_column(name="clip", description="name of the clip")
    clips.add_column(name="behavior", description="behaviour of the clip, as far as known")
    for first, last in _runs(np.r_[True, np.diff(clip) != 0]):
        own = int(clip[first])
        clips.add_row(
            start_time=float(time[first]),
            stop_time=float(time[last] + half),
            clip=table.clip_names[own],
            behavior=table.clip_labels[own] or "unknown",
        )
    nwb.add_time_intervals(clips)
    valid = table.valid[rows]
    for first, last in _runs(np.r_[True, np.diff(valid) != 0]):
        if not valid[first]:
            nwb.add_invalid_time_interval(
                start_time=float(time[first]), stop_time=float(time[last] + half)
            )


def _runs(begins: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields first and last row of each run; `begins` [row] bool, where a run begins."""
    firsts = np.flatnonzero(begins)
    yield from zip(firsts.tolist(), [*(firsts[1:] - 1).tolist(), len(begins) - 1], strict=True)
