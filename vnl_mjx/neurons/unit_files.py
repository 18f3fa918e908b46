"""Opens files of units; recognises their kind by content.

Layouts: NWB 2 (table `units`: `spike_times`, `spike_times_index`, `id`), read by HDF5 alone; Phy and Kilosort
(`spike_times.npy` in samples, `spike_clusters.npy`, `params.py`, `cluster_group.tsv`); arrays by name in
.npz, MATLAB or HDF5 files; tables (.csv).
"""

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vnl_mjx.clips.sources.file_head import file_head
from vnl_mjx.clips.sources.hdf5_source import Hdf5Source, listing
from vnl_mjx.clips.sources.variables import (
    Variable,
    mat5_variables,
    mat73_variables,
    npz_variables,
    reading,
    stripped,
)
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.units import Units, signal_units, spike_units

READABLE = (
    "NWB with a table of units, a folder of Phy or Kilosort, arrays spike_times and spike_units (or time and "
    "signals) in .npz, .mat or HDF5, or .csv with the columns unit,time (or time and one per signal)"
)
_SPIKES = ("spike_times",)
_OWNERS = ("spike_units", "spike_clusters", "unit", "units", "clusters")
_NAMES = ("unit_names", "names")
_SIGNALS = ("signals", "values", "dff", "fluorescence")
_TIMES = ("time", "times", "timestamps")


def open_units(path: str | os.PathLike[str]) -> Units:
    """Reads units from a file or folder (`READABLE`), whole.

    Raises:
        UserError: it is missing, damaged, of no known kind, or what it holds does not fit together.
    """
    name = str(Path(path).expanduser())
    if Path(name).is_dir():
        return _phy(Path(name))
    head = file_head(Path(name), READABLE)
    if head.startswith(b"MATLAB 7.3") or h5py.is_hdf5(name):
        return _hdf5(name, head.startswith(b"MATLAB"))
    if head.startswith(b"MATLAB 5"):
        return _from_variables(name, mat5_variables(name))
    if head.startswith(b"PK"):
        return _from_variables(name, npz_variables(name))
    if b"\0" in head or head.startswith((b"\x80", b"\x93NUMPY")):
        raise UserError(f"{name}: is of no known kind, expected {READABLE}")
    return _table(name)


def _hdf5(path: str, is_matlab: bool) -> Units:
    source = Hdf5Source(path)
    try:
        with source.reading():
            if "nwb_version" in source.file.attrs:
                return _nwb(path, source.file)
        if is_matlab:
            return _from_variables(path, mat73_variables(source))
        found: dict[str, Variable] = {}
        for name in source.found():
            data: Any = source.dataset(name)
            if data is not None:
                is_number = data.dtype.kind in "fiu"
                found[name] = Variable(data.shape, is_number, lambda data=data: data[()])
        with source.reading():
            return _from_variables(path, found)
    finally:
        source.close()


def _nwb(path: str, file: h5py.File) -> Units:
    table: Any = file.get("units")
    if table is None or "spike_times" not in table or "spike_times_index" not in table:
        raise UserError(
            f"{path}: is NWB without spikes, expected spike_times in its table of units; give continuous "
            "signals as arrays time and signals (.npz)"
        )
    names = [str(i) for i in table["id"][()]]
    span = None
    if "obs_intervals" in table and table["obs_intervals"].size:
        intervals = table["obs_intervals"][()]
        span = float(intervals.min()), float(intervals.max())
    trains = _split(path, table["spike_times"][()], table["spike_times_index"][()], len(names))
    return spike_units(path, names, trains, span)


def _split(path: str, times: np.ndarray, ends: np.ndarray, count: int) -> list[np.ndarray]:
    """Returns the times of each unit, which lie one after another up to `ends`."""
    ends = np.asarray(ends, np.int64).ravel()
    if len(ends) != count or (np.diff(ends, prepend=0) < 0).any() or ends[-1:].sum() != len(times):
        raise UserError(
            f"{path}: spike_times_index does not fit the {len(times)} spike_times of {count} units, expected "
            "the end of each unit's spikes; write the file again"
        )
    return np.split(np.asarray(times, np.float64), ends[:-1])


def _from_variables(path: str, variables: Mapping[str, Variable]) -> Units:
    def first(names: Sequence[str]) -> str | None:
        return next((n for n in names if n in variables and variables[n].is_number), None)

    def read(name: str) -> np.ndarray:
        return np.asarray(variables[name].read()).squeeze()

    texts = next((stripped(variables[n]) for n in _NAMES if n in variables), ())
    truth = stripped(variables["truth"]) if "truth" in variables else ()
    spikes, owners = first(_SPIKES), first(_OWNERS)
    span = tuple(map(float, read("span"))) if first(("span",)) else None
    if spikes and first(("spike_times_index",)):
        ends = np.atleast_1d(read("spike_times_index"))
        names = texts or [str(i) for i in range(len(ends))]
        return spike_units(path, names, _split(path, read(spikes), ends, len(names)), span, truth)
    if spikes and owners:
        return _of_owners(path, read(spikes), read(owners), texts, span)
    signals, time = first(_SIGNALS), first(_TIMES)
    if signals and time:
        return signal_units(path, texts, read(time), np.asarray(variables[signals].read()))
    raise UserError(
        f"{path}: expected arrays spike_times and spike_units, or time and signals, found "
        f"{listing(tuple(variables))}"
    )


def _of_owners(
    path: str,
    times: np.ndarray,
    owners: np.ndarray,
    texts: Sequence[str] = (),
    span: tuple[float, float] | None = None,
    notes: Sequence[str] = (),
) -> Units:
    """Returns the units of spikes that each name their unit."""
    times, owners = np.atleast_1d(times), np.atleast_1d(owners)
    if times.shape != owners.shape:
        raise UserError(
            f"{path}: {times.shape} spike times and {owners.shape} units, expected one unit for each spike"
        )
    numbers, place = np.unique(owners, return_inverse=True)
    order = np.argsort(place, kind="stable")
    trains = np.split(times[order], np.cumsum(np.bincount(place))[:-1])
    names = (
        texts if len(texts) == len(numbers) else [f"{n:g}" if n == n else "NaN" for n in numbers]
    )
    return spike_units(path, names, trains, span, notes=notes)


def _phy(folder: Path) -> Units:
    """Reads a folder of Phy or Kilosort; `params.py` is searched as text, never run."""
    parts = []
    for name in ("spike_times.npy", "spike_clusters.npy"):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: expected {name}, as Phy and Kilosort write it, found none")
        with reading(str(folder / name), "NumPy array"):
            stored = np.load(folder / name, allow_pickle=False).ravel()
        if stored.dtype.kind not in "iuf":
            raise UserError(f"{folder / name}: expected numbers, found {stored.dtype}")
        parts.append(stored)
    settings = folder / "params.py"
    text = settings.read_text(errors="replace") if settings.is_file() else ""
    rate = re.search(r"^\s*sample_rate\s*=\s*([\d.]+(?:[eE][+-]?\d+)?)\.?\s*(?:#.*)?$", text, re.M)
    if rate is None or not float(rate[1]) > 0:
        raise UserError(f"{settings}: expected a line like sample_rate = 30000., found none")
    samples, clusters = parts
    if len(samples) != len(clusters):
        raise UserError(
            f"{folder}: spike_clusters.npy has {len(clusters)} numbers, expected one for each of the "
            f"{len(samples)} spike times; copy the folder again"
        )
    noise = _noise(folder)
    kept = ~np.isin(clusters, noise)
    notes = [f"{len(noise)} clusters labelled noise are left out"] if noise else []
    return _of_owners(str(folder), samples[kept] / float(rate[1]), clusters[kept], notes=notes)


def _noise(folder: Path) -> list[int]:
    """Returns the clusters that Phy's user labelled as noise."""
    labels = folder / "cluster_group.tsv"
    if not labels.is_file():
        return []
    rows = [line.split("\t") for line in labels.read_text(errors="replace").splitlines()[1:]]
    return [int(r[0]) for r in rows if len(r) > 1 and r[1].strip() == "noise" and r[0].isdigit()]


def _table(path: str) -> Units:
    with reading(path, "table"):
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        rows = [row for row in csv.reader(lines) if row]
    header = [cell.strip() for cell in rows[0]] if rows else []
    lower = [name.lower() for name in header]
    if lower[:2] not in (["unit", "time"], ["time", "unit"]) and lower[:1] != ["time"]:
        raise UserError(
            f"{path}: expected a table whose first line is unit,time or time,NAME,..., found "
            f"{','.join(header)[:80]!r}"
        )
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise UserError(f"{path}: line {number} has {len(row)} cells, expected {len(header)}")
    if len(rows) < 2:
        raise UserError(
            f"{path}: has no rows below its first line, expected numbers; write it again"
        )
    columns = dict(zip(lower, map(list, zip(*rows[1:], strict=True)), strict=True))
    time = _numbers(path, "time", columns.pop("time"))
    if "unit" not in columns:
        values = [_numbers(path, name, cells) for name, cells in columns.items()]
        return signal_units(
            path, [n for n in header if n.lower() != "time"], time, np.array(values).T
        )
    names, place = np.unique([cell.strip() for cell in columns["unit"]], return_inverse=True)
    return _of_owners(path, time, place, names.tolist())


def _numbers(path: str, name: str, cells: list[str]) -> np.ndarray:
    for number, cell in enumerate(cells, 2):
        try:
            float(cell or "nan")
        except ValueError:
            raise UserError(
                f"{path}: line {number}: {name} is {cell!r}, expected a number"
            ) from None
    return np.array([float(cell or "nan") for cell in cells])
