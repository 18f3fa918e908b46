"""`vnl-mjx similarity`: compares layers, records and neural units; relates latent variability to action."""

import argparse
from pathlib import Path
from typing import Any

from vnl_mjx.activity.file import open_activity_file
from vnl_mjx.commands.console import Console
from vnl_mjx.errors import UserError
from vnl_mjx.files import check_writable, write_json
from vnl_mjx.neurons.activities import DEFAULT_QUANTITIES, UNITS, BlockOptions, read_activities
from vnl_mjx.neurons.comparison import add_random_layers, compare
from vnl_mjx.neurons.tables import Table, write_tables
from vnl_mjx.neurons.variability import NEEDED, SPREAD, variability_tables
from vnl_mjx.report.document import jsonable
from vnl_mjx.report.neural import SIMILARITY_FILE, write_neural_report
from vnl_mjx.versions import installed_versions

_VERSIONS = ("vnl-mjx", "numpy", "scipy", "scikit-learn", "matplotlib")


def run(args: argparse.Namespace) -> int:
    """Compares, writes tables and the page, and returns the exit status."""
    records, folder = _paths(args.paths)
    check_writable(folder, "OUT_FOLDER")
    options = BlockOptions(args.block_s, args.gap_s)
    quantities = args.quantities or DEFAULT_QUANTITIES
    own = {}
    if args.units:
        from vnl_mjx.neurons.unit_activity import unit_activity

        own = {UNITS: unit_activity(args.units, records[0], args.session, args.smooth_s)}
    activities, notes = read_activities(records, quantities, options, own)
    are_matched = not notes
    for activity in activities:
        add_random_layers(activity)
    tables, more = compare(activities, are_matched, args.fold_by)
    latent, why = _variability(records, options)
    notes += more + why
    write_tables(folder, tables | latent)
    about = {
        "versions": installed_versions(_VERSIONS),
        "settings": {
            "quantities": list(quantities),
            "block_s": options.block_s,
            "gap_s": options.gap_s,
            "fold_by": args.fold_by,
            "units": str(args.units or ""),
            "smooth_s": args.smooth_s,
        },
        "records": {
            activity.record: {
                "rows": len(activity.block),
                "blocks": len(set(activity.block.tolist())),
                "metadata": activity.metadata,
            }
            for activity in activities
        },
        "notes": notes,
    }
    write_json(folder / SIMILARITY_FILE, jsonable(about))
    console = Console()
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    page = write_neural_report(folder)
    console.print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _paths(paths: list[Path]) -> tuple[list[Path], Path]:
    *records, folder = (path.expanduser() for path in paths)
    if not records:
        raise UserError(
            f"{folder}: expected a record and a folder to write, found one path; give RECORD OUT_FOLDER"
        )
    if folder.is_file() or folder.suffix in (".h5", ".hdf5"):
        raise UserError(
            f"{folder}: expected a folder to write, last of the paths, found a file; give RECORD OUT_FOLDER"
        )
    if len(set(records)) < len(records):
        raise UserError(f"{records[-1]}: a record was given twice; give each once")
    return records, folder


def _variability(records: list[Path], options: BlockOptions) -> tuple[dict[str, Table], list[str]]:
    """Returns the tables of latent variability, and notes on records that do not have what it needs."""
    tables: dict[str, Table] = {"latent": [], "variability": [], "spread": []}
    notes: list[str] = []
    for path in records:
        with open_activity_file(path) as file:
            missing = [name for name in NEEDED if name not in file.names]
            wanted = [*NEEDED, *({SPREAD} & set(file.names))]
        if missing:
            notes.append(
                f"{path.name}: latent variability is left out: there is no {', '.join(missing)}; "
                "`vnl-mjx record --samples` writes it"
            )
            continue
        (activity,), _ = read_activities([path], wanted, options)
        found: dict[str, Any] = variability_tables(activity)
        for name, rows in found.items():
            tables[name] += rows
    return tables, notes
