"""Draws matrices with named rows: distances between behaviours, similarities of layers, attributions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm

from vnl_mjx.report.pictures.style import SEQUENTIAL, Picture, sheet, short

_MOST_NUMBERED = 18
_CELL_INCHES = 0.3
_PANEL_INCHES = 2.1
_PANELS_ABREAST = 3


def matrix(
    values: np.ndarray,
    names: Sequence[str],
    others: Sequence[str],
    what: str,
    caption: str,
    bounds: tuple[float, float] = (0.0, 1.0),
    axes: tuple[str, str] = ("", ""),
) -> Picture:
    """Draws values [name, other] as coloured cells with numbers; `what` labels the colours, with its unit.

    NaN cells stay empty. `axes` label rows and columns.
    """
    longest = max(len(short(name, 30)) for name in (*names, *others))
    margin = 0.075 * longest + 0.5
    width = max(3.2, margin + 0.3 + _CELL_INCHES * len(others) * 1.25)
    height = max(2.4, margin + 0.4 + _CELL_INCHES * len(names))
    with sheet(height, caption, caption, width=width, pad=0.3) as drawn:
        axis = drawn.axis
        cells = _cells(axis, values, bounds)
        axis.set_xticks(range(len(others)), [short(n, 30) for n in others], rotation=90)
        axis.set_yticks(range(len(names)), [short(n, 30) for n in names])
        axis.set(ylabel=axes[0], xlabel=axes[1])
        if max(values.shape) <= _MOST_NUMBERED:
            _number(axis, values, bounds)
        bar = drawn.figure.colorbar(cells, ax=axis, label=what, shrink=0.8)
        bar.outline.set_visible(False)
    return drawn.picture


def panels(
    matrices: Mapping[str, np.ndarray], names: Sequence[str], what: str, caption: str
) -> Picture:
    """Draws several matrices [name, name], each with its own colours from 0 to its maximum.

    Colours follow the square root, so that one far name does not hide the others.
    """
    columns = min(_PANELS_ABREAST, len(matrices))
    rows = -(-len(matrices) // columns)
    margin = 0.06 * max(len(short(name, 18)) for name in names)
    width = max(3.4, columns * (_PANEL_INCHES + 0.5) + margin)
    height = rows * (_PANEL_INCHES + 0.35) + margin
    with sheet(height, caption, caption, rows, columns, width) as drawn:
        for k, axis in enumerate(drawn.axes):
            if k >= len(matrices):
                axis.set_visible(False)
                continue
            title, values = list(matrices.items())[k]
            most = max(np.nanmax(values, initial=0.0), 1e-9)
            cells = _cells(axis, values, (0.0, most), is_root=True)
            axis.set_title(short(title, 34), loc="left")
            axis.set_xticks(range(len(names)), [""] * len(names))
            axis.set_yticks(range(len(names)), [""] * len(names))
            if k % columns == 0:
                axis.set_yticks(range(len(names)), [short(n, 18) for n in names], fontsize=6.5)
            if k + columns >= len(matrices):
                axis.set_xticks(
                    range(len(names)), [short(n, 18) for n in names], rotation=90, fontsize=6.5
                )
            bar = drawn.figure.colorbar(cells, ax=axis, shrink=0.85, aspect=25)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=6.5)
            ticks = [0.0, most / 4, most]
            bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
            if k % columns == columns - 1 or k == len(matrices) - 1:
                bar.set_label(what, fontsize=6.5)
    return drawn.picture


def _cells(axis: Axes, values: np.ndarray, bounds: tuple[float, float], is_root: bool = False):
    norm = PowerNorm(0.5, *bounds, clip=True) if is_root else Normalize(*bounds)
    cells = axis.imshow(values, cmap=SEQUENTIAL, norm=norm, aspect="auto")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return cells


def _number(axis: Axes, values: np.ndarray, bounds: tuple[float, float]) -> None:
    middle = 0.5 * (bounds[0] + bounds[1])
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "black" if value > middle else "white"  # on any theme of the page
            text = f"{value:.2f}".replace("-0.00", "0.00")
            axis.text(column, row, text, ha="center", va="center", fontsize=6.5, color=color)
