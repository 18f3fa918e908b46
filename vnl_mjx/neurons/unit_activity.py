"""Puts recorded units on the rows of a record, smoothed, so that they compare like a layer."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from vnl_mjx.activity.file import open_activity_file
from vnl_mjx.neurons.bins import binned, bins_of, within_span
from vnl_mjx.neurons.unit_files import open_units


def unit_activity(path: Path, record: Path, session: str | None, smooth_s: float) -> np.ndarray:
    """Returns the activity of units on all rows of a record, [row, unit]; NaN where they were not recorded.

    Spike counts or signals, smoothed in each stretch by a Gaussian with a standard deviation of `smooth_s`
    seconds; of counts the square root, whose noise does not grow with the rate.

    Raises:
        UserError: a file cannot be read, or the units do not overlap the record.
    """
    units = open_units(path)
    with open_activity_file(record) as file:
        rows, rate_hz = file.rows, file.rate_hz
    everywhere = np.ones(rows.num_rows, bool)
    bins = bins_of(rows, rate_hz, None, everywhere, session)
    bins = within_span(bins, units, str(record))
    values = binned(units, bins)
    found = np.full((rows.num_rows, values.shape[1]), np.nan)
    for stretch in np.unique(bins.stretch):
        own = bins.stretch == stretch
        part = (
            gaussian_filter1d(values[own], smooth_s * rate_hz, axis=0) if smooth_s else values[own]
        )
        found[bins.rows[own, 0]] = np.sqrt(part) if units.are_spikes else part
    return found
