"""Cuts the rows of a record into bins of time, and counts units in them."""

from dataclasses import dataclass

import numpy as np

from vnl_mjx.activity.file import Rows
from vnl_mjx.clips.sources.hdf5_source import listing
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.blocks import stretches
from vnl_mjx.neurons.units import Units


@dataclass(frozen=True)
class Bins:
    """Holds bins in the order of time.

    Attributes:
        rows: int [bin, row], consecutive rows of one stretch.
        start: [bin] seconds on the record's clock.
        stretch: int [bin], the stretch without gaps that a bin lies in.
        width_s: seconds.
    """

    rows: np.ndarray
    start: np.ndarray
    stretch: np.ndarray
    width_s: float

    @property
    def count(self) -> int:
        """Number of bins."""
        return len(self.start)

    def select(self, kept: np.ndarray) -> "Bins":
        """Returns the bins where `kept`, bool [bin], is true."""
        return Bins(self.rows[kept], self.start[kept], self.stretch[kept], self.width_s)

    def lagged(self, lag_s: float) -> np.ndarray:
        """Returns the bin `lag_s` before each bin, int [bin]; -1 where that is not in the same stretch."""
        steps = round(lag_s / self.width_s)
        found = np.arange(self.count) - steps
        inside = (found >= 0) & (found < self.count)
        same = self.stretch[np.clip(found, 0, self.count - 1)] == self.stretch
        return np.where(inside & same, found, -1)


def bins_of(
    rows: Rows, rate_hz: float, width_s: float | None, usable: np.ndarray, session: str | None
) -> Bins:
    """Cuts one session into bins that hold no gap of the clock, no new start and no row that is not usable.

    Args:
        rows: of the record.
        rate_hz: rows per second.
        width_s: of a bin, a multiple of a row's duration; None: one row.
        usable: bool [row], besides `rows.valid`.
        session: name of the session; None: the only one.

    Raises:
        UserError: the width is no multiple, or the session is not known, not given, or without bins.
    """
    per_bin = 1 if width_s is None else round(width_s * rate_hz)
    if width_s is not None and (per_bin < 1 or abs(per_bin / rate_hz - width_s) > 1e-6):
        raise UserError(
            f"--bin: expected a multiple of a row's duration, {1 / rate_hz:g} s, found {width_s:g} s"
        )
    kept = rows.valid & usable & (rows.session == _session(rows, session))
    stretch = stretches(rows, rate_hz, kept)
    found = np.flatnonzero(kept)
    firsts = np.flatnonzero(np.diff(stretch[found], prepend=-1))
    place = np.arange(len(found)) - np.repeat(firsts, np.diff(firsts, append=len(found)))
    begins = found[(place % per_bin == 0)]
    begins = begins[begins + per_bin <= len(stretch)]
    begins = begins[stretch[begins] == stretch[begins + per_bin - 1]]
    if not len(begins):
        raise UserError(
            f"record: no stretch of {per_bin} valid rows in a row, expected at least one; shorten --bin or "
            "record again"
        )
    own = begins[:, None] + np.arange(per_bin)
    return Bins(own, rows.time[begins], stretch[begins], per_bin / rate_hz)


def _session(rows: Rows, wanted: str | None) -> int:
    names = rows.sessions
    if wanted is None and len(names) == 1:
        return 0
    if wanted in names:
        return names.index(wanted)
    found = "none" if wanted is None else repr(wanted)
    raise UserError(
        f"--session: expected one of {listing(names)}, each on its own clock, found {found}; name the one "
        "that the units belong to"
    )


def within_span(bins: Bins, units: Units, path: str) -> Bins:
    """Returns the bins during which the units were recorded.

    Raises:
        UserError: there are none: the clocks differ.
    """
    first, last = units.span
    kept = (bins.start >= first) & (bins.start + bins.width_s <= last)
    if not kept.any():
        ends = bins.start[0], bins.start[-1] + bins.width_s
        raise UserError(
            f"{units.source}: units from {first:.3f} to {last:.3f} s do not overlap the record {path} from "
            f"{ends[0]:.3f} to {ends[1]:.3f} s; give --offset, the seconds to add to the units' times"
        )
    return bins.select(kept)


def binned(units: Units, bins: Bins) -> np.ndarray:
    """Returns spike counts, or means of signals, in each bin, float64 [bin, unit].

    A spike at a bin's first instant belongs to it. A signal that is sampled more slowly than twice per bin is
    interpolated at the middle of each bin.

    Raises:
        UserError: a signal has values that are not finite.
    """
    if units.spikes is not None:
        return np.stack([_counts(times, bins) for times in units.spikes], axis=1)
    assert units.time is not None and units.values is not None
    values = np.stack([_means(units.time, column, bins) for column in units.values.T], axis=1)
    if (bad := ~np.isfinite(values)).any():
        worst = int(bad.sum(axis=0).argmax())
        raise UserError(
            f"{units.source}: {units.names[worst]} is NaN in {bad[:, worst].sum()} of {bins.count} bins, "
            "expected numbers; fill these, or leave the unit out (--units)"
        )
    return values


def _place(times: np.ndarray, bins: Bins) -> np.ndarray:
    """Returns the bin of each time, int; -1 outside of all. Rounding of clocks by 1 µs does not matter."""
    place = np.searchsorted(bins.start, times + 1e-6, side="right") - 1
    inside = (place >= 0) & (times + 1e-6 < bins.start[place] + bins.width_s)
    return np.where(inside, place, -1)


def _counts(times: np.ndarray, bins: Bins) -> np.ndarray:
    place = _place(times, bins)
    return np.bincount(place[place >= 0], minlength=bins.count).astype(np.float64)


def _means(time: np.ndarray, values: np.ndarray, bins: Bins) -> np.ndarray:
    if 2.0 * np.median(np.diff(time)) > bins.width_s:
        return np.interp(bins.start + 0.5 * bins.width_s, time, values)
    place = _place(time, bins)
    inside = place >= 0
    sums = np.bincount(place[inside], weights=values[inside], minlength=bins.count)
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(place[inside], minlength=bins.count)
