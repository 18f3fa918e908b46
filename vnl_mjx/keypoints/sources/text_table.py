"""Reads a table of numbers in text, under a header of any number of rows."""

import csv
import math
import warnings
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from vnl_mjx.clips.sources.csv_table import split_cells
from vnl_mjx.errors import UserError, first_line

_MISSING = ("", "na", "n/a", "nan", "none", "null")
_MOST_HEADER_ROWS = 8


def read_table(path: str) -> tuple[list[list[str]], np.ndarray]:
    """Returns the rows of the header, and the numbers [frame, column]; empty cells are NaN.

    Raises:
        UserError: below the header are no rows of numbers, all of the same length.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            last = ([*islice(file, _MOST_HEADER_ROWS)] or [""])[-1]
            delimiter = next((d for d in "\t;," if d in last), None)
            file.seek(place := 0)
            header: list[list[str]] = []
            while len(header) <= _MOST_HEADER_ROWS and (line := file.readline()):
                cells = split_cells(line.strip("\r\n").lstrip("# "), delimiter)
                if _is_data(cells, under_header=bool(header)):
                    break
                header.append(cells)
                place = file.tell()
            file.seek(place)
            table = _numbers(file, delimiter)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: expected a table of numbers, one frame per row, under a header of names "
            f"({first_line(error)}); name columns NAME_x, NAME_y, NAME_z, or write x, y, z below names"
        ) from error
    if not table.size:
        raise UserError(f"{path}: has no frames, expected one per row")
    return header, table


def _is_data(cells: Sequence[str], under_header: bool) -> bool:
    """Returns whether a row is of numbers, most of it; under a header all of them may be missing."""
    given = [cell for cell in cells if cell.lower() not in _MISSING]
    if not given:
        return under_header
    return sum(map(_is_number, given)) > len(given) / 2


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    return math.nan if cell.strip().lower() in _MISSING else float(cell)


def _numbers(file: TextIO, delimiter: str | None) -> np.ndarray:
    load = partial(np.loadtxt, dtype=np.float64, delimiter=delimiter, ndmin=2)
    place = file.tell()
    with warnings.catch_warnings(action="ignore"):
        try:
            return load(file)
        except ValueError:  # cells without a number, perhaps: slower
            file.seek(place)
            return load(file, converters=_number)
