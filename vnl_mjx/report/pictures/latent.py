"""Draws the latent space: positions of states, KL by dimension, autocorrelation."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from vnl_mjx.report.colors import BLUE, GREEN, GRID, INK, MUTED
from vnl_mjx.report.pictures.curves import draw_band
from vnl_mjx.report.pictures.style import (
    SEQUENTIAL,
    Estimates,
    Picture,
    group_colors,
    legend_above,
    logarithmic,
    quantity,
    sheet,
    short,
)

_MOST_DIMENSIONS = 40  # shown dimensions of the aggregate posterior, most active first
_MOST_NAMED = 7
_FLOOR_NATS = 1e-4


def latent_by_group(
    points: np.ndarray, groups: Sequence[str], axes: Sequence[str], what: str, method: str = "PCA"
) -> Picture:
    """Draws posterior means [state, 2] in two dimensions, coloured by clip or label, `groups` [state].

    `axes` are names of the two dimensions, for instance "PC 1 (31 %)"; `what` is "clip" or "behaviour".
    """
    of_point = np.asarray(groups)
    colors = group_colors(of_point.tolist())
    caption = f"{method} of the posterior means of visited states, by {quantity(what)}."
    alt = f"{method} scatter of {len(points)} latent states in {len(colors)} groups by {quantity(what)}."
    with sheet(2.9, caption, alt) as drawn:
        axis = drawn.axis
        for rank, (group, color) in enumerate(colors.items()):
            label = short(group) if rank < _MOST_NAMED else None
            if rank == _MOST_NAMED:
                label = f"{len(colors) - _MOST_NAMED} others"
            _scatter(axis, points[of_point == group], label=label, color=color)
        _plane(axis, axes)
        longest = max(len(short(group)) for group in colors)
        legend_above(axis, columns=2 if longest > 12 else None, markerscale=2.5)
    return drawn.picture


def latent_by_value(
    points: np.ndarray, values: np.ndarray, axes: Sequence[str], what: str, method: str = "PCA"
) -> Picture:
    """Draws posterior means [state, 2], coloured by a number [state]; `what` is its name with unit."""
    caption = f"{method} of the posterior means of visited states, by {quantity(what)}."
    alt = f"{method} scatter of {len(points)} latent states by {quantity(what)}."
    # quantiles, so that a few outliers do not use up the colours
    low, high = np.nanquantile(values, (0.02, 0.98))
    with sheet(2.7, caption, alt) as drawn:
        axis = drawn.axis
        cloud = _scatter(axis, points, c=values, cmap=SEQUENTIAL, vmin=low, vmax=high)
        bar = drawn.figure.colorbar(cloud, ax=axis, label=what, location="top", aspect=40)
        bar.outline.set_visible(False)
        _plane(axis, axes)
    return drawn.picture


def kl_per_dimension(kl: np.ndarray, threshold: float) -> Picture:
    """Draws the KL [dim] of posterior and prior, nats, sorted; above `threshold` a dimension is active."""
    ordered = np.maximum(np.sort(kl)[::-1], _FLOOR_NATS)
    num_active = int(np.sum(kl > threshold))
    caption = (
        f"KL(posterior ‖ prior) of each latent dimension, mean over visited states: {kl.sum():.2f} "
        f"nats in all, {num_active} of {len(kl)} dimensions above {threshold:g} nats."
    )
    with sheet(2.0, caption, caption) as drawn:
        axis, rank = drawn.axis, 1 + np.arange(len(ordered))
        axis.axhline(threshold, color=INK, linestyle="--", linewidth=0.9, label="active above")
        active = ordered > threshold
        axis.plot(rank[active], ordered[active], "o", color=BLUE, label="active")
        axis.plot(rank[~active], ordered[~active], "o", color=MUTED, label="inactive")
        axis.set(xlabel="latent dimension, sorted", ylabel="KL, nats")
        logarithmic(axis)
        axis.set_xlim(0, len(ordered) + 1)
        axis.set_ylim(bottom=0.5 * min(threshold, ordered[-1]))
        axis.grid(axis="y")
        legend_above(axis)
    return drawn.picture


def autocorrelation(
    lags_s: np.ndarray, correlation: Estimates, time_constant_s: float | None = None
) -> Picture:
    """Draws the autocorrelation [lag] of the posterior mean with quartiles over dimensions."""
    caption = "Autocorrelation of the posterior mean, averaged over latent dimensions."
    if correlation.low is not None:
        caption += " Band: quartiles over dimensions."
    if time_constant_s is not None:
        caption += f" It falls to 1/e at {time_constant_s:.2f} s."
    with sheet(1.9, caption, caption) as drawn:
        axis = drawn.axis
        draw_band(axis, lags_s, correlation, BLUE, "")
        axis.axhline(0.0, color=MUTED, linewidth=0.8)
        if time_constant_s is not None:
            axis.axvline(time_constant_s, color=INK, linestyle="--", linewidth=0.9, label="1/e")
            legend_above(axis)
        axis.set(xlabel="lag, s", ylabel="correlation")
        axis.set_xlim(lags_s[0], lags_s[-1])
        axis.set_ylim(top=1.02)
        axis.grid()
    return drawn.picture


def aggregate_posterior(
    posterior: Mapping[str, np.ndarray], prior: Mapping[str, np.ndarray]
) -> Picture:
    """Draws `mean` and `std` [dim] of posterior and prior over all visited states."""
    order = np.argsort(-posterior["std"])[:_MOST_DIMENSIONS]
    left_out = len(posterior["std"]) - len(order)
    caption = (
        "Aggregate posterior (over all visited states) against the prior: mean and one standard "
        "deviation of each latent dimension" + (f"; the {len(order)} widest." if left_out else ".")
    )
    with sheet(2.1, caption, caption) as drawn:
        axis, rank = drawn.axis, 1 + np.arange(len(order))
        for shift, name, color, part in (
            (-0.18, "aggregate posterior", BLUE, posterior),
            (0.18, "prior", GREEN, prior),
        ):
            mean, std = part["mean"][order], part["std"][order]
            axis.vlines(rank + shift, mean - std, mean + std, color=color, linewidth=1.1)
            axis.plot(rank + shift, mean, ".", color=color, label=name)
        axis.axhline(0.0, color=GRID, linewidth=0.8, zorder=0)
        axis.set(xlabel="latent dimension, widest first", ylabel="latent value")
        axis.grid(axis="y")
        legend_above(axis)
    return drawn.picture


def _scatter(axis: Axes, points: np.ndarray, **look: object):
    return axis.scatter(*points.T, s=3, linewidths=0, alpha=0.75, rasterized=True, **look)


def _plane(axis: Axes, axes: Sequence[str]) -> None:
    axis.set(xlabel=axes[0], ylabel=axes[1], xticks=[], yticks=[])
    axis.spines[["left", "bottom"]].set_color(GRID)
