"""Compares several evaluations side by side, with intervals of their differences."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vnl_mjx.errors import UserError
from vnl_mjx.evaluation.bootstrap import Interval, difference
from vnl_mjx.report.document import (
    Document,
    main_acting,
    main_policy,
    metric_label,
    metrics_of,
    validate,
)
from vnl_mjx.report.html import environment, write_together
from vnl_mjx.report.page_tables import grouped_tables, main_table
from vnl_mjx.report.pictures.errors import by_name
from vnl_mjx.report.pictures.style import Estimates, Picture
from vnl_mjx.report.sections import shown_picture
from vnl_mjx.report.table_cells import (
    NOTHING,
    Cell,
    Table,
    interval,
    metric_cell,
    name_cell,
    number,
)
from vnl_mjx.report.verdicts import MET, MISSED, Tile, tiles

COMPARISON_FILE = "comparison.html"
_PICTURES = ("reward_per_step", "survival", "root_error_mm", "mpjpe_root_relative_mm")
# Entries that differ between any two evaluations and carry no information.
_ALWAYS_DIFFERENT = {"seconds", "params_sha256", "command", "checkpoint"}


class Difference(NamedTuple):
    """Holds the difference of a run from the first on common clips; `better` is None if unknown."""

    interval: Interval
    num_clips: int
    better: bool | None


def differences(first: Document, other: Document) -> dict[str, Difference]:
    """Computes each metric's difference on common clips, the other's minus the first's."""
    clips = common_clips(first, other)
    own, others = _values_by_clip(first), _values_by_clip(other)
    found = {}
    for name, metric in other["metrics"].items():
        pairs = [(others[c].get(name), own[c].get(name)) for c in clips]
        pairs = [pair for pair in pairs if None not in pair]
        if pairs:
            theirs, ours = np.array(pairs, np.float64).T
            between = difference(theirs, ours, np.arange(len(pairs)))
            found[name] = Difference(between, len(pairs), _better(between, metric.get("better")))
    return found


def _better(between: Interval, better: str | None) -> bool | None:
    if better is None or not (between.low > 0 or between.high < 0):
        return None
    return (between.low > 0) == (better == "higher")


def _values_by_clip(document: Document) -> Mapping[str, Mapping[str, float | None]]:
    played = document["policies"].get(main_policy(document), {})
    return played.get(main_acting(document), {}).get("clips", {})


def common_clips(first: Document, other: Document) -> list[str]:
    """Returns the names of the clips that both were evaluated on."""
    others = _values_by_clip(other)
    return [clip for clip in _values_by_clip(first) if clip in others]


def compare_html(documents: Mapping[str, Document]) -> str:
    """Returns a page that compares two or more evaluations, by name, with the first.

    Raises:
        UserError: a document is not of this schema, there is only one, or no clip is common.
    """
    if len(documents) < 2:
        raise UserError("compare: expected two or more evaluations, found one; name another")
    for name, document in documents.items():
        validate(document, name)
    first, *others = documents
    if not any(common_clips(documents[first], documents[name]) for name in others):
        raise UserError(
            f"compare: expected clips that {first} and another were evaluated on, found none; "
            "evaluate them on the same clips"
        )
    template = environment().get_template("compare.html.j2")
    return template.render(
        title=f"Comparison: {', '.join(documents)}",
        runs=[{"name": name, "alarms": found["alarms"]} for name, found in documents.items()],
        deciding=_deciding_table(documents),
        main=main_table(documents),
        warnings=_warnings(documents),
        tables=_tables(documents),
        pictures=[shown_picture(f"compare-{k}", v) for k, v in _pictures(documents).items()],
        made=_made_table(documents),
    )


def write_comparison(folder: Path, documents: Mapping[str, Document]) -> Path:
    """Writes `comparison.html` into a folder, which it creates if missing; see `compare_html`."""
    write_together(folder, {COMPARISON_FILE: compare_html(documents).encode()})
    return folder / COMPARISON_FILE


def _deciding_table(documents: Mapping[str, Document]) -> Table:
    runs = [{tile.label: tile for tile in tiles(document)} for document in documents.values()]
    labels = dict.fromkeys(label for run in runs for label in run)
    rows = [[name_cell(label), *(_tile_cell(run.get(label)) for run in runs)] for label in labels]
    note = "Marks show whether each run met the target in its own report."
    return Table("What decides", ["", *documents], rows, note)


def _tile_cell(tile: Tile | None) -> Cell:
    if tile is None:
        return Cell(NOTHING)
    marks = {MET: (" \N{CHECK MARK}", "good"), MISSED: (" \N{BALLOT X}", "bad")}
    mark, tone = marks.get(tile.verdict, ("", ""))
    return Cell(f"{tile.value}{mark}", None, tile.detail, tone)


def _tables(documents: Mapping[str, Document]) -> list[Table]:
    first, *others = documents
    between = {name: differences(documents[first], documents[name]) for name in others}
    heads = [first, *(head for name in others for head in (name, f"{name} minus {first}"))]
    labels, rows = {}, {}
    for document in documents.values():
        for metric in document["metrics"]:
            labels.setdefault(metric, metric_label(document, metric))
    for metric in labels:
        rows[metric] = [_figure(documents[first], metric)]
        for name in others:
            found = between[name].get(metric)
            rows[metric] += [_figure(documents[name], metric), _between(found)]
    return list(grouped_tables(rows, labels, heads, _note(between)).values())


def _note(between: Mapping[str, Mapping[str, Difference]]) -> str:
    counts = {
        name: max((d.num_clips for d in own.values()), default=0) for name, own in between.items()
    }
    shared = "; ".join(f"{name}: {count}" for name, count in counts.items())
    return f"differences: pairs of the same clip, 95 % bootstrap interval; common clips, {shared}"


def _figure(document: Document, metric: str) -> Cell:
    return metric_cell(metrics_of(document, main_policy(document)).get(metric))


def _between(found: Difference | None) -> Cell:
    if found is None:
        return Cell(NOTHING)
    said = {True: " better", False: " worse", None: ""}[found.better]
    sign = "+" if found.interval.value > 0 else ""
    return Cell(
        f"{sign}{number(found.interval.value)}{said}",
        found.interval.value,
        interval(found.interval.as_dict()),
        {True: "good", False: "bad", None: ""}[found.better],
    )


def _pictures(documents: Mapping[str, Document]) -> dict[str, Picture]:
    pictures = {}
    for metric in _PICTURES:
        figures = [metrics_of(d, main_policy(d)).get(metric) or {} for d in documents.values()]
        keys = ("mean", "low", "high")
        values = np.array([[f.get(k) for k in keys] for f in figures], np.float64)
        if np.isfinite(values[:, 0]).all():
            spread = {"student": Estimates(*values.T)}
            label = metric_label(next(iter(documents.values())), metric)
            pictures[metric.replace("_", "-")] = by_name(spread, list(documents), label, sort=False)
    return pictures


def _warnings(documents: Mapping[str, Document]) -> list[str]:
    warnings = []
    (first, reference), *others = documents.items()
    for name, document in others:
        if document["made"].get("clips_sha256") != reference["made"].get("clips_sha256"):
            warnings.append(
                f"{name} was evaluated on another file of clips than {first}: clips of the same name "
                "may not be the same."
            )
        alike = {
            "seeds": document["made"].get("seed") == reference["made"].get("seed"),
            "settings": document["settings"] == reference["settings"],
        }
        warnings += [
            f"{name} and {first} have different {key}: their starts may not be the same."
            for key, same in alike.items()
            if not same
        ]
    return warnings


def _made_table(documents: Mapping[str, Document]) -> Table:
    """Returns the table of versions, hashes and settings, with differing rows first."""
    found = [
        dict(_leaves({**document["made"], "settings": document["settings"]}))
        for document in documents.values()
    ]
    rows = []
    for path in dict.fromkeys(path for leaves in found for path in leaves):
        shown = [str(leaves.get(path, NOTHING)) for leaves in found]
        differs = len(set(shown)) > 1 and path.split(": ")[-1] not in _ALWAYS_DIFFERENT
        mark = Cell("differs" if differs else "", int(differs))
        rows.append([name_cell(path.replace("_", " ")), *(Cell(s, s) for s in shown), mark])
    rows.sort(key=lambda row: -row[-1].sort)
    return Table("Versions, hashes and settings", ["", *documents, "same?"], rows)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [
        leaf
        for key, inner in value.items()
        for leaf in _leaves(inner, f"{path}: {key}" if path else key)
    ]
