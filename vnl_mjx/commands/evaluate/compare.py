"""`vnl-mjx compare`: the reports of several evaluations side by side."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vnl_mjx.commands.evaluate.eval_student import REPORT_FOLDER
from vnl_mjx.errors import UserError
from vnl_mjx.report.compare import write_comparison
from vnl_mjx.report.document import METRICS_FILE, read_document


def run(args: argparse.Namespace) -> int:
    """Does what `cli` parsed; returns the exit status."""
    documents = read_reports([path.expanduser() for path in args.runs])
    page = write_comparison(args.output.expanduser(), documents)
    Console().print(f"comparison: {page}", soft_wrap=True, highlight=False)
    return 0


def read_reports(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Documents by the names of their runs; a path is a run folder, a report's, or a `metrics.json`."""
    documents: dict[str, dict[str, Any]] = {}
    for path in paths:
        places = (path / REPORT_FOLDER / METRICS_FILE, path / METRICS_FILE, path)
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise UserError(
                f"{path}: expected a run that was evaluated, or a report; evaluate it first (vnl-mjx eval "
                f"{path})"
            )
        folder = file.resolve().parent
        name = folder.parent.name if folder.name == REPORT_FOLDER else folder.name
        if name in documents:
            raise UserError(
                f"{path}: a report of the name {name} was given already; rename a folder"
            )
        documents[name] = read_document(file)
    return documents
