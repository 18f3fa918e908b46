"""What the decoder does when the prior alone drives it: how long it lasts, how like the data."""

from collections.abc import Mapping

import numpy as np

from vnl_mjx.report.pictures.curves import draw_band
from vnl_mjx.report.pictures.style import (
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    Estimates,
    Picture,
    legend_above,
    quantity,
    sheet,
    upper_first,
)

_MODES = {
    "learned": (GREEN, "-"),
    "mean": (ORANGE, "--"),
    "fixed": (PURPLE, "-."),
    "smooth": (SKY, (0, (5, 1))),
}
_OTHER_MODE = (INK, ":")
_BINS = 40


def survival_curves(
    seconds: np.ndarray,
    alive: Mapping[str, Estimates],
    start: str,
    target: tuple[float, float] | None = None,
) -> Picture:
    """Share [time] of prior rollouts still up, for each way to draw the latent.

    `start` is where they began, for instance "clip states"; `target`, seconds and share, is marked.
    """
    caption = (
        f"Prior rollouts from {start}: share of episodes still up. The latent is the prior's mean, "
        "or drawn with its learned variance, with a fixed one, or smoothly in time."
    )
    if any(spread.low is not None for spread in alive.values()):
        caption += " Bands: 95 % intervals."
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
    """Histograms of a quantity in prior rollouts, by mode, and in the data; NaN is left out."""
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
        axis.hist(data, edges, density=True, color=MUTED, alpha=0.35, label="data")
        for mode, value in finite.items():
            color, linestyle = _MODES.get(mode, _OTHER_MODE)
            if len(value):
                axis.hist(
                    value,
                    edges,
                    density=True,
                    histtype="step",
                    color=color,
                    linestyle=linestyle,
                    linewidth=1.4,
                    label=mode,
                )
        axis.set(xlabel=label, ylabel="density", yticks=[])
        axis.spines["left"].set_visible(False)
        legend_above(axis)
    return drawn.picture
