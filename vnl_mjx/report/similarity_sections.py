"""Fills the sections on similarity and latent variability of the page of the neural commands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.neurons.activities import UNITS
from vnl_mjx.neurons.tables import read_table
from vnl_mjx.neurons.variability import ALL_BEHAVIOURS
from vnl_mjx.report.pictures.matrices import matrix, panels
from vnl_mjx.report.pictures.neural import variability, with_bands
from vnl_mjx.report.pictures.style import Picture
from vnl_mjx.report.table_cells import Cell, Table, interval, name_cell, number, number_cell

_PAIR = ("record", "quantity", "other_record", "other_quantity")
_MOST_PANELS = 12
# Kind of variability, across what it is correlated with the sensitivity, and both in words.
_CORRELATIONS = (
    (
        "posterior",
        "dimensions",
        "posterior standard deviation and action sensitivity, across active dimensions",
    ),
    (
        "posterior",
        "time",
        "posterior standard deviation and action sensitivity over time, mean of active dimensions",
    ),
    (
        "repetitions",
        "dimensions",
        "variability between repetitions and action sensitivity, across active dimensions",
    ),
)

Filled = tuple[dict[str, Picture], list[Table]]


def distances(folder: Path) -> Filled:
    """Returns pictures of the distances between behaviours, a record each."""
    rows = read_table(
        folder, "rdm", ("record", "quantity", "behaviour", "other_behaviour"), ("distance",)
    )
    pictures = {}
    for record in dict.fromkeys(row["record"] for row in rows):
        own = [row for row in rows if row["record"] == record]
        names = list(dict.fromkeys(n for r in own for n in (r["behaviour"], r["other_behaviour"])))
        quantities = list(dict.fromkeys(row["quantity"] for row in own))
        shown = {}
        for quantity in quantities[:_MOST_PANELS]:
            values = np.zeros((len(names), len(names)))
            for row in own:
                if row["quantity"] == quantity:
                    i, j = names.index(row["behaviour"]), names.index(row["other_behaviour"])
                    values[i, j] = values[j, i] = row["distance"]
            shown[quantity] = values
        left_out = len(quantities) - len(shown)
        caption = (
            f"{record}: cross-validated squared distances between behaviours, per column, in units of the "
            "variance within a behaviour; each panel has its own colours."
            + (f" {left_out} quantities are only in rdm.csv." if left_out > 0 else "")
        )
        pictures[f"distances_{len(pictures)}"] = panels(shown, names, "squared distance", caption)
    return pictures, []


def geometry(folder: Path) -> Filled:
    """Returns the similarity of distances between quantities, with its noise ceiling."""
    rows = read_table(folder, "rsa", _PAIR, ("similarity", "low", "high", "behaviours"))
    ceiling = read_table(
        folder, "ceiling", ("record", "quantity"), ("low", "high", "sessions", "behaviours")
    )
    if not rows:
        return {}, []
    caption = (
        "Similarity of the distances between behaviours (whitened cosine, U-centred): 1 is the same geometry "
        "but for scale, 0 an unrelated one."
    )
    pictures = {"geometry": _matrix_of(rows, "similarity", caption)}
    bands = {row["quantity"]: (row["low"], row["high"]) for row in ceiling}
    if own := _with_units(rows):
        words = "Similarity of each quantity's distances between behaviours to those of the recorded units."
        band = bands.get(UNITS, (np.nan, np.nan))
        pictures["units_geometry"] = with_bands(
            [name for name, _ in own],
            np.array([[row["similarity"], row["low"], row["high"]] for _, row in own]),
            np.array([band for _ in own]),
            "similarity of distances",
            f"{words} Bars: 95 % jackknife intervals over behaviours.",
            "noise ceiling of the units",
        )
    tables = [_pair_table("Similarity of distances", rows, "similarity")]
    if ceiling:
        cells = [
            [
                name_cell(f"{row['record']}: {row['quantity']}"),
                *(number_cell(row[name]) for name in ("low", "high")),
                number_cell(int(row["sessions"])),
            ]
            for row in ceiling
        ]
        note = (
            "How well the distances of one session agree with those of the others (low) and of all (high): a "
            "perfect model would lie between."
        )
        columns = ("quantity", "low", "high", "sessions")
        tables.append(Table("Noise ceiling", columns, cells, note, folded=True))
    return pictures, tables


def cka(folder: Path) -> Filled:
    """Returns the CKA of all pairs of quantities, beside that of shifted time."""
    rows = read_table(folder, "cka", _PAIR, ("cka", "low", "high", "shifted", "blocks"))
    if not rows:
        return {}, []
    caption = (
        "Debiased linear CKA of all pairs: 1 is the same representation up to rotation and scale."
    )
    shifted = "The same after a circular shift of time in one of the two: what slow signals share by chance."
    pictures = {
        "cka": _matrix_of(rows, "cka", caption, "CKA"),
        "cka_shifted": _matrix_of(rows, "shifted", shifted, "CKA, time shifted"),
    }
    own = [pair for pair in _with_units(rows) if np.isfinite(pair[1]["high"])]
    if own:
        pictures["units_cka"] = with_bands(
            [name for name, _ in own],
            np.array([[row["cka"], row["low"], row["high"]] for _, row in own]),
            np.array([sorted((0.0, row["shifted"])) for _, row in own]),
            "debiased CKA with the units",
            "CKA of each quantity with the recorded units. Bars: 95 % jackknife intervals over folds.",
            "time shifted",
            (0.0, min(1.0, 1.15 * max(row["high"] for _, row in own))),
        )
    return pictures, [_pair_table("CKA", rows, "cka", "shifted")]


def latent_variability(folder: Path) -> Filled:
    """Returns latent variability against action sensitivity, and their correlations by behaviour."""
    latent = read_table(
        folder,
        "latent",
        ("record", "behaviour", "dimension", "active"),
        ("posterior_std", "repetition_std", "sensitivity"),
    )
    found = read_table(
        folder,
        "variability",
        ("record", "behaviour", "variability", "across", "dimensions"),
        ("correlation", "low", "high", "null_low", "null_high", "p_value", "blocks"),
    )
    pictures: dict[str, Picture] = {}
    for k, record in enumerate(dict.fromkeys(row["record"] for row in latent)):
        dots = [r for r in latent if r["record"] == record and r["behaviour"] != ALL_BEHAVIOURS]
        caption = (
            f"{record}: each dot is a latent dimension in one behaviour. Minimal intervention predicts that "
            "dimensions are variable where the action is insensitive to them."
        )
        pictures[f"variability_{k}"] = variability(
            np.array([row["sensitivity"] for row in dots]),
            np.array([row["posterior_std"] for row in dots]),
            [row["behaviour"] for row in dots],
            caption,
        )
        for kind, across, words in _CORRELATIONS:
            key = (record, kind, across, "active")
            columns = ("record", "variability", "across", "dimensions")
            own = [row for row in found if tuple(row[name] for name in columns) == key]
            if own:
                pictures[f"correlation_{kind}_{across}_{k}"] = with_bands(
                    [row["behaviour"] for row in own],
                    np.array([[r["correlation"], r["low"], r["high"]] for r in own]),
                    np.array([[r["null_low"], r["null_high"]] for r in own]),
                    "rank correlation",
                    f"{record}: rank correlation of {words}. Bars: 95 % bootstrap intervals over blocks.",
                    "by chance, 95 %",
                )
    return pictures, [_variability_table(found), *_spread_tables(folder)] if found else []


def _variability_table(rows: Sequence[dict[str, Any]]) -> Table:
    cells = [
        [
            name_cell(f"{row['record']}: {row['behaviour']}"),
            Cell(f"{row['variability']}, {row['across']}, {row['dimensions']}"),
            Cell(number(row["correlation"]), row["correlation"], interval(row)),
            Cell(f"{number(row['null_low'])} to {number(row['null_high'])}", row["null_high"]),
            number_cell(row["p_value"]),
            number_cell(int(row["blocks"])),
        ]
        for row in rows
    ]
    columns = ("behaviour", "of what", "rank correlation", "by chance", "p", "blocks")
    return Table("Variability and sensitivity", columns, cells, folded=True)


def _spread_tables(folder: Path) -> list[Table]:
    rows = read_table(
        folder, "spread", ("record", "behaviour", "quantity"), ("mean", "low", "high")
    )
    cells = [
        [
            name_cell(f"{row['record']}: {row['behaviour']}"),
            Cell(row["quantity"]),
            Cell(number(row["mean"]), row["mean"], interval(row)),
        ]
        for row in rows
    ]
    columns = ("behaviour", "quantity", "mean")
    return [Table("Variability by behaviour", columns, cells, folded=True)] if cells else []


def _with_units(rows: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Returns the names of quantities that were compared with recorded units, and their rows."""
    names, found = _names(rows), []
    for row in rows:
        first, second = (
            (row["record"], row["quantity"]),
            (row["other_record"], row["other_quantity"]),
        )
        if UNITS in (first[1], second[1]) and first[1] != second[1]:
            found.append((names[second if first[1] == UNITS else first], row))
    return sorted(found, key=lambda pair: pair[0])


def _names(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Returns the shown names of quantities; the record stands before them where there are several."""
    keys = dict.fromkeys(
        key
        for row in rows
        for key in (
            (row["record"], row["quantity"]),
            (row["other_record"], row["other_quantity"]),
        )
    )
    several = len({record for record, _ in keys}) > 1
    return {key: f"{key[0]}: {key[1]}" if several else key[1] for key in sorted(keys)}


def _matrix_of(
    rows: Sequence[dict[str, Any]], column: str, caption: str, what: str = ""
) -> Picture:
    names = _names(rows)
    place = {key: k for k, key in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    for row in rows:
        i = place[row["record"], row["quantity"]]
        j = place[row["other_record"], row["other_quantity"]]
        values[i, j] = values[j, i] = row[column]
    if column != "shifted":
        np.fill_diagonal(values, 1.0)
    shown = list(names.values())
    return matrix(values, shown, shown, what or column, caption)


def _pair_table(
    title: str, rows: Sequence[dict[str, Any]], column: str, baseline: str | None = None
) -> Table:
    names = _names(rows)
    cells = []
    for row in rows:
        cells.append(
            [
                name_cell(names[row["record"], row["quantity"]]),
                name_cell(names[row["other_record"], row["other_quantity"]]),
                Cell(number(row[column]), row[column], interval(row)),
                *([number_cell(row[baseline])] if baseline else []),
            ]
        )
    columns = ("quantity", "other quantity", title, *(["time shifted"] if baseline else []))
    return Table(title, columns, cells, folded=True)
