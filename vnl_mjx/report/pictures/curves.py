"""Draws curves: errors along an episode, success against the threshold, and prior rollouts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vnl_mjx.report.colors import GREEN, INK, MUTED, ORANGE, PURPLE, SKY, policy_color
from vnl_mjx.report.pictures.style import (
    Estimates,
    Picture,
    legend_above,
    quantity,
    sheet,
    upper_first,
)

_MOST_CURVE_POINTS = 125
_FEW_POINTS = 10
# Quartiles of fewer episodes than this are no quartiles.
_FEWEST_EPISODES = 4
_MODES = {
    "learned": (GREEN, "-"),
    "mean": (ORANGE, "--"),
    "fixed": (PURPLE, "-."),
    "smooth": (SKY, (0, (5, 1))),
    "random_latent": (MUTED, ":"),
    "zero_action": (INK, (0, (1, 1))),
}
_OTHER_MODE = (INK, ":")
_BINS = 40


def over_time(values: Mapping[str, np.ndarray], control_hz: float, label: str) -> Picture:
    """Draws an error [time, episode] along the episodes: median and quartiles over running episodes.

    The error is NaN after an episode's end; `label` has its unit.
    """
    caption = (
        f"{upper_first(quantity(label))} against time in the episode: median, and the quartiles as "
        f"a band, over the episodes that still go on; drawn while at least {_FEWEST_EPISODES} do."
    )
    curves = {name: _quartiles(value) for name, value in values.items()}
    alt = f"{label} over time: " + ", ".join(
        f"{name} median {np.nanmedian(curve[1]):.3g}"
        for name, curve in curves.items()
        if curve.size
    )
    with sheet(2.0, caption, alt + ".") as drawn:
        axis = drawn.axis
        for name, (low, middle, high) in curves.items():
            seconds = (1 + np.arange(len(middle))) / control_hz
            color = policy_color(name, tuple(values))
            draw_band(axis, seconds, Estimates(middle, low, high), color, name)
        axis.set(xlabel="time in the episode, s", ylabel=label)
        axis.set_ylim(bottom=0.0)
        axis.set_xlim(left=0.0)
        axis.grid()
        legend_above(axis)
    return drawn.picture


def success_curve(thresholds: np.ndarray, shares: Mapping[str, Estimates], label: str) -> Picture:
    """Draws the share of episodes [threshold] that never exceed a threshold, in the unit of `label`."""
    what = quantity(label)
    caption = (
        f"Success: share of episodes that reach the end of the clip and in which the {what} stays "
        "below the threshold at every step. Bands: 95 % bootstrap intervals over clips."
    )
    middle = len(thresholds) // 2
    alt = f"Success at {thresholds[middle]:.3g}: " + ", ".join(
        f"{name} {share.value[middle]:.2f}" for name, share in shares.items()
    )
    with sheet(2.2, caption, alt + ".") as drawn:
        axis = drawn.axis
        for name, share in shares.items():
            draw_band(axis, thresholds, share, policy_color(name, tuple(shares)), name)
        axis.set(xlabel=f"threshold: {label}", ylabel="share of episodes", ylim=(0.0, 1.02))
        axis.set_xlim(0.0, thresholds[-1])
        axis.grid()
        legend_above(axis)
    return drawn.picture


def survival_curves(
    seconds: np.ndarray,
    alive: Mapping[str, Estimates],
    start: str,
    target: tuple[float, float] | None = None,
) -> Picture:
    """Draws the share [time] of prior rollouts still up, for each mode.

    `start` describes their start, for instance "clip states"; `target`, seconds and share, is marked.
    """
    caption = (
        f"Prior rollouts from {start}: share of episodes still up. The latent is the prior's mean, "
        "or drawn with its learned variance, with a fixed one, or smoothly in time; random_latent and "
        "zero_action are baselines. Bands: 95 % intervals."
    )
    ends = ", ".join(f"{mode} {100 * s.value[-1]:.0f} %" for mode, s in alive.items())
    with sheet(2.1, caption, f"Survival after {seconds[-1]:.3g} s: {ends}.") as drawn:
        axis = drawn.axis
        for mode, spread in alive.items():
            color, linestyle = _MODES.get(mode, _OTHER_MODE)
            draw_band(axis, seconds, spread, color, mode, linestyle)
        if target is not None:
            axis.plot(*target, "x", color=INK, markersize=6, label="target", clip_on=False)
        axis.set(xlabel="time, s", ylabel="share still up", ylim=(0.0, 1.02))
        axis.set_xlim(0.0, seconds[-1])
        axis.grid()
        legend_above(axis)
    return drawn.picture


def against_data(rollouts: Mapping[str, np.ndarray], data: np.ndarray, label: str) -> Picture:
    """Draws histograms of a quantity in prior rollouts, by mode, and in the data.

    NaN is left out; the outermost bins include values beyond them.
    """
    data = data[np.isfinite(data)]
    finite = {mode: value[np.isfinite(value)] for mode, value in rollouts.items()}
    everything = np.concatenate([data, *finite.values()])
    low, high = np.quantile(everything, (0.002, 0.998))
    edges = np.linspace(low, high, _BINS + 1)
    caption = (
        f"{upper_first(quantity(label))} in prior rollouts (lines) and in the data (grey area)."
    )
    middles = ", ".join(f"{mode} {np.median(v):.3g}" for mode, v in finite.items() if len(v))
    alt = f"Histogram of {label}: medians data {np.median(data):.3g}, {middles}."
    with sheet(2.0, caption, alt) as drawn:
        axis = drawn.axis
        axis.hist(
            np.clip(data, low, high), edges, density=True, color=MUTED, alpha=0.35, label="data"
        )
        for mode, value in finite.items():
            color, linestyle = _MODES.get(mode, _OTHER_MODE)
            look = {"color": color, "linestyle": linestyle, "linewidth": 1.4, "label": mode}
            if len(value):
                axis.hist(np.clip(value, low, high), edges, density=True, histtype="step", **look)
        axis.set(xlabel=label, ylabel="density", yticks=[])
        axis.spines["left"].set_visible(False)
        legend_above(axis)
    return drawn.picture


def draw_band(
    axis: Axes, x: np.ndarray, spread: Estimates, color: str, label: str, linestyle: Any = "-"
) -> None:
    """Draws a curve with its interval, if any; thins it to a visible number of points."""
    rows = np.unique(
        np.linspace(0, len(x) - 1, min(len(x), _MOST_CURVE_POINTS)).round().astype(int)
    )
    if spread.low is not None and spread.high is not None:
        ends = spread.low[rows], spread.high[rows]
        axis.fill_between(x[rows], *ends, color=color, alpha=0.22, linewidth=0)
    marker = "o" if len(x) < _FEW_POINTS else None
    axis.plot(
        x[rows], spread.value[rows], color=color, linestyle=linestyle, label=label, marker=marker
    )


def _quartiles(values: np.ndarray) -> np.ndarray:
    """Returns quartiles [3, time] over episodes, up to the time when too few still run."""
    enough = np.isfinite(values).sum(axis=1) >= min(_FEWEST_EPISODES, values.shape[1])
    stop = len(enough) if enough.all() else int(np.argmin(enough))
    return np.nanquantile(values[:stop], (0.25, 0.5, 0.75), axis=1)
