"""Cells and tables of the report's page, and numbers as a person reads them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    `sort` is what the column is sorted by, None last; `detail` stands under the text, smaller; `tone` is
    "good" or "bad", for the colour, "words" of a sentence, or ""; a header names its row.
    """

    text: str
    sort: float | str | None = None
    detail: str = ""
    tone: str = ""
    header: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose rows have their cells in the order of `columns`; a click opens a folded one."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False


def number(value: float | None, digits: int = 3) -> str:
    """A number to read: `digits` significant ones, without an exponent where that is short."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    if isinstance(value, bool | int) or value == 0:
        return f"{value:,}" if value else "0"
    if 1e-4 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{decimals}f}"
    return f"{value:.{digits - 1}e}"


def percent(share: float) -> str:
    """A share of 1 to read, not broken before the sign."""
    shown = f"{100 * share:.1f}".removesuffix(".0")
    return f"{shown}\N{NO-BREAK SPACE}%"


def interval(figure: Mapping[str, float | None], shown: Callable[[float], str] = number) -> str:
    """The interval of a figure to read, empty where there is none."""
    low, high = figure.get("low"), figure.get("high")
    return "" if low is None or high is None else f"{shown(low)} to {shown(high)}"


def name_cell(text: str) -> Cell:
    """The cell that names a row."""
    return Cell(text, text.lower(), header=True)


def number_cell(value: float | None) -> Cell:
    """A cell with a number."""
    return Cell(number(value), value)


def metric_cell(figure: Mapping[str, float | None] | None) -> Cell:
    """A cell with a mean and its interval."""
    if not figure or figure.get("mean") is None:
        return Cell(NOTHING)
    return Cell(number(figure["mean"]), figure["mean"], interval(figure))
