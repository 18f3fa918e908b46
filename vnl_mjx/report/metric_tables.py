"""Tables of the report's page, made of the document of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

from vnl_mjx.report.lookup import Document, main_acting, metric_label
from vnl_mjx.report.table_cells import (
    NOTHING,
    Cell,
    Table,
    metric_cell,
    name_cell,
    number_cell,
)

# Which table a metric stands in, by a part of its name; first match wins.
_GROUPS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("reward", ("term_", "reward", "completed")),
    ("errors", ("error", "mpjpe", "angle", "distance")),
    ("contact", ("slip", "contact")),
    ("smoothness", ("jerk", "action_", "power", "energy", "speed")),
    ("success", ("success", "survival", "seconds", "diverged")),
)
GROUP_TITLES = {
    "reward": "Reward and its terms",
    "success": "Survival and success",
    "errors": "Tracking errors",
    "smoothness": "Smoothness and energy",
    "contact": "Feet and contact",
    "other": "Further figures",
}


def metric_group(name: str) -> str:
    """Key of `GROUP_TITLES` under which a metric stands."""
    matches = (group for group, words in _GROUPS if any(word in name for word in words))
    return next(matches, "other")


def metric_tables(document: Document, acting: str, folded: bool = False) -> dict[str, Table]:
    """A table for each group of metrics: rows of metrics, columns of policies and sets of clips."""
    columns = [
        (policy, which)
        for policy, played in document["policies"].items()
        for which in _sets(played.get(acting, {}))
    ]
    tables = {}
    for group, title in GROUP_TITLES.items():
        names = [name for name in document["metrics"] if metric_group(name) == group]
        rows = []
        for name in names:
            cells = [metric_cell(_figure(document, *column, acting, name)) for column in columns]
            if any(cell.sort is not None for cell in cells):
                rows.append([name_cell(metric_label(document, name)), *cells])
        if rows:
            heads = [_column_head(*column) for column in columns]
            tables[group] = Table(
                title,
                ["", *heads],
                rows,
                "Mean over episodes, 95 % bootstrap interval over clips.",
                folded,
            )
    return tables


def _sets(played: Mapping[str, Any]) -> list[str]:
    """Sets to show: train and held out where both are there, else all."""
    sets = list(played.get("sets", {}))
    apart = [name for name in ("train", "held_out") if name in sets]
    return apart if len(apart) == 2 else [name for name in sets if name == "all"] or sets


def _column_head(policy: str, which: str) -> str:
    return policy if which == "all" else f"{policy}, {which.replace('_', ' ')} clips"


def _figure(document: Document, policy: str, which: str, acting: str, name: str) -> Any:
    played = document["policies"][policy].get(acting, {})
    return played.get("sets", {}).get(which, {}).get("figures", {}).get(name)


_CLIP_METRICS = ("survival", "reward_per_step", "root_error_mm", "mpjpe_root_relative_mm")


def clips_table(document: Document) -> Table:
    """The clips and what the policies reached on each."""
    acting = main_acting(document)
    policies = document["policies"]
    shown = [name for name in _CLIP_METRICS if name in document["metrics"]]
    heads = ["clip", "set", "behaviour", "length, s", "made by"]
    pairs = [(policy, name) for name in shown for policy in policies]
    heads += [f"{metric_label(document, name)}: {policy}" for policy, name in pairs]
    rows = []
    for clip in document["clips"]:
        cells = [name_cell(clip["name"])]
        about = (clip.get("set"), clip.get("label"))
        cells += [Cell((text or NOTHING).replace("_", " "), text or None) for text in about]
        made_by = clip.get("made_by")
        cells += [number_cell(clip.get("seconds")), Cell(made_by or NOTHING, made_by)]
        for policy, name in pairs:
            played = policies[policy].get(acting, {}).get("clips", {})
            cells.append(number_cell(played.get(clip["name"], {}).get(name)))
        rows.append(cells)
    kept = [c for c in range(len(heads)) if c == 0 or any(r[c].sort is not None for r in rows)]
    rows = [[row[c] for c in kept] for row in rows]
    return Table(f"{len(rows)} clips", [heads[c] for c in kept], rows, "All metrics: per_clip.csv.")


def action_tables(document: Document) -> list[Table]:
    """Errors of the student's action by part of the body, and by actuator."""
    states = {
        "on_student_states": "student's states",
        "on_teacher_states": "teacher's states",
    }
    tables = []
    for part, title, folded in (
        ("per_group", "By part of the body", False),
        ("per_actuator", "By actuator", True),
    ):
        found = {k: document["action"].get(k, {}).get(part) or {} for k in states}
        names = list(dict.fromkeys(name for errors in found.values() for name in errors))
        if not names:
            continue
        keys = [(k, e) for k in states for e in ("mse", "mae", "r2") if found[k]]
        keys = [(k, e) for k, e in keys if any(e in row for row in found[k].values())]
        heads = ["", *(f"{_ERRORS[e]}: {states[k]}" for k, e in keys)]
        rows = [
            [name_cell(name), *(number_cell(found[k].get(name, {}).get(e)) for k, e in keys)]
            for name in names
        ]
        note = "Difference from the teacher's action in [-1, 1], on the same states."
        tables.append(Table(title, heads, rows, note, folded))
    return tables


_ERRORS = {"mse": "MSE", "mae": "MAE", "r2": "R²"}
