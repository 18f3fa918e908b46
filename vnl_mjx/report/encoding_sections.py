"""Fills the sections on encoding models of the page of the neural commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from vnl_mjx.neurons.encoding_tables import ENCODING, PARTITION
from vnl_mjx.neurons.synthetic import NOTHING
from vnl_mjx.neurons.tables import read_table
from vnl_mjx.report.pictures.matrices import matrix
from vnl_mjx.report.pictures.neural import units_by_group
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.table_cells import Cell, Table, interval, name_cell, number, number_cell

_TRUE = ("1", "true", "yes")

Filled = tuple[dict[str, Picture], list[Table]]


def encoding(folder: Path) -> Filled:
    """Returns the pseudo-R² of all units by group, and the attribution of synthetic units."""
    texts = ("unit", "group", "tuned", "best")
    rows = read_table(folder, ENCODING, texts, ("pseudo_r2", "p_value", "llr_bits_per_spike"))
    if not rows:
        return {}, []
    groups = list(dict.fromkeys(row["group"] for row in rows))
    values = {g: np.array([r["pseudo_r2"] for r in _of(rows, g)]) for g in groups}
    tuned = {g: np.array([_is_true(r["tuned"]) for r in _of(rows, g)]) for g in groups}
    best = {
        g: sum(_is_true(r["best"]) for r in _of(rows, g) if _is_true(r["tuned"])) for g in groups
    }
    units = len({row["unit"] for row in rows})
    caption = (
        f"Cross-validated pseudo-R² of {units} units, one dot each, for models of one group of features; "
        "grey: not tuned. Diamonds: medians of tuned units with their 95 % intervals."
    )
    pictures = {"encoding": _by_group(values, tuned, "pseudo-R², cross-validated", caption)}
    medians = {g: _median(values[g][tuned[g]]) for g in groups}
    cells = [
        [
            name_cell(group),
            Cell(number(medians[group][0]), medians[group][0], _range(medians[group])),
            number_cell(int(best[group])),
        ]
        for group in groups
    ]
    columns = ("group", "median pseudo-R²", "best for, units")
    note = f"{sum(tuned[groups[0]])} of {units} units are tuned; numbers are of these."
    tables = [Table("Encoding models by group", columns, cells, note)]
    return pictures | _attribution(rows, groups), tables


def partition(folder: Path) -> Filled:
    """Returns the part of the pseudo-R² that only one group explains, by group."""
    rows = read_table(folder, PARTITION, ("unit", "group"), ("unique_r2", "full_r2"))
    if not rows:
        return {}, []
    groups = list(dict.fromkeys(row["group"] for row in rows))
    values = {g: np.array([r["unique_r2"] for r in _of(rows, g)]) for g in groups}
    full = {row["unit"]: row["full_r2"] for row in rows}
    values["all groups together"] = np.array(list(full.values()))
    known = read_table(folder, ENCODING, ("unit", "tuned"), ())
    untuned = {row["unit"] for row in known if not _is_true(row["tuned"])}
    tuned = {g: np.array([r["unit"] not in untuned for r in _of(rows, g)]) for g in groups}
    tuned["all groups together"] = np.array([unit not in untuned for unit in full])
    caption = (
        "Pseudo-R² that is lost without a group, and that of all groups together, one dot for each of "
        f"{len(full)} units; grey: not tuned. Diamonds: medians of the others with their 95 % intervals."
    )
    return {"partition": _by_group(values, tuned, "pseudo-R², cross-validated", caption)}, []


def _of(rows: Sequence[Mapping], group: str) -> list[Mapping]:
    return [row for row in rows if row["group"] == group]


def _attribution(rows: Sequence[Mapping], groups: Sequence[str]) -> dict[str, Picture]:
    """Returns the share of units of each true group by the group that was found best for them."""
    truth = {row["unit"]: row["truth"] for row in rows if row.get("truth")}
    if not truth:
        return {}
    found = {
        row["unit"]: row["group"]
        for row in rows
        if _is_true(row["best"]) and _is_true(row["tuned"])
    }
    true = sorted(set(truth.values()), key=lambda name: (name == NOTHING, name))
    columns = [*groups, NOTHING]
    counts = np.zeros((len(true), len(columns)))
    for unit, name in truth.items():
        counts[true.index(name), columns.index(found.get(unit, NOTHING))] += 1
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    caption = (
        f"Synthetic units: share of the {len(truth)} units of each true group (rows) that the models "
        "attribute to each group (columns); nothing: not tuned."
    )
    picture = matrix(shares, true, columns, "share of units", caption, axes=("truth", "found"))
    return {"attribution": picture}


def _by_group(
    values: Mapping[str, np.ndarray], tuned: Mapping[str, np.ndarray], label: str, caption: str
) -> Picture:
    medians = {name: _median(own[tuned[name]]) for name, own in values.items()}
    return units_by_group(values, tuned, medians, label, caption)


def _median(values: np.ndarray) -> tuple[float, float, float]:
    """Returns the median and its 95 % interval, which lies between two of the ordered values."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan, np.nan
    ordered, num = np.sort(values), len(values)
    k = max(0, int(stats.binom.ppf(0.025, num, 0.5)) - 1)
    return float(np.median(values)), float(ordered[k]), float(ordered[num - 1 - k])


def _range(median: tuple[float, float, float]) -> str:
    return interval({"low": median[1], "high": median[2]})


def _is_true(text: str) -> bool:
    return text.strip().lower() in _TRUE
