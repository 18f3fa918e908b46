"""Writes and reads the tables of the neural commands: one CSV file each in a folder of results."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vnl_mjx.errors import UserError, first_line
from vnl_mjx.files import replacing
from vnl_mjx.parsing import parse_json

Table = list[dict[str, Any]]


def write_tables(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Writes each table as FOLDER/NAME.csv; an empty one removes the file of an earlier run.

    Raises:
        UserError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        if not rows:
            path.unlink(missing_ok=True)
            continue
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _shown(value) for key, value in row.items()} for row in rows)
        with replacing(path) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8")


def read_table(folder: Path, name: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """Reads FOLDER/NAME.csv, which has at least these columns; an empty table if there is no file.

    `numbers` become floats, NaN where a cell is empty; all else stays text.

    Raises:
        UserError: the file cannot be read, lacks a column or has a text in place of a number.
    """
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            if missing := [name for name in (*texts, *numbers) if name not in header]:
                raise ValueError(f"has no column {missing[0]}")
            return [row | {name: float(row[name] or "nan") for name in numbers} for row in reader]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path}: expected a table with {', '.join((*texts, *numbers))} ({first_line(error)}); make it "
            "again with the command that wrote it"
        ) from error


def read_settings(path: Path) -> dict[str, Any]:
    """Reads a JSON object that a neural command wrote; an empty one if there is no file.

    Raises:
        UserError: the file cannot be read or is no JSON object.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8")) if path.exists() else {}
        if not isinstance(found, dict):
            raise ValueError("no object")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: expected a JSON object ({first_line(error)}); make it again with the command that "
            "wrote it"
        ) from error
    return found


def _shown(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.9g}" if math.isfinite(value) else ""
    return value
