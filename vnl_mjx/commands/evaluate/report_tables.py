"""What a report says first, on the console."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from vnl_mjx.commands.tables import warn
from vnl_mjx.report.document import metric_label, metrics_of
from vnl_mjx.report.verdicts import MET, MISSED, tiles, verdict_line

_SHOWN = (
    "episode_reward",
    "reward_fraction",
    "survival",
    "success",
    "root_error_mm",
    "root_angle_deg",
    "joint_error_rad",
    "mpjpe_root_relative_mm",
    "foot_slip_mm_per_s",
)
_MARKS = {MET: "met", MISSED: "NOT met"}


def print_document(console: Console, document: Mapping[str, Any]) -> None:
    """Figures side by side, the deciding ones against their targets, and alarms."""
    console.print(_figures(document))
    table = Table(title="What decides", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    shown = tiles(document)
    for tile in shown:
        verdict = _MARKS.get(tile.verdict, "")
        parts = (tile.value, tile.detail, tile.target and f"({tile.target})", verdict)
        table.add_row(tile.label, "  ".join(part for part in parts if part))
    console.print(table)
    console.print(verdict_line(shown))
    for alarm in document["alarms"]:
        warn(console, f"{alarm['what']}: {alarm['found']}. {alarm['change']}")


def _figures(document: Mapping[str, Any]) -> Table:
    sets = ["all"]
    policies = list(document["policies"])
    if all(metrics_of(document, policy, "held_out") for policy in policies):
        sets.append("held_out")
    table = Table(title="Means over episodes", title_justify="left")
    table.add_column("")
    for which in sets:
        for policy in policies:
            head = policy if which == "all" else f"{policy}, held out"
            table.add_column(head, justify="right")
    for name in _SHOWN:
        cells = [
            _cell(metrics_of(document, policy, which).get(name))
            for which in sets
            for policy in policies
        ]
        table.add_row(metric_label(document, name), *cells)
    return table


def _cell(figure: Mapping[str, float | None] | None) -> str:
    if figure is None or figure.get("mean") is None:
        return ""
    return f"{figure['mean']:.4g}"
