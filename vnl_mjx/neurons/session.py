"""Brings a record and units onto the same bins of time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vnl_mjx.activity.file import ActivityFile
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.bins import Bins, binned, bins_of, within_span
from vnl_mjx.neurons.features import bin_means, groups_of, usable_rows
from vnl_mjx.neurons.units import Units

LEAST_SPIKES = 50


@dataclass(frozen=True)
class RecordBins:
    """Holds the features of a record in bins.

    Attributes:
        path: of the record.
        values: of each group, float32 [bin, column].
        bins: of one session.
        num_rows: rows of the record.
    """

    path: str
    values: dict[str, np.ndarray]
    bins: Bins
    num_rows: int

    @property
    def left_out(self) -> int:
        """Number of rows in no bin."""
        return self.num_rows - self.bins.rows.size

    def during(self, units: Units) -> "RecordBins":
        """Returns the bins in which the units were recorded; raises UserError if there are none."""
        bins = within_span(self.bins, units, self.path)
        kept = np.isin(self.bins.start, bins.start)
        values = {name: columns[kept] for name, columns in self.values.items()}
        return RecordBins(self.path, values, bins, self.num_rows)


def read_record(
    record: ActivityFile,
    groups: Sequence[str] | None,
    bin_s: float | None = None,
    session: str | None = None,
) -> RecordBins:
    """Reads the groups of a record in bins; see `groups_of` and `bins_of` for arguments and errors."""
    quantities = groups_of(record, groups)
    usable = usable_rows(record, quantities)
    bins = bins_of(record.rows, record.rate_hz, bin_s, usable, session)
    values = {name: bin_means(record, own, bins) for name, own in quantities.items()}
    return RecordBins(record.path, values, bins, record.rows.num_rows)


def enough_spikes(units: Units, bins: Bins, least: int = LEAST_SPIKES) -> tuple[Units, list[str]]:
    """Returns the units with at least `least` spikes in the bins (or a signal that varies), and other names.

    Raises:
        UserError: no unit is left, or a signal is not finite.
    """
    counts = binned(units, bins)
    enough = counts.sum(axis=0) >= least if units.are_spikes else counts.std(axis=0) > 0
    if not enough.any():
        most = f"{least} spikes in {bins.count * bins.width_s:.0f} s"
        most = most if units.are_spikes else "a signal that varies"
        raise UserError(
            f"{units.source}: expected a unit with {most}, found none of {len(units.names)}; check the units "
            "and --offset"
        )
    few = [name for name, kept in zip(units.names, enough, strict=True) if not kept]
    return units.select(np.flatnonzero(enough).tolist()), few
