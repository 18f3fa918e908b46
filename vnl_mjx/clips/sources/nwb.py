"""Reads joint angles from Neurodata Without Borders (NWB): a time series or a table.

Layout: NWB core schema (TimeSeries: data, unit, conversion, offset, rate or timestamps;
DynamicTable: columns). NWB has no type for poses, so the reader finds them by name.
"""

import re
import warnings
from importlib import import_module
from typing import Any

import numpy as np

from vnl_mjx.clips.recording import FrameArray, LazyFrames, Recording, checked_rate
from vnl_mjx.clips.sources.options import SourceOptions, completed, set_rate_of_times
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.versions import how_to_install

_LAYOUT = "NWB"
_POSES = re.compile(r"qpos|joint[ _]?(angles?|positions?)", re.IGNORECASE)
_TIMES = ("timestamps", "time", "times", "start_time")
_DEGREES = re.compile(r"deg(rees?)?|°", re.IGNORECASE)


def open_nwb(path: str, options: SourceOptions) -> Recording:
    """Opens the joint angles of an NWB file; reads a single series slice by slice.

    Raises UserError without pynwb, joint angles or a regular rate.
    """
    try:
        pynwb: Any = import_module("pynwb")
    except ImportError as error:
        raise UserError(
            f"{path}: is an NWB file, which needs pynwb; run {how_to_install('nwb')}"
        ) from error
    io = None
    try:
        with warnings.catch_warnings(action="ignore"):
            io = pynwb.NWBHDF5IO(path, "r")
            item = _find(path, io.read(), pynwb.TimeSeries, pynwb.core.DynamicTable)
            is_series = isinstance(item, pynwb.TimeSeries)
            found = _from_series(path, item) if is_series else _from_table(path, item)
        found.close = io.close
        if _DEGREES.fullmatch(str(getattr(item, "unit", "")).strip()):
            found.conventions = {"angle_unit": "degrees"}
        return completed(found, options)
    except Exception as error:  # of HDF5, of the schema, of values
        if io is not None:
            io.close()
        if isinstance(error, UserError):
            raise
        reason = first_line(error)
        raise UserError(
            f"{path}: cannot be read as NWB ({reason}); check it with `pynwb-validate`"
        ) from error


def _find(path: str, file: Any, series_type: type, table_type: type) -> Any:
    data = [v for v in file.objects.values() if isinstance(v, (series_type, table_type))]
    named = [item for item in data if _POSES.fullmatch(item.name)]
    others = [item.name for item in data if item not in named]
    exact = [item for item in named if item.name == "qpos"] or named
    if len(exact) != 1:
        found = ", ".join(repr(item.name) for item in exact) or (
            "none of this name; other data: " + (", ".join(map(repr, others[:8])) or "none")
        )
        raise UserError(
            f"{path}: expected one TimeSeries or DynamicTable named 'qpos' or 'joint_angles', "
            f"found {found}"
        )
    return exact[0]


def _from_series(path: str, series: Any) -> Recording:
    """Opens a series [frame, column]."""
    found = Recording(path, _LAYOUT, _numbers(path, series), qpos_name=series.name)
    if series.rate is not None:
        found.rate_hz = checked_rate(series.rate, f"{path}: rate of {series.name!r}")
    elif series.timestamps is not None:
        set_rate_of_times(found, series.name, np.asarray(series.timestamps[:]))
    return found


def _from_table(path: str, table: Any) -> Recording:
    """Opens a table with one column of numbers per joint; the columns are named after the joints."""
    columns = {name: np.asarray(table[name][:]) for name in table.colnames}
    times = next((columns.pop(name) for name in _TIMES if name in columns), None)
    wrong = [name for name, c in columns.items() if c.ndim != 1 or c.dtype.kind not in "fiu"]
    if wrong or not columns:
        raise UserError(
            f"{path}: table {table.name!r} has columns {wrong[:4]} that are not one number per "
            "frame, expected a column per joint"
        )
    qpos = np.stack(list(columns.values()), axis=1)
    found = Recording(path, _LAYOUT, qpos, qpos_name=table.name, joint_names=tuple(columns))
    if times is not None:
        set_rate_of_times(found, table.name, times)
    return found


def _numbers(path: str, series: Any) -> FrameArray:
    data: Any = series.data
    if not all(hasattr(data, name) for name in ("shape", "dtype")):
        data = np.asarray(data)
    shape = tuple(map(int, data.shape))
    scale, offset = float(series.conversion), float(series.offset)
    plain = (scale, offset) == (1.0, 0.0)

    def read(first: int, stop: int) -> np.ndarray:
        try:
            values = np.asarray(data[first:stop])
        except (OSError, RuntimeError) as error:
            raise UserError(f"{path}: {series.name!r} is damaged ({error})") from error
        return values if plain else values * scale + offset

    return LazyFrames(shape, data.dtype if plain else np.dtype(np.float64), read)
