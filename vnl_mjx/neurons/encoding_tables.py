"""Writes the results of encoding models: `encoding.csv`, `partition.csv` and `encoding.json`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vnl_mjx.evaluation.bootstrap import Interval
from vnl_mjx.files import write_json
from vnl_mjx.neurons.encoding import Encoding, UnitScore
from vnl_mjx.neurons.tables import write_tables

ENCODING, PARTITION, SUMMARY = "encoding", "partition", "encoding.json"


def write_encoding(
    folder: Path, encoding: Encoding, are_spikes: bool, sources: dict[str, Any]
) -> None:
    """Writes the tables of every unit and group, and a summary with the settings and `sources`.

    Raises:
        UserError: a file cannot be written.
    """
    tables = {ENCODING: encoding_rows(encoding, are_spikes), PARTITION: partition_rows(encoding)}
    write_tables(folder, tables)
    prepared = encoding.prepared
    document = {
        **sources,
        "options": asdict(encoding.options),
        "bins": prepared.bins.count,
        "bin_s": prepared.bins.width_s,
        "seconds": prepared.bins.count * prepared.bins.width_s,
        "gap_s": prepared.gap_s,
        "autocorrelation_s": prepared.autocorrelation_s,
        "explained_variance": prepared.design.explained,
        "lag_s": None if np.isnan(encoding.lag_s) else encoding.lag_s,
        "summary": summary(encoding),
    }
    write_json(folder / SUMMARY, document)


def encoding_rows(encoding: Encoding, are_spikes: bool) -> list[dict[str, Any]]:
    """Returns one row per unit and group."""
    rows = []
    for i, unit in enumerate(encoding.units):
        seconds = encoding.prepared.bins.count * encoding.prepared.bins.width_s
        common = {
            "p_unit": unit.p_value,
            "q_unit": float(encoding.q_values[i]),
            "lead": unit.lead.value,
            "lead_low": unit.lead.low,
            "lead_high": unit.lead.high,
            "spikes": unit.num_spikes if are_spikes else "",
            "rate_hz": unit.num_spikes / seconds if are_spikes else "",
            "truth": encoding.truth[i] if encoding.truth else "",
        }
        for group, score in unit.groups.items():
            gain = {"llr_bits_per_spike": score.gain.value} if are_spikes else {}
            rows.append(
                {
                    "unit": unit.name,
                    "group": group,
                    **_named("pseudo_r2", score.pseudo_r2),
                    "llr_bits_per_spike": "",
                    "llr_bits_per_s": "" if are_spikes else score.gain.value,
                    **gain,
                    "llr_low": score.gain.low,
                    "llr_high": score.gain.high,
                    "p_value": score.p_value,
                    "tuned": bool(encoding.tuned[i]),
                    "best": group == unit.best,
                    "lag_s": score.lag_s,
                    **common,
                }
            )
    return rows


def partition_rows(encoding: Encoding) -> list[dict[str, Any]]:
    """Returns one row per unit and group: the full model's pseudo-R2 and what it loses without the group."""
    rows = []
    for unit in encoding.units:
        for group, score in unit.groups.items():
            if unit.full is None or score.unique is None:
                continue
            rows.append(
                {
                    "unit": unit.name,
                    "group": group,
                    **_named("unique_r2", score.unique),
                    "shared_r2": score.pseudo_r2.value - score.unique.value,
                    **_named("full_r2", unit.full),
                }
            )
    return rows


def summary(encoding: Encoding) -> dict[str, Any]:
    """Returns how many units are tuned, and for each group those that it explains best."""
    tuned = [u for u, is_tuned in zip(encoding.units, encoding.tuned, strict=True) if is_tuned]
    groups = {group: _of_group(group, tuned) for group in encoding.prepared.design.groups}
    return {"units": len(encoding.units), "tuned": len(tuned), "groups": groups}


def _of_group(group: str, tuned: Sequence[UnitScore]) -> dict[str, Any]:
    own = [unit for unit in tuned if unit.best == group]
    unique = [u.groups[group].unique for u in tuned]
    own_unique = [u.groups[group].unique for u in own]
    return {
        "best": len(own),
        "best_share": len(own) / len(tuned) if tuned else None,
        "best_beyond_doubt": sum(unit.lead.low > 0 for unit in own),
        "median_pseudo_r2": _median([u.groups[group].pseudo_r2.value for u in tuned]),
        "median_pseudo_r2_where_best": _median([u.groups[group].pseudo_r2.value for u in own]),
        "median_unique_r2": _median([i.value for i in unique if i is not None]),
        "median_unique_r2_where_best": _median([i.value for i in own_unique if i is not None]),
    }


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _named(name: str, value: Interval) -> dict[str, float]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
