"""Draws encoding models by group, and latent variability against action sensitivity."""

from collections.abc import Mapping, Sequence

import numpy as np

from vnl_mjx.report.colors import BLUE, GRID, INK, MUTED, VERMILLION
from vnl_mjx.report.pictures.style import (
    Picture,
    group_colors,
    legend_above,
    logarithmic,
    sheet,
    short,
)

_MOST_NAMED = 11


def units_by_group(
    values: Mapping[str, np.ndarray],
    are_shown: Mapping[str, np.ndarray],
    medians: Mapping[str, Sequence[float]],
    label: str,
    caption: str,
) -> Picture:
    """Draws a number of each unit, [unit] by group, with median, low and high of each group.

    Units where `are_shown`, bool [unit], is false are grey.
    """
    height = 0.7 + 0.3 * len(values)
    with sheet(height, caption, caption, width=4.0, pad=0.16) as drawn:
        axis = drawn.axis
        for row, (group, own) in enumerate(values.items()):
            place = row + np.random.default_rng(0).uniform(-0.26, 0.26, len(own))
            for kept, color in ((~are_shown[group], MUTED), (are_shown[group], BLUE)):
                axis.plot(own[kept], place[kept], ".", color=color, markersize=3, alpha=0.6)
            middle, low, high = medians[group]
            axis.plot([low, high], [row, row], color=INK, linewidth=1.6)
            axis.plot(middle, row, "D", color=INK, markersize=4)
        axis.axvline(0.0, color=MUTED, linewidth=0.8)
        axis.set_yticks(range(len(values)), [short(name, 30) for name in values])
        axis.set_ylim(len(values) - 0.5, -0.5)
        axis.set_xlabel(label)
        axis.grid(axis="x")
    return drawn.picture


def variability(
    sensitivity: np.ndarray, deviation: np.ndarray, behaviours: Sequence[str], caption: str
) -> Picture:
    """Draws action sensitivity against posterior standard deviation, one dot per behaviour and dimension.

    Both are [dot], as are the `behaviours`.
    """
    of_dot = np.asarray(behaviours)
    colors = group_colors(of_dot.tolist())
    with sheet(3.0, caption, caption) as drawn:
        axis = drawn.axis
        for rank, (name, color) in enumerate(colors.items()):
            own = of_dot == name
            shown = short(name, 18) if rank < _MOST_NAMED else None
            marker = "o" if color != MUTED else "x"
            axis.plot(
                deviation[own], sensitivity[own], marker, color=color, markersize=2.6, label=shown
            )
        axis.set(
            xlabel="posterior standard deviation, units of the latent",
            ylabel="action sensitivity, per unit of the latent",
        )
        logarithmic(axis)
        axis.grid()
        legend_above(axis, columns=3, markerscale=1.5)
    return drawn.picture


def with_bands(
    names: Sequence[str],
    found: np.ndarray,
    bands: np.ndarray,
    label: str,
    caption: str,
    band_label: str,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Picture:
    """Draws a number of each name, [name, (value, low, high)], over a range to compare it with.

    The ranges are `bands` [name, (low, high)], NaN for none; `band_label` says what they are.
    """
    with sheet(0.9 + 0.2 * len(names), caption, caption, width=4.0, pad=0.16) as drawn:
        axis, place = drawn.axis, np.arange(len(names))
        known = np.isfinite(bands).all(axis=1)
        if known.any():
            low, high = bands[known].T
            axis.barh(place[known], high - low, left=low, height=0.8, color=GRID, label=band_label)
        axis.hlines(place, found[:, 1], found[:, 2], color=VERMILLION, linewidth=1.4)
        axis.plot(found[:, 0], place, "o", color=VERMILLION, label="measured")
        axis.axvline(0.0, color=MUTED, linewidth=0.8)
        axis.set_yticks(place, [short(name, 30) for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        margin = 0.01 * (bounds[1] - bounds[0])
        axis.set_xlim(bounds[0] - margin, bounds[1] + margin)
        axis.set_xlabel(label)
        axis.grid(axis="x")
        legend_above(axis)
    return drawn.picture
