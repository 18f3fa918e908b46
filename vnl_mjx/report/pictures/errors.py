"""Draws metrics of policies by clip, reward term, actuator or part of the body: dots with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from vnl_mjx.report.colors import GRID, INK, MUTED, policy_color, policy_style
from vnl_mjx.report.pictures.style import (
    Estimates,
    Picture,
    legend_above,
    quantity,
    sheet,
    short,
    upper_first,
)

MAX_NAMED_ROWS = 40  # more are drawn as distributions
_ROW_INCHES = 0.17
_BARS = "Bars: 95 % bootstrap intervals."


def by_clip(
    values: Mapping[str, Estimates],
    clips: Sequence[str],
    label: str,
    sets: Sequence[str] | None = None,
    target: float | None = None,
) -> Picture:
    """Draws a metric of every clip, [clip] for each policy, grouped by `sets`; see `by_name`."""
    caption = f"{upper_first(quantity(label))} of each clip, mean over its episodes."
    return by_name(
        values, clips, label, groups=sets, target=target, caption=caption, of_what="clips"
    )


def by_name(
    values: Mapping[str, Estimates],
    names: Sequence[str],
    label: str,
    *,
    groups: Sequence[str] | None = None,
    target: float | None = None,
    caption: str = "",
    bounds: tuple[float | None, float | None] = (None, None),
    sort: bool = True,
    of_what: str = "actuators",
    zero: bool = False,
) -> Picture:
    """Draws a row for each name with a dot for each policy; for many names, their distribution.

    Values are [name] for each policy (or kind of states), and `label` has their unit. Rows of one of the
    `groups` [name] appear under its title, sorted by the first policy's value, highest at the top, or as
    given. The caption mentions intervals, if any. Values beyond the `bounds` of the axis appear as arrows
    at its edge. `of_what` is the plural noun for the names; `zero` draws a line at 0, for differences.
    """
    if len(names) > MAX_NAMED_ROWS:
        bounded = {name: np.clip(spread.value, *bounds) for name, spread in values.items()}
        return distribution(bounded, label, of_what, target)
    first = next(iter(values.values())).value
    rows = _ordered_rows(first, groups, sort)
    if any(spread.low is not None for spread in values.values()):
        caption = f"{caption or upper_first(quantity(label)) + '.'} {_BARS}"
    titles = sum(isinstance(row, str) for row in rows)
    height = 0.75 + _ROW_INCHES * len(rows)
    alt = f"{label}: {_ranges(values)}; {len(names)} rows."
    with sheet(height, caption, alt) as drawn:
        axis = drawn.axis
        offsets = 0.22 * (np.arange(len(values)) - 0.5 * (len(values) - 1))
        for offset, (policy, spread) in zip(offsets, values.items(), strict=True):
            _draw_dots(axis, rows, spread, offset, policy, tuple(values), bounds)
        _name_rows(axis, rows, names)
        axis.set_xlabel(label)
        axis.set_xlim(*bounds)
        axis.locator_params(axis="x", nbins=6)
        axis.grid(axis="x")
        if zero:
            axis.axvline(0.0, color=MUTED, linewidth=0.9)
        if target is not None:
            axis.axvline(target, color=INK, linestyle="--", linewidth=0.9, label="target")
        if len(values) > 1 or target is not None:
            legend_above(axis)
        axis.set_ylim(len(rows) - 0.4, -0.6 if not titles else -0.8)
    return drawn.picture


def distribution(
    values: Mapping[str, np.ndarray], label: str, of_what: str, target: float | None = None
) -> Picture:
    """Draws the share of `of_what`, such as "clips", at or below each value, [any] per policy, no NaN."""
    finite = {name: np.sort(value[np.isfinite(value)]) for name, value in values.items()}
    num = max((len(value) for value in finite.values()), default=0)
    caption = (
        f"{upper_first(quantity(label))}: share of the {num} {of_what} at or below each value. "
        "Dots: medians."
    )
    medians = (f"{name} median {np.median(v):.3g}" for name, v in finite.items() if len(v))
    with sheet(2.1, caption, f"Cumulative distribution of {label}: {', '.join(medians)}.") as drawn:
        axis = drawn.axis
        for name, ordered in finite.items():
            if not len(ordered):
                continue
            color = policy_color(name, tuple(values))
            share = np.arange(1, len(ordered) + 1) / len(ordered)
            axis.step(ordered, share, where="post", color=color, label=name)
            axis.plot(np.median(ordered), 0.5, **policy_style(name, tuple(values)))
        if target is not None:
            axis.axvline(target, color=INK, linestyle="--", linewidth=0.9, label="target")
        axis.set(xlabel=label, ylabel=f"share of {of_what}", ylim=(0.0, 1.02))
        axis.locator_params(axis="x", nbins=6)
        axis.grid()
        legend_above(axis)
    return drawn.picture


def _ordered_rows(first: np.ndarray, groups: Sequence[str] | None, sort: bool) -> list[int | str]:
    """Returns indices of rows from top to bottom; a group's title precedes its rows."""
    rank = np.argsort(-np.nan_to_num(first, nan=-np.inf), kind="stable")
    order: list[int] = rank.tolist() if sort else list(range(len(first)))
    if groups is None or len(set(groups)) < 2:
        return [*order]
    rows: list[int | str] = []
    for group in dict.fromkeys(groups):
        rows += [group, *(index for index in order if groups[index] == group)]
    return rows


def _draw_dots(
    axis: Axes,
    rows: Sequence[int | str],
    spread: Estimates,
    offset: float,
    policy: str,
    policies: tuple[str, ...],
    bounds: tuple[float | None, float | None],
) -> None:
    position = np.array([y for y, row in enumerate(rows) if isinstance(row, int)]) + offset
    index = [row for row in rows if isinstance(row, int)]
    value, look = spread.value[index], policy_style(policy, policies)
    low = -np.inf if bounds[0] is None else bounds[0]
    high = np.inf if bounds[1] is None else bounds[1]
    if spread.low is not None and spread.high is not None:
        ends = np.clip(spread.low[index], low, high), np.clip(spread.high[index], low, high)
        axis.hlines(position, *ends, color=look["color"], linewidth=1.1)
    inside = (value >= low) & (value <= high)
    axis.plot(value[inside], position[inside], linestyle="", label=policy, clip_on=False, **look)
    for beyond, edge, marker in ((value < low, low, "<"), (value > high, high, ">")):
        edges = np.full(int(beyond.sum()), edge)
        axis.plot(edges, position[beyond], marker, color=look["color"], fillstyle="none")


def _name_rows(axis: Axes, rows: Sequence[int | str], names: Sequence[str]) -> None:
    labels = [row.replace("_", " ") if isinstance(row, str) else short(names[row]) for row in rows]
    axis.set_yticks(range(len(rows)), labels)
    axis.tick_params(axis="y", length=0)
    for row, text in zip(rows, axis.get_yticklabels(), strict=True):
        if isinstance(row, str):
            text.set(color=MUTED, fontstyle="italic")
    axis.spines["left"].set_color(GRID)


def _ranges(values: Mapping[str, Estimates]) -> str:
    said = []
    for policy, spread in values.items():
        finite = spread.value[np.isfinite(spread.value)]
        if len(finite):
            said.append(f"{policy} from {finite.min():.3g} to {finite.max():.3g}")
    return "; ".join(said) or "no values"
