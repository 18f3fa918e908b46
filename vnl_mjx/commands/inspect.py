"""`vnl-mjx inspect`: what a checkpoint, a run folder or a reference file holds."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from vnl_mjx.commands import student_tables, tables
from vnl_mjx.commands.inspect_clips import describe_file
from vnl_mjx.errors import UserError
from vnl_mjx.utils.teacher_checkpointing import TEACHER_FOLDER
from vnl_mjx.utils.track_mjx_loader import STEP_PREFIX, load_teacher
from vnl_mjx.utils.vae_checkpointing import CHECKPOINT_FOLDER, load_student

EXPECTED = (
    "a run folder or student checkpoint of vnl-mjx, a track-mjx checkpoint (a folder holding "
    f"{STEP_PREFIX}_<step>), or a file of reference clips or of recorded poses"
)


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
    if not path.exists():
        raise UserError(f"{path}: does not exist; expected {EXPECTED}")
    if path.is_file():
        found, details = describe_file(path)
        return Description("clips", found, (), details)
    if _is_teacher(path):
        return _describe_teacher(path)
    if _is_teacher(path / TEACHER_FOLDER):
        return _describe_teacher(path / TEACHER_FOLDER)
    if _is_student(path):
        return _describe_student(path)
    if (path / "config.json").is_file() and (path / CHECKPOINT_FOLDER).is_dir():
        raise UserError(f"{path}: a run folder without a complete checkpoint yet")
    names = sorted(child.name for child in path.iterdir())
    found = ", ".join(names[:6]) + (" and more" if len(names) > 6 else "")
    raise UserError(f"{path}: expected {EXPECTED}; found a folder with {found or 'nothing in it'}")


def _is_teacher(path: Path) -> bool:
    own = path.resolve().name.startswith(f"{STEP_PREFIX}_")
    return own or any(path.glob(f"{STEP_PREFIX}_*"))


def _is_student(path: Path) -> bool:
    if (path / "student").is_dir() and (path / "metadata").is_dir():
        return True
    folders = [path / CHECKPOINT_FOLDER, *([path] if path.name == CHECKPOINT_FOLDER else [])]
    return any(p.name.isdigit() for f in folders if f.is_dir() for p in f.iterdir())


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
