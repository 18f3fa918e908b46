"""`vnl-mjx compare`: puts the reports of several evaluations side by side."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vnl_mjx.commands.console import Console
from vnl_mjx.commands.evaluate.eval_student import REPORT_FOLDER
from vnl_mjx.errors import UserError, first_line
from vnl_mjx.report.compare import write_comparison
from vnl_mjx.report.document import METRICS_FILE, read_document


def run(args: argparse.Namespace) -> int:
    """Compares the runs and returns the exit status."""
    documents = read_reports([path.expanduser() for path in args.runs])
    try:
        page = write_comparison(args.output.expanduser(), documents)
    except (
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        ValueError,
    ) as error:  # of wrong values
        raise UserError(
            f"{', '.join(documents)}: a {METRICS_FILE} holds a value of another kind than `vnl-mjx eval` "
            f"writes ({first_line(error)}); make it again"
        ) from error
    Console().print(f"comparison: {page}", soft_wrap=True, highlight=False)
    return 0


def read_reports(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Returns documents by run name; a path is a run folder, a report folder, or a `metrics.json`."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for path in paths:
        places = (path / REPORT_FOLDER / METRICS_FILE, path / METRICS_FILE, path)
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise UserError(
                f"{path}: expected a run that was evaluated, or a report; evaluate it first (vnl-mjx eval "
                f"{path})"
            )
        folder = file.resolve().parent
        folder = folder.parent if folder.name == REPORT_FOLDER else folder
        if folder in (own for own, _ in found):
            raise UserError(f"{path}: was given twice; give another run")
        found.append((folder, read_document(file)))
    names = _short_names([folder for folder, _ in found])
    return {name: document for name, (_, document) in zip(names, found, strict=True)}


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Returns the shortest ends of the paths that tell them apart."""
    num_parts, names = 0, [""]
    while len(set(names)) < len(folders):
        num_parts += 1
        names = ["/".join(folder.parts[-num_parts:]) for folder in folders]
    return names
