"""`vnl-mjx inspect`: what a checkpoint, a run folder or a reference file holds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from vnl_mjx.commands import tables
from vnl_mjx.commands.data import student_tables
from vnl_mjx.commands.data.inspect_clips import describe_file
from vnl_mjx.commands.stored import find_stored
from vnl_mjx.compat.track_mjx_loader import load_teacher
from vnl_mjx.utils.vae_checkpointing import load_student


@dataclass(frozen=True)
class Description:
    """What was found.

    Attributes:
        kind: "student", "teacher" or "clips".
        tables: title to rows, for a person.
        warnings: one line each.
        details: for JSON, besides the tables.
    """

    kind: str
    tables: dict[str, dict[str, str]]
    warnings: tuple[str, ...]
    details: dict[str, Any]


def run(path: Path, as_json: bool = False) -> int:
    """Describes a checkpoint or a reference file and returns the exit status."""
    description = describe(path.expanduser())
    if as_json:
        print(json.dumps({"path": str(path), **asdict(description)}, indent=2))
        return 0
    console = Console()
    for title, rows in description.tables.items():
        tables.print_table(console, title, rows)
    for warning in description.warnings:
        tables.warn(console, warning)
    return 0


def describe(path: Path) -> Description:
    """Recognises and reads what is at `path`.

    Raises:
        UserError: nothing is there, nothing known, or it is damaged.
    """
    kind, found = find_stored(path)
    if kind == "teacher":
        return _describe_teacher(found)
    if kind == "student":
        return _describe_student(found)
    described, details = describe_file(found)
    return Description("clips", described, (), details)


def _describe_teacher(path: Path) -> Description:
    teacher = load_teacher(path)
    details = {
        "sha256": teacher.sha256,
        "network": asdict(teacher.policy.config),
        "task": asdict(teacher.task),
    }
    title = f"track-mjx teacher {path.resolve().name}"
    return Description("teacher", {title: teacher.summary}, teacher.warnings, details)


def _describe_student(path: Path) -> Description:
    loaded = load_student(path)
    last = student_tables.last_metrics(loaded)
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loaded.params))
    warnings = () if finite else ("the student's parameters are not all finite",)
    # The walker's arrays are long and of no use to a reader.
    details = {k: v for k, v in loaded.metadata.items() if k != "walker"} | {"last_metrics": last}
    return Description("student", student_tables.student_tables(loaded, last), warnings, details)
