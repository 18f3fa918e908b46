"""Draws a task's measures over the time of an episode."""

from collections.abc import Mapping

import numpy as np

from vnl_mjx.report.colors import BLUE
from vnl_mjx.report.pictures.curves import draw_band
from vnl_mjx.report.pictures.style import Estimates, Picture, sheet

_NORMAL_95 = 1.96


def measures_over_time(
    measures: Mapping[str, np.ndarray], alive: np.ndarray, control_hz: float
) -> Picture:
    """Draws the mean of each measure [time, episode] over `alive` episodes, with 95 % intervals."""
    seconds, count = (1 + np.arange(len(alive))) / control_hz, alive.sum(axis=1)
    caption = "Means over the episodes that have not ended. Bands: 95 % intervals."
    alt = f"Means over time of {', '.join(name.replace('_', ' ') for name in measures)}."
    with sheet(1.5 * len(measures), caption, alt, rows=len(measures), columns=1) as drawn:
        for axis, (name, values) in zip(drawn.axes, measures.items(), strict=True):
            mean = np.where(alive, values, 0.0).sum(axis=1) / np.maximum(count, 1)
            spread = np.where(alive, np.square(values - mean[:, None]), 0.0).sum(axis=1)
            half = _NORMAL_95 * np.sqrt(spread) / np.maximum(count, 1)
            label = name.replace("_", " ")
            draw_band(axis, seconds, Estimates(mean, mean - half, mean + half), BLUE, label)
            axis.set_title(label, loc="left")
            axis.set_xlim(0.0, seconds[-1])
            axis.set_ylim(bottom=min(0.0, float((mean - half).min())))
            axis.grid()
        drawn.axes[-1].set_xlabel("time, s")
    return drawn.picture
