"""Prints tables, warnings and progress bars on the console."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import rich.console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vnl_mjx.clips.container import ClipSplit, ReferenceClips, describe_clips
from vnl_mjx.commands.output import one_line, printable


class Console(rich.console.Console):
    """Prints texts as they are: names from files are no markup, and steer no terminal."""

    def __init__(self, **options: Any):
        """Takes the options of rich's console."""
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Any:
        """Returns rich's text of a string, in which control characters are spelled out."""
        return super().render_str(printable(text), **options)


def print_table(console: Console, title: str, rows: Mapping[str, str]) -> None:
    """Prints a two-column table."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def warn(console: Console, message: str) -> None:
    """Prints one warning."""
    text, style = f"warning: {one_line(message)}", "yellow"
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def clip_rows(clips: ReferenceClips, split: ClipSplit) -> dict[str, str]:
    """Returns table rows on the clips and their split."""
    names = clips.names
    held_out = ", ".join(names[i] for i in split.held_out[:8]) or "none"
    more = f" and {len(split.held_out) - 8} more" if len(split.held_out) > 8 else ""
    return describe_clips(clips) | {
        "trained on": f"{len(split.train)} clips (split seed {split.seed})",
        "held out": held_out + more,
    }


@contextlib.contextmanager
def frame_progress(
    console: Console, unit: str = "frames"
) -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function (name, done, total) that draws one progress bar per name."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn(unit), TimeRemainingColumn(), console=console) as bars:
        known = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in known:
                known[name] = bars.add_task(printable(name), total=total)
            bars.update(known[name], completed=done)

        yield show
