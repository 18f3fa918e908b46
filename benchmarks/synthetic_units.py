"""Whether `vnl-mjx encode` finds the truth about units that are simulated from a record.

    uv run python benchmarks/synthetic_units.py [--seeds 5] [--minutes 10] [--rates 10,3,1] [--record FILE]

A session of the bundled student (or --record) drives Poisson units: some by each group, as many by nothing at
all as by all groups together. Prints the share attributed to the right group, the confusion, the share of
undriven units called tuned, the coverage of the 95 % intervals, and the lags found after the units' clock was
shifted.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats
from sessions import stitched
from timing import exit_status

from vnl_mjx.activity.file import LAYERS, open_activity_file
from vnl_mjx.activity.noise import LatentNoise
from vnl_mjx.activity.record import Recorder, RecordOptions
from vnl_mjx.commands.neural.record import load_recordable
from vnl_mjx.commands.runtime import prepare_jax
from vnl_mjx.demo import DEMO_CLIPS, DEMO_STUDENT
from vnl_mjx.neurons.bins import binned
from vnl_mjx.neurons.encoding import Encoding, encode
from vnl_mjx.neurons.features import DEFAULT_GROUPS
from vnl_mjx.neurons.preparation import EncodingOptions, Prepared, prepare
from vnl_mjx.neurons.session import RecordBins, read_record
from vnl_mjx.neurons.synthetic import (
    NOTHING,
    UNDRIVEN,
    UNRELATED,
    Simulated,
    SyntheticOptions,
    simulate,
)

_SHIFTED_BINS = (-5, 3, 11)


def main() -> None:
    """Prints the tables, and writes all numbers with --json."""
    args = _arguments()
    prepare_jax()
    with tempfile.TemporaryDirectory() as folder:
        path = args.record or Path(folder) / "session.rec.h5"
        if args.record is None:
            write_session(path, args.minutes, seed=0)
        with open_activity_file(path) as file:
            record = read_record(file, args.groups, args.bin)
    options = EncodingOptions(
        args.fitted, partition=False, keep_predictions=True, num_shifts=args.shifts, jobs=args.jobs
    )
    prepared = prepare(record.values, record.bins, options)
    rows: list[dict[str, Any]] = []
    for rate in args.rates:
        drawn = SyntheticOptions(args.per_group, rate, args.depth, args.components, link=args.link)
        for seed in range(args.seeds):
            rows += measure(record, prepared, replace(drawn, seed=seed), options)
    console = Console(width=160)
    seconds = record.bins.count * record.bins.width_s
    console.print(
        f"{seconds / 60:.1f} min in bins of {record.bins.width_s:g} s, gaps of {prepared.gap_s:.2f} s, "
        f"{args.seeds} seeds, depth {args.depth:g}, {args.link}, drive of {args.components} "
        f"components, models of {args.fitted}"
    )
    console.print(_table(rows, args.rates))
    for rate in args.rates:
        console.print(_confusion([r for r in rows if r["rate"] == rate], rate, prepared))
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1))


def write_session(path: Path, minutes: float, seed: int) -> None:
    """Records the bundled student on its clips in random order, a second apart.

    It draws its latents, so that no two passes of a clip are alike.
    """
    found = load_recordable(DEMO_STUDENT, DEMO_CLIPS)
    session = stitched(found.clips, found.task.walker, 60 * minutes, gap_s=1.0, seed=seed)
    policy = found.policy.replace(noise=LatentNoise(jnp.float32(1.0)))
    options = RecordOptions(groups=(*DEFAULT_GROUPS, LAYERS), seed=seed)
    Recorder(found.task, options).write(path, policy, session)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--seeds", type=int, default=5)
    add("--minutes", type=float, default=10.0)
    add("--rates", type=lambda text: [float(x) for x in text.split(",")], default=[10.0, 3.0, 1.0])
    add("--per-group", type=int, default=5)
    add("--depth", type=float, default=0.7)
    add("--components", type=int, default=10, help="of the drive; 0: one random column")
    add("--fitted", type=int, default=20, help="components of the models")
    add("--link", choices=("exp", "softplus"), default="exp")
    add("--bin", type=float, default=0.04)
    add("--groups", type=lambda text: text.split(","))
    add("--shifts", type=int, default=200)
    add("--jobs", type=int)
    add("--record", type=Path)
    add("--json", type=Path)
    return parser.parse_args()


def measure(
    record: RecordBins, prepared: Prepared, drawn: SyntheticOptions, options: EncodingOptions
) -> list[dict[str, Any]]:
    """Encodes the units of one seed; one row per unit."""
    driven = simulate(record.values, record.bins, drawn)
    half = replace(drawn, units_per_group=drawn.units_per_group * len(record.values) // 2)
    undriven = simulate({}, record.bins, replace(half, seed=drawn.seed + 1000))
    rows = []
    for made in (driven, undriven):
        kept = [i for i, t in enumerate(made.units.truth) if (t in UNDRIVEN) == (made is undriven)]
        units = made.units.select(kept)
        counts = binned(units, prepared.bins)
        found = encode(prepared, units.names, counts, True, options, truth=units.truth)
        rows += _rows(found, Simulated(units, made.rates[:, kept]), drawn)
    tuned = [row["p"] for row in rows]
    for row, q in zip(rows, stats.false_discovery_control(tuned), strict=True):
        row["tuned"] = bool(q <= options.level)
    lags = _lags(record, prepared, driven, options) if drawn.seed == 0 else {}
    return [{**row, "lags": lags} for row in rows]


def _rows(found: Encoding, made: Simulated, drawn: SyntheticOptions) -> list[dict[str, Any]]:
    width, rows = found.prepared.bins.width_s, []
    for i, unit in enumerate(found.units):
        covered, lead = {}, {}
        gains = {}
        for group, score in unit.groups.items():
            gains[group] = _expected_gain(made.rates[:, i] * width, score.predicted)
            covered[group] = bool(score.gain.low <= gains[group] <= score.gain.high)
        second = sorted(unit.groups, key=lambda g: unit.groups[g].gain.value)[-2]
        lead = gains[unit.best] - gains[second]
        rows.append(
            {
                "rate": drawn.mean_rate_hz,
                "seed": drawn.seed,
                "truth": found.truth[i],
                "best": unit.best,
                "p": unit.p_value,
                "p_values": {group: score.p_value for group, score in unit.groups.items()},
                "certain": bool(unit.lead.low > 0),
                "covered": covered,
                "lead_covered": bool(unit.lead.low <= lead <= unit.lead.high),
                "pseudo_r2": unit.groups[unit.best].pseudo_r2.value,
            }
        )
    return rows


def _expected_gain(rate: np.ndarray, fit: Any) -> float:
    """Returns the expectation of a model's held-out gain, bits per spike, on the same bins.

    The counts of the test bins are Poisson of mean `rate` [bin], and the model did not see them.
    """
    nats = rate * np.log(fit.predicted / fit.constant) - (fit.predicted - fit.constant)
    return float(nats.sum() / rate.sum() / np.log(2.0))


def _lags(
    record: RecordBins, prepared: Prepared, made: Simulated, options: EncodingOptions
) -> dict[int, int]:
    """Returns the lag that is found, in bins, for each shift of the units' clock."""
    found, width = {}, prepared.bins.width_s
    for shift in _SHIFTED_BINS:
        units = made.units.shifted(shift * width)
        some = units.select(range(0, len(units.names), 3))
        late = prepare_again(record, some, options) if shift else prepared
        counts = binned(some, late.bins)
        lag_s = encode(late, some.names, counts, True, options).lag_s
        found[shift] = -999 if np.isnan(lag_s) else round(lag_s / width)
    return found


def prepare_again(record: RecordBins, units: Any, options: EncodingOptions) -> Prepared:
    """Returns what belongs to the bins during which the shifted units were recorded."""
    shared = record.during(units)
    return prepare(shared.values, shared.bins, options)


def _share(hits: Sequence[bool]) -> str:
    """Returns a share with its exact (Clopper and Pearson) 95 % interval."""
    if not len(hits):
        return "none"
    result = stats.binomtest(int(sum(hits)), len(hits))
    low, high = result.proportion_ci(0.95)
    return f"{100 * np.mean(hits):.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {len(hits)}"


def _table(rows: list[dict[str, Any]], rates: Sequence[float]) -> Table:
    table = Table("", *(f"{rate:g} Hz" for rate in rates), title="Self-test")
    measures = {
        "driven units attributed to their group": lambda d, n: [r["best"] == r["truth"] for r in d],
        "the same, of those with a certain lead": lambda d, n: [
            r["best"] == r["truth"] for r in d if r["certain"]
        ],
        "share with a certain lead": lambda d, n: [r["certain"] for r in d],
        "driven units called tuned": lambda d, n: [r["tuned"] for r in d],
        "undriven units called tuned": lambda d, n: [r["tuned"] for r in n],
        "undriven units with p <= 0.05 (unit)": lambda d, n: [r["p"] <= 0.05 for r in n],
        "the same, of a constant rate": lambda d, n: [
            r["p"] <= 0.05 for r in n if r["truth"] == NOTHING
        ],
        "the same, of an unrelated slow process": lambda d, n: [
            r["p"] <= 0.05 for r in n if r["truth"] == UNRELATED
        ],
        "undriven units with p <= 0.05 (per group)": lambda d, n: [
            p <= 0.05 for r in n for p in r["p_values"].values()
        ],
        "intervals of the gain that hold its truth": lambda d, n: [
            c for r in d for c in r["covered"].values()
        ],
        "the same, of the unit's own group": lambda d, n: [r["covered"][r["truth"]] for r in d],
        "intervals of the lead that hold its truth": lambda d, n: [r["lead_covered"] for r in d],
    }
    for name, measured in measures.items():
        cells = []
        for rate in rates:
            own = [r for r in rows if r["rate"] == rate]
            driven = [r for r in own if r["truth"] not in UNDRIVEN]
            cells.append(_share(measured(driven, [r for r in own if r["truth"] in UNDRIVEN])))
        table.add_row(name, *cells)
    lags = [
        next((r["lags"] for r in rows if r["rate"] == rate and r["lags"]), {}) for rate in rates
    ]
    table.add_row(
        "clock shifted by (bins) -> lag found",
        *(", ".join(f"{k} -> {v}" for k, v in own.items()) for own in lags),
    )
    r2 = [
        np.median([r["pseudo_r2"] for r in rows if r["rate"] == x and r["truth"] not in UNDRIVEN])
        for x in rates
    ]
    table.add_row("median pseudo-R2 of driven units", *(f"{value:.3f}" for value in r2))
    return table


def _confusion(rows: list[dict[str, Any]], rate: float, prepared: Prepared) -> Table:
    groups = prepared.design.groups
    short = {g: g.removeprefix("layers/").replace("hidden_", "") for g in groups}
    table = Table("true group", *short.values(), title=f"Attributed to, at {rate:g} Hz")
    for truth in groups:
        found = Counter(row["best"] for row in rows if row["truth"] == truth)
        table.add_row(short[truth], *(str(found[g] or "") for g in groups))
    return table


if __name__ == "__main__":
    raise SystemExit(exit_status(main))
