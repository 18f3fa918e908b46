"""What `vnl-mjx bench` measured, as tables."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from vnl_mjx.commands.bench_subjects import Subject
from vnl_mjx.commands.tables import warn

# Repetitions of the same work that differ more than this tell of other work on the machine.
_DISTURBED = 1.15


def print_report(console: Console, report: Mapping[str, Any], subject: Subject) -> None:
    """Prints the tables of a report of `commands.bench.run`.

    Args:
        console: where to.
        report: what `--json` prints.
        subject: what was measured.
    """
    packages = (f"{name} {report['versions'][name]}" for name in ("mujoco", "jax"))
    console.print(
        f"{report['num_envs']} environments, {report['cores']} cores, {report['threads']} threads, "
        f"{', '.join(packages)}",
        highlight=False,
    )
    _print_rates(console, report, subject)
    _print_seconds(console, report, subject)
    spreads = [report["seconds"][name] for name in ("physics", "end to end")]
    if any(values["max"] > _DISTURBED * values["min"] for values in spreads):
        warn(console, "the repetitions differ: something else was running; measure again")
    if "start" in report:
        _print_start(console, report)


def _print_rates(console: Console, report: Mapping[str, Any], subject: Subject) -> None:
    rates = _table("Control steps per second", "median", "min", "max")
    for name, label in {
        "physics": "bare mujoco.batch",
        "floor": "floor: physics, then networks",
        "end to end": f"{subject.name} end to end",
    }.items():
        rates.add_row(label, *_cells(report["steps_per_second"][name], ",.0f"))
    label = f"end to end / floor{_target(report, 'ratio')}"
    rates.add_row(label, *_cells(report["ratio"], ".3f"))
    rates.add_row("  of the fastest repetitions", f"{report['ratio_of_fastest']:.3f}", "", "")
    console.print(rates)


def _print_seconds(console: Console, report: Mapping[str, Any], subject: Subject) -> None:
    seconds = _table(f"Seconds per update of {report['env_steps']} steps", "median", "min", "max")
    for name, label in {
        "physics": "bare mujoco.batch",
        "rollout networks": subject.rollout_networks,
        "update networks": "minibatches",
        "end to end": f"{subject.name} end to end",
        "rollout": "  of which rollout",
        "physics calls": "    of which physics calls",
        "reset forward": "    of which forward passes of resets",
        "update": "  of which update",
    }.items():
        seconds.add_row(label, *_cells(report["seconds"][name], ".3f"))
    console.print(seconds)
    share = report["seconds"]["reset forward"]["median"] / report["seconds"]["end to end"]["median"]
    resets = report["resets"]
    console.print(
        f"{resets} resets per update, one in {report['env_steps'] / max(resets, 1):.1f} control steps; "
        f"their forward passes are {100 * share:.1f} % of the time",
        highlight=False,
    )


def _print_start(console: Console, report: Mapping[str, Any]) -> None:
    start = _table(f"Seconds from the start of the process{_target(report, 'start_s')}", "")
    for name, value in report["start"].items():
        start.add_row(name, f"{value:.1f}")
    console.print(start)
    target = _target(report, "memory_mb_at_1024", " at 1024")
    memory = _table(f"Peak memory of a run, MB{target}", "", "per environment more")
    previous = None
    for num_envs, value in report["memory_mb"].items():
        more = ""
        if previous is not None and int(num_envs) != previous[0]:
            more = f"{(value - previous[1]) / (int(num_envs) - previous[0]):.2f}"
        memory.add_row(f"{num_envs} environments", f"{value:.0f}", more)
        previous = (int(num_envs), value)
    console.print(memory)


def _target(report: Mapping[str, Any], name: str, where: str = "") -> str:
    value = report["targets"].get(name)
    return "" if value is None else f" (target {value:g}{where})"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _cells(values: Mapping[str, float], spec: str) -> list[str]:
    return [format(values[name], spec) for name in ("median", "min", "max")]
