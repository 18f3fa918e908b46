"""Defines cells and tables of the report's page, and formats numbers for readers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """Holds one cell of a table.

    `sort` is the column's sort key, None last; `detail` appears under the text, smaller; `tone` is "good"
    or "bad" for the colour, "words" for a sentence, or ""; a header names its row.
    """

    text: str
    sort: float | str | None = None
    detail: str = ""
    tone: str = ""
    header: bool = False


@dataclass(frozen=True)
class Table:
    """Holds a table with cells in the order of `columns`; a click opens a folded table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False


def number(value: float | None, digits: int = 3) -> str:
    """Formats a number with `digits` significant digits, without an exponent if that is short."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    if isinstance(value, bool | int) or value == 0:
        return f"{value:,}" if value else "0"
    if 1e-4 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}"
    return f"{value:.{digits - 1}e}"


def percent(share: float) -> str:
    """Formats a share of 1 in percent, with a non-breaking space."""
    shown = f"{100 * share:.1f}".removesuffix(".0")
    return f"{shown}\N{NO-BREAK SPACE}%"


def interval(figure: Mapping[str, float | None], shown: Callable[[float], str] = number) -> str:
    """Formats the interval of a value; empty if there is none."""
    low, high = figure.get("low"), figure.get("high")
    return "" if low is None or high is None else f"{shown(low)} to {shown(high)}"


def name_cell(text: str) -> Cell:
    """Returns the cell that names a row."""
    return Cell(text, text.lower(), header=True)


def number_cell(value: float | None) -> Cell:
    """Returns a cell with a number."""
    return Cell(number(value), value)


def metric_cell(figure: Mapping[str, float | None] | None) -> Cell:
    """Returns a cell with a mean and its interval."""
    if not figure or figure.get("mean") is None:
        return Cell(NOTHING)
    return Cell(number(figure["mean"]), figure["mean"], interval(figure))
