"""Reads the activity of record files for comparisons: matched rows, blocks of time, behaviours."""

import contextlib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vnl_mjx.activity.file import (
    ACTION,
    KINEMATICS,
    LATENT,
    LAYERS,
    OBSERVATION,
    REFERENCE,
    ActivityFile,
    Rows,
    open_activity_file,
)
from vnl_mjx.errors import UserError
from vnl_mjx.neurons.blocks import blocks_of

DEFAULT_QUANTITIES = (
    f"{LAYERS}/*",
    f"{LATENT}/mean",
    f"{ACTION}/action",
    f"{KINEMATICS}/joint_angles",
    f"{REFERENCE}/input",
    f"{OBSERVATION}/proprioception",
)
UNITS = "units/activity"  # the quantity of recorded units
# Blocks of time are thinned evenly to this many rows, because neighbouring rows are alike.
MOST_ROWS = 10_000
_READ_ROWS = 2**14
_NOT_MATCHED = (
    "{}: have no session, clip and frame in common, so their rows are not compared with each other; only "
    "their distances between behaviours are"
)


@dataclass
class Activity:
    """Holds chosen rows of one record, in order of time.

    Attributes:
        record: its name, that of the file without its ending.
        label: [row] behaviour.
        session: int [row].
        block: int [row], of `blocks_of`.
        moment: int [row], frame of the clip, counted through all clips: the same in each repetition.
        row: int [row], its number in the record.
        step: rows of a gap between blocks, after which activity counts as new.
        values: by quantity, float32 [row, column].
        metadata: of the record.
    """

    record: str
    label: np.ndarray
    session: np.ndarray
    block: np.ndarray
    moment: np.ndarray
    row: np.ndarray
    step: int
    values: dict[str, np.ndarray]
    metadata: dict = field(default_factory=dict)


@dataclass(frozen=True)
class BlockOptions:
    """Holds the length of a block of time and of the gap behind it, seconds."""

    block_s: float = 1.0
    gap_s: float = 0.2


def read_activities(
    paths: Sequence[Path],
    quantities: Sequence[str],
    options: BlockOptions,
    own: Mapping[str, np.ndarray] | None = None,
) -> tuple[list[Activity], list[str]]:
    """Reads the records; returns them, and notes for the user.

    Several records are matched by session, clip and frame, or by clip and frame where no session is common;
    then rows are the same moments in all. Without common rows each keeps its own, which a note says.

    Args:
        paths: record files.
        quantities: names or patterns such as "layers/*"; each must fit in at least one record.
        options: how time is cut into blocks.
        own: more quantities by name, on all rows of the first record, [row, column]; NaN for unknown.

    Raises:
        UserError: a file cannot be read, a name fits nothing, or no block of valid rows is there.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open_activity_file(path)) for path in paths]
        names = _record_names(paths)
        wanted = _chosen(files, quantities)
        blocks = [
            blocks_of(file.rows, file.rate_hz, options.block_s, options.gap_s) for file in files
        ]
        rows = [np.flatnonzero(block >= 0) for block in blocks]
        for path, kept in zip(paths, rows, strict=True):
            if not len(kept):
                raise UserError(
                    f"{path}: expected a valid stretch of at least {options.block_s / 2:g} s, found none; "
                    "give a smaller --block-s, or a record whose body follows"
                )
        matched = matching_rows([file.rows for file in files], rows)
        notes = []
        if matched is None:
            notes.append(_NOT_MATCHED.format(", ".join(names)))
        else:  # the first record's blocks are those of all
            rows, blocks = matched, [blocks[0][matched[0]]] * len(files)
        parts = zip(names, files, rows, blocks, wanted, strict=True)
        found = [
            _read(name, file, rows, block if matched else block[rows], quantities, options.gap_s)
            for name, file, rows, block, quantities in parts
        ]
    for name, values in (own or {}).items():
        found[0].values[name] = values[found[0].row]
    return _finite(found, matched is not None), notes


def matching_rows(tables: Sequence[Rows], rows: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """Returns the rows of each table, among its `rows`, of moments that all have; None for no such moment.

    A moment is a session, clip and frame, and how often that was played before in the record; if no session
    is common, clip and frame.
    """
    for with_session in (True, False):
        keys = _moments(tables, with_session)
        common = keys[0][rows[0]]
        for key, own in zip(keys[1:], rows[1:], strict=True):
            common = np.intersect1d(common, key[own])
        if len(common):
            found = []
            for key, own in zip(keys, rows, strict=True):
                at = np.argsort(key[own], kind="stable")
                found.append(own[at[np.searchsorted(key[own], common, sorter=at)]])
            order = np.argsort(found[0])
            return [own[order] for own in found]
    return None


def _moments(tables: Sequence[Rows], with_session: bool) -> list[np.ndarray]:
    """Returns a number [row] for each moment, the same in all tables."""
    clips = {c: i for i, c in enumerate(dict.fromkeys(n for t in tables for n in t.clip_names))}
    sessions = {s: i for i, s in enumerate(dict.fromkeys(n for t in tables for n in t.sessions))}
    frames = 1 + max(int(t.frame.max(initial=0)) for t in tables)
    most, keys = max(table.num_rows for table in tables), []
    for table in tables:
        key = np.array([clips[name] for name in table.clip_names], np.int64)[table.clip]
        if with_session:
            of = np.array([sessions[name] for name in table.sessions], np.int64)
            key = key + len(clips) * of[table.session]
        key = key * frames + table.frame
        keys.append(key * most + repetition(key))
    return keys


def repetition(key: np.ndarray) -> np.ndarray:
    """Returns how often each key occurred before, int [row]."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    rank = np.empty_like(key)
    rank[order] = np.arange(len(key)) - np.searchsorted(ordered, ordered)
    return rank


def _record_names(paths: Sequence[Path]) -> list[str]:
    names = [path.name.removesuffix(path.suffix).removesuffix(".rec") for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _chosen(files: Sequence[ActivityFile], patterns: Sequence[str]) -> list[list[str]]:
    for pattern in patterns:
        if patterns is not DEFAULT_QUANTITIES and not any(
            fnmatch.filter(file.names, pattern) for file in files
        ):
            files[0].columns(pattern)  # raises the error that names what there is
    found = [[n for n in f.names if any(fnmatch.fnmatch(n, p) for p in patterns)] for f in files]
    for file, own in zip(files, found, strict=True):
        if not own:
            raise UserError(
                f"{file.path}: expected one of {', '.join(patterns)}, found {', '.join(file.names)}; "
                "give --quantities"
            )
    return found


def _read(
    name: str,
    file: ActivityFile,
    rows: np.ndarray,
    block: np.ndarray,
    quantities: Sequence[str],
    gap_s: float,
) -> Activity:
    thinned = -(-len(rows) // MOST_ROWS)
    # by frame, so that repetitions keep the same moments
    kept = file.rows.frame[rows] % thinned == 0
    rows, block = rows[kept], block[kept]
    values = {quantity: read_rows(file, quantity, rows) for quantity in quantities}
    table = file.rows
    of_name = np.unique(table.clip_names, return_inverse=True)[1]
    moment = of_name[table.clip].astype(np.int64) * (1 + table.frame.max()) + table.frame
    return Activity(
        record=name,
        label=table.labels[rows],
        session=table.session[rows],
        block=block,
        moment=moment[rows],
        row=rows,
        step=max(1, round(gap_s * file.rate_hz / thinned)),
        values=values,
        metadata=file.metadata,
    )


def read_rows(file: ActivityFile, quantity: str, rows: np.ndarray) -> np.ndarray:
    """Returns rows of a quantity, float32 [row, column]; reads in parts of bounded size."""
    order = np.argsort(rows, kind="stable")
    values = np.empty((len(rows), len(file.columns(quantity))), np.float32)
    for first in range(0, file.rows.num_rows, _READ_ROWS):
        own = order[(rows[order] >= first) & (rows[order] < first + _READ_ROWS)]
        if len(own):
            part = file.read(quantity, slice(first, first + _READ_ROWS))
            values[own] = part[rows[own] - first]
    return values


def _finite(found: list[Activity], is_matched: bool) -> list[Activity]:
    """Leaves out rows with a value that is not finite; in matched records the same rows."""
    masks = [np.all([_rows_finite(a, q) for q in a.values], axis=0) for a in found]
    if is_matched:
        masks = [np.logical_and.reduce(masks)] * len(masks)
    for activity, kept in zip(found, masks, strict=True):
        if not kept.any():
            raise UserError(
                f"{activity.record}: expected rows with a number in every quantity, found none; choose "
                "other --quantities"
            )
        for name in ("label", "session", "block", "moment", "row"):
            setattr(activity, name, getattr(activity, name)[kept])
        activity.values = {name: value[kept] for name, value in activity.values.items()}
    return found


def _rows_finite(activity: Activity, quantity: str) -> np.ndarray:
    finite = np.logical_and.reduce(np.isfinite(activity.values[quantity]), axis=1)
    if not finite.any():
        raise UserError(
            f"{activity.record}: {quantity}: expected numbers, found none in any row; choose other "
            "--quantities"
        )
    return finite
