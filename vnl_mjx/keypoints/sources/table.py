"""Reads key points from text: anipose's points3d, DeepLabCut's headers of several rows, and other tables.

Layout: one frame per row. A header of one row has a column per coordinate, NAME_x, NAME_y and NAME_z (and
NAME_score); one of several rows has names and coordinates in rows of their own (and animals above the names).
anipose: `triangulate.py` (also NAME_error, NAME_ncams, and fnum, the frame's number).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vnl_mjx.clips.sources.conventions import METRES
from vnl_mjx.clips.sources.csv_table import column_role
from vnl_mjx.clips.sources.hdf5_source import listing
from vnl_mjx.errors import UserError
from vnl_mjx.keypoints.sources.arrays import poses_instead
from vnl_mjx.keypoints.sources.found import TWO_D, Found
from vnl_mjx.keypoints.sources.grid import with_gaps
from vnl_mjx.keypoints.sources.names import given_names
from vnl_mjx.keypoints.sources.options import KeyPointOptions
from vnl_mjx.keypoints.sources.text_table import read_table

_AXES = ("x", "y", "z")
_CONFIDENCES = ("score", "likelihood", "confidence")
_OTHERS = ("error", "ncams")  # anipose's
_KINDS = (*_AXES, *_CONFIDENCES, *_OTHERS)
_NAME = re.compile(rf"(.+?)[ _.:-]+({'|'.join(_KINDS)})(?:\s*[\[(](m|cm|mm)[\])])?", re.IGNORECASE)
_FRAMES = ("fnum", "coords")  # anipose's, and DeepLabCut's label above them
_COORDINATES = re.compile(r"(?:M_\d\d|center_\d)")  # anipose's, of the world that it turned
_ANIMALS = ("individuals", "individual", "animals")


@dataclass(frozen=True)
class _Column:
    """Says what a column holds: `kind` of a point of an animal."""

    animal: str
    point: str
    kind: str


def find_in_table(path: str, options: KeyPointOptions) -> Found:
    """Returns the key points of a table.

    Raises:
        UserError: it is no table of numbers, or its columns are not x, y and z of named points.
    """
    header, table = read_table(path)
    if not header:
        return _without_names(path, table, options)
    width = table.shape[1]
    if len(header[-1]) != width:
        raise UserError(
            f"{path}: its header has {len(header[-1])} columns, its rows {width}, expected as many"
        )
    columns, unit = _columns(header)
    rest = {_label(header, place): place for place in range(width) if place not in columns}
    roles = {n: "counter" if n in _FRAMES else (column_role(n) or ("other",))[0] for n in rest}
    _check(path, columns, roles)
    found = _of_columns(path, columns, table)
    found.unit = unit
    others = tuple(
        n for n, role in roles.items() if role == "other" and not _COORDINATES.fullmatch(n)
    )
    if others:
        found.notes.append(f"columns left out: {listing(others, 4)}")
    for role in ("time", "counter"):
        if stamps := next((n for n in rest if roles[n] == role), None):
            found, step = with_gaps(found, table[:, rest[stamps]], stamps)
            found.rate_hz = 1.0 / step if role == "time" and step else None
            break
    return found


def _label(header: list[list[str]], place: int) -> str:
    """Returns the lowest text of the header above a column."""
    return next((row[place] for row in reversed(header) if place < len(row) and row[place]), "")


def _columns(header: list[list[str]]) -> tuple[dict[int, _Column], str | None]:
    """Returns what the columns of points hold, by place, and the unit if the header states it."""
    kinds = [[cell.lower() for cell in row] for row in header]
    row = next((i for i in reversed(range(1, len(header))) if "x" in kinds[i]), None)
    if row is not None:
        animals = next((r for r in header[:row] if r and r[0].lower() in _ANIMALS), [])
        parts = zip(
            _filled(animals, len(kinds[row])), _filled(header[row - 1]), kinds[row], strict=False
        )
        units = {cell for cells in kinds[row + 1 :] for cell in cells if cell in METRES}
        return {
            place: _Column(animal, point, kind)
            for place, (animal, point, kind) in enumerate(parts)
            if kind in _KINDS
        }, units.pop() if len(units) == 1 else None
    found = {
        place: match for place, name in enumerate(header[-1]) if (match := _NAME.fullmatch(name))
    }
    units = {match[3].lower() for match in found.values() if match[3]}
    columns = {place: _Column("", m[1].strip(), m[2].lower()) for place, m in found.items()}
    return columns, units.pop() if len(units) == 1 else None


def _filled(cells: Sequence[str], length: int = 0) -> list[str]:
    """Returns cells in which an empty one has the text before it."""
    filled, last = [], ""
    for cell in (*cells, *[""] * (length - len(cells))):
        last = cell or last
        filled.append(last)
    return filled


def _check(path: str, columns: Mapping[int, _Column], roles: Mapping[str, str]) -> None:
    """Raises UserError if the columns are of poses, or not of points in space."""
    kinds = {column.kind for column in columns.values()}
    if "quaternion" in roles.values():
        raise poses_instead(path, "a root's quaternion")
    if {"x", "y"} <= kinds and "z" not in kinds:
        raise UserError(
            f"{path}: holds 2-D points (x and y, no z), as one camera sees them; {TWO_D}"
        )
    if not {*_AXES} <= kinds:
        raise UserError(
            f"{path}: its header has no columns NAME_x, NAME_y, NAME_z, found {listing(tuple(roles), 6)}; "
            f"name them so, or if these are joints, give the file to `vnl-mjx preprocess {path} CLIPS.h5`"
        )


def _of_columns(path: str, columns: Mapping[int, _Column], table: np.ndarray) -> Found:
    place = {column: i for i, column in columns.items()}
    if len(place) < len(columns):
        twice = next(c for i, c in columns.items() if place[c] != i)
        raise UserError(
            f"{path}: has two columns for {twice.kind} of point {twice.point!r}, expected one of each"
        )
    spatial = [c for c in place if c.kind in _AXES]
    animals, names = ({getattr(c, part): None for c in spatial} for part in ("animal", "point"))
    points = np.full((len(table), len(animals), len(names), 3), np.nan)
    confidence = np.ones(points.shape[:-1])
    for a, animal in enumerate(animals):
        for p, name in enumerate(names):
            axes = [_Column(animal, name, axis) for axis in _AXES]
            if missing := [axis.kind for axis in axes if axis not in place]:
                raise UserError(
                    f"{path}: point {name!r} has no column {missing[0]}, expected x, y and z"
                )
            points[:, a, p] = table[:, [place[axis] for axis in axes]]
            scores = (place.get(_Column(animal, name, kind)) for kind in _CONFIDENCES)
            if (column := next((s for s in scores if s is not None), None)) is not None:
                confidence[:, a, p] = table[:, column]
    is_stated = any(column.kind in _CONFIDENCES for column in columns.values())
    named = tuple(animals) if any(animals) else ()
    return Found(path, points, tuple(names), confidence if is_stated else None, named)


def _without_names(path: str, table: np.ndarray, options: KeyPointOptions) -> Found:
    if options.points is None:
        raise UserError(
            f"{path}: has no header, expected the columns NAME_x, NAME_y, NAME_z; add one, or give the "
            "names of the points in the file's order (points=)"
        )
    names = given_names(options.points)
    if table.shape[1] != 3 * len(names):
        raise UserError(
            f"{path}: has {table.shape[1]} columns, expected {3 * len(names)}: x, y and z of each of the "
            f"{len(names)} points of points={options.points}"
        )
    return Found(path, table.reshape(len(table), 1, len(names), 3), names)
