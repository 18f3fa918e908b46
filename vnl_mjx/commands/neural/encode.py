"""`vnl-mjx encode`: explains recorded units by the quantities of a record."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from vnl_mjx.activity.file import open_activity_file
from vnl_mjx.commands.console import Console, frame_progress, print_table, warn
from vnl_mjx.commands.output import terminate_cleanly
from vnl_mjx.errors import UserError
from vnl_mjx.files import check_writable, file_sha256
from vnl_mjx.neurons.bins import binned
from vnl_mjx.neurons.encoding import Encoding, encode
from vnl_mjx.neurons.encoding_tables import SUMMARY, summary, write_encoding
from vnl_mjx.neurons.preparation import EncodingOptions, prepare
from vnl_mjx.neurons.session import RecordBins, enough_spikes, read_record
from vnl_mjx.neurons.synthetic import UNDRIVEN, SyntheticOptions, simulate
from vnl_mjx.neurons.unit_files import open_units
from vnl_mjx.neurons.units import Units, write_spike_units
from vnl_mjx.report.neural import write_neural_report

SYNTHETIC = "synthetic"
SYNTHETIC_FILE = "synthetic_units.npz"
_NAMED = 6  # units named in a warning


def run(args: argparse.Namespace) -> int:
    """Fits and writes the encoding models; returns the exit status."""
    if (args.output / SUMMARY).exists() and not args.overwrite:
        raise UserError(f"{args.output}: holds results; give another folder, or --overwrite")
    check_writable(args.output, "OUT_FOLDER")
    console = Console()
    with open_activity_file(args.record.expanduser()) as file:
        record = read_record(file, args.groups, args.bin, args.session)
    given = _units(args, record)
    units = given.shifted(args.offset)
    units = units if args.units_named is None else units.named(args.units_named)
    record = record.during(units)
    units, few = enough_spikes(units, record.bins)
    if few:
        shown = ", ".join(few[:_NAMED]) + " ..." * (len(few) > _NAMED)
        warn(console, f"{len(few)} units with too few spikes are left out: {shown}")
    for note in units.notes:
        warn(console, note)
    options = EncodingOptions(
        components=args.components,
        lags_s=args.lags,
        num_folds=args.folds,
        num_shifts=args.shifts,
        gap_s=args.gap,
        max_lag_s=args.max_lag,
        partition=not args.no_partition,
        seed=args.seed,
        jobs=args.jobs or None,
    )
    prepared = prepare(record.values, record.bins, options)
    counts = binned(units, prepared.bins)
    with terminate_cleanly(), frame_progress(console, "units") as progress:
        found = encode(
            prepared,
            units.names,
            counts,
            units.are_spikes,
            options,
            lambda done, total: progress("fitting", done, total),
            units.truth,
        )
    if str(args.units) == SYNTHETIC:  # only now, so that a refusal leaves nothing
        args.output.mkdir(parents=True, exist_ok=True)
        write_spike_units(given.source, given)
    sources = {
        "record": str(args.record),
        "record_sha256": file_sha256(args.record.expanduser()),
        "units": units.source,
        "units_sha256": _hash(Path(units.source)),
        "offset_s": args.offset,
        "kind": "spikes" if units.are_spikes else "signals",
        "left_out_units": few,
        "rows_in_no_bin": record.left_out,
    }
    write_encoding(args.output, found, units.are_spikes, sources)
    _print(console, found, record, units)
    page = write_neural_report(args.output)
    console.print(f"report: {page}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _units(args: argparse.Namespace, record: RecordBins) -> Units:
    """Returns the units of a file, or simulated ones, whose source is the file that `run` will write."""
    if str(args.units) != SYNTHETIC:
        return open_units(args.units)
    options = SyntheticOptions(
        units_per_group=args.units_per_group,
        mean_rate_hz=args.mean_rate,
        depth=args.depth,
        seed=args.seed,
    )
    made = simulate(record.values, record.bins, options).units
    return replace(made, source=str(args.output / SYNTHETIC_FILE))


def _hash(path: Path) -> str:
    return file_sha256(path if path.is_file() else path / "spike_times.npy")


def _print(console: Console, found: Encoding, record: RecordBins, units: Units) -> None:
    prepared, summed = found.prepared, summary(found)
    seconds, num_tuned = prepared.bins.count * prepared.bins.width_s, summed["tuned"]
    longest = max(prepared.autocorrelation_s, key=prepared.autocorrelation_s.__getitem__)
    rows = {
        "shared time": f"{seconds:.1f} s in {prepared.bins.count} bins of {prepared.bins.width_s:g} s; "
        f"{record.left_out} of {record.num_rows} rows are in no bin",
        "gaps": f"{prepared.gap_s:.2f} s around {found.options.num_folds} test blocks; the autocorrelation "
        f"lasts {prepared.autocorrelation_s[longest]:.2f} s ({longest})",
        "tuned": f"{num_tuned} of {summed['units']} units, at a false discovery rate of "
        f"{found.options.level:g}; {found.options.num_shifts} shifts" + _too_few_shifts(found),
        "clock": "no tuned unit tells"
        if not num_tuned
        else f"units follow the record by {found.lag_s:g} s",
    }
    if units.truth:
        rows["truth"] = _against_truth(found)
    print_table(console, units.source, rows)
    console.print(_groups(summed["groups"]))


def _against_truth(found: Encoding) -> str:
    """Says how often the synthetic units' truth was found."""
    groups = found.prepared.design.groups
    units = list(zip(found.units, found.truth, found.tuned, strict=True))
    right = [unit.best == truth for unit, truth, _ in units if truth in groups]
    tuned = [is_tuned for _, truth, is_tuned in units if truth in UNDRIVEN]
    return (
        f"{sum(right)} of {len(right)} driven units attributed to their group; {sum(tuned)} of {len(tuned)} "
        "others called tuned"
    )


def _too_few_shifts(found: Encoding) -> str:
    """Says how many shifts a single tuned unit would need, if there are fewer."""
    needed = math.ceil(len(found.units) / found.options.level) - 1
    if found.options.num_shifts >= needed:
        return ""
    return f" (if a single unit were tuned, it would take {needed} to tell: --shifts)"


def _groups(groups: dict[str, dict[str, Any]]) -> Table:
    caption = (
        "R2: median pseudo-R2 of the units that the group explains best; unique: what the model of "
    )
    caption += "all groups loses without it; R2 of all: of all tuned units"
    table = Table(box=box.SIMPLE, pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("group", overflow="fold")
    for heading in ("best", "share", "certain", "R2", "unique", "R2 of all"):
        table.add_column(heading, justify="right")
    for name, own in groups.items():
        keys = ("pseudo_r2_where_best", "unique_r2_where_best", "pseudo_r2")
        numbers = (own[f"median_{key}"] for key in keys)
        share = "" if own["best_share"] is None else f"{own['best_share']:.0%}"
        shown = ("" if value is None else f"{value:.3f}" for value in numbers)
        table.add_row(name, str(own["best"]), share, str(own["best_beyond_doubt"]), *shown)
    return table
