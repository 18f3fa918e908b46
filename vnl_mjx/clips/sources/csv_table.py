"""Opens poses in text: a table of one frame per row, with or without a header of names.

Without a header the columns are those of the LAFAN1 retargeting for robots: root position, root quaternion
(x y z w, which the poses have to confirm), joints in the MJCF's order.
"""

import csv
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vnl_mjx.clips.recording import ROOT_COLUMNS, Recording
from vnl_mjx.clips.sources.key_point_files import are_coordinates, fit_first, names_points
from vnl_mjx.clips.sources.options import SourceOptions, completed, set_rate_of_times
from vnl_mjx.errors import UserError, first_line

TABLES = (".csv", ".tsv")
_DELIMITERS = ",;\t"
_MOST_CELLS = 1_000_000  # in a row
_ROOT = r"(?:(?:free|floating|root|base|pelvis|torso|trunk)[ _.]?)?(?:joint[ _.]?)?"
_POSITION = re.compile(
    rf"{_ROOT}(?:pos(?:ition)?|trans(?:lation|late)?|t)?[ _.]?([xyz])(?:\[m\])?", re.IGNORECASE
)
_QUATERNION = re.compile(
    rf"{_ROOT}(?:(?:quat(?:ernion)?|rot(?:ation)?|ori(?:entation)?)[ _.]?q?|q[ _.]?)([wxyz])",
    re.IGNORECASE,
)
_TIMES = re.compile(r"(?:time(?:stamps?)?|t|seconds?)[ _]?(?:\[s\]|\(s\)|_?s)?", re.IGNORECASE)
_COUNTERS = re.compile(r"(?:frame|index|row|unnamed.*)?[ _]?(?:number|id|idx)?", re.IGNORECASE)


def open_csv(path: str, options: SourceOptions) -> Recording:
    """Reads a table whole; raises UserError if a row has other columns than the first, or no numbers."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter = next((d for d in _DELIMITERS if d in first), None)
            first = first.strip().lstrip("# ")
            cells = split_cells(first, delimiter)
            header = None if _is_numbers(cells) else cells
            if header is None:
                file.seek(0)
            elif names_points(header):
                raise UserError(
                    f"{path}: its header is one of key points, expected names of joints; "
                    f"{fit_first(path)}"
                )
            with warnings.catch_warnings(action="ignore"):
                table = np.loadtxt(file, np.float64, delimiter=delimiter, ndmin=2)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: expected a table of numbers, one frame per row and as many columns in each "
            f"({first_line(error)})"
        ) from error
    if not table.size:
        raise UserError(f"{path}: has no frames, expected one per row")
    if header is None:
        return completed(_without_names(path, table), options)
    if table.shape[1] != len(header):
        raise UserError(
            f"{path}: its header has {len(header)} names, expected {table.shape[1]}, one per column"
        )
    return completed(_with_names(path, header, table), options)


def split_cells(line: str, delimiter: str | None) -> list[str]:
    """Returns the cells of a line, without the spaces around them; no delimiter: spaces divide them.

    Raises:
        ValueError: there are more than any recording has; a cell takes 50 bytes beyond its text.
    """
    num = line.count(delimiter or " ") + 1
    if num > _MOST_CELLS:
        raise ValueError(f"a row has {num} columns, expected at most {_MOST_CELLS}")
    cells = next(csv.reader([line], delimiter=delimiter), []) if delimiter else line.split()
    return [cell.strip() for cell in cells]


def _is_numbers(cells: Sequence[str]) -> bool:
    try:
        return bool([float(cell) for cell in cells])
    except ValueError:
        return False


def _without_names(path: str, table: np.ndarray) -> Recording:
    found = Recording(path, "CSV without names", table, qpos_name="columns")
    if table.shape[1] > ROOT_COLUMNS:
        found.supposed = {"quaternion_order": "xyzw"}
    return found


def _with_names(path: str, header: list[str], table: np.ndarray) -> Recording:
    """Builds the recording of named columns: times, the root's and joints, in any order."""
    roles = [column_role(name) for name in header]
    place = {role: column for column, role in enumerate(roles) if role}
    named = "wxyz"
    root = [("position", axis) for axis in named[1:]] + [("quaternion", axis) for axis in named]
    columns = [place[part] for part in root if part in place]
    if 0 < len(columns) < len(root):
        missing = [" ".join(part) for part in root if part not in place]
        raise UserError(
            f"{path}: its header names a root without {missing[0]}, expected x, y, z and qw, qx, qy, "
            f"qz (or none of them); found {', '.join(header[:8])}"
        )
    joints = [column for column, role in enumerate(roles) if role is None]
    found = Recording(path, "CSV with names", table[:, columns + joints], qpos_name="columns")
    found.joint_names = tuple(header[column] for column in joints)
    found.has_root = bool(columns)
    if not columns and are_coordinates(found.joint_names):
        found.notes += (f"the columns look like key points; if so, {fit_first(path)}",)
    if columns:
        found.conventions = {"quaternion_order": "wxyz"}  # by name
    if ("time", "") in place:
        set_rate_of_times(found, "time", table[:, place["time", ""]])
    return found


def column_role(name: str) -> tuple[str, str] | None:
    """Returns what a column is besides a joint: part of the root, a time or a counter; else None."""
    for what, pattern in (("quaternion", _QUATERNION), ("position", _POSITION)):
        if found := pattern.fullmatch(name):
            return what, found.group(1).lower()
    if _TIMES.fullmatch(name):
        return "time", ""
    return ("counter", "") if _COUNTERS.fullmatch(name) else None
