"""Draws one picture of what was kept of recordings, what was cut, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.figure
import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from vnl_mjx.clips.preprocess_report import KEPT, Piece
from vnl_mjx.clips.quality import measure_title
from vnl_mjx.config.preprocessing import QualityLimits
from vnl_mjx.config.validation import AUTO
from vnl_mjx.report.colors import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW

_KEPT_COLOR, _CUT_COLOR = BLUE, VERMILLION
# Colours other than the blue of kept stretches; then the same, hatched.
_COLORS = (ORANGE, VERMILLION, PURPLE, GREEN, SKY, YELLOW, "#555555")
_HATCHES = ("", "////", "xxxx", "....")
_MAX_ROWS = 30  # rows of the timeline; with more takes, they are laid end to end
_MAX_SPANS = 150  # spans of one reason on a line that get a white edge between them
_MAX_NAMED = 16  # clips with a name under their bars
_MAX_NAME = 28  # characters
# Of `ClipQuality`, what the bars show.
_SHOWN = (
    "marker_rms_mm",
    "joint_limit_rad",
    "penetration_mm",
    "speed",
    "joint_speed",
    "jump_m",
    "jump_joint_rad",
    "frozen_s",
    "filled_share",
)


def save_quality_plot(
    path: Path, pieces: Sequence[Piece], limits: QualityLimits | None = None
) -> None:
    """Draws a PNG: every take with what was kept and cut, and each clip's measures, with `limits` dashed."""
    if not pieces:
        raise ValueError("there are no pieces to draw")
    takes = _takes(pieces)
    rows = _pack(takes)
    clips = [piece for piece in pieces if piece.quality is not None]
    shown = [name for name in _SHOWN if np.isfinite(_values(clips, name)).any()]
    timeline_inches = 1.4 + 0.28 * len(rows)
    bars_inches = -(-len(shown) // 3) * (3.0 if len(clips) <= _MAX_NAMED else 2.1)
    figure = matplotlib.figure.Figure(
        figsize=(13, timeline_inches + bars_inches), layout="constrained"
    )
    heights = [timeline_inches, bars_inches] if shown else [1.0]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_timeline(parts[0].subplots(), rows, takes)
    if shown:
        _draw_clips(parts[1], shown, clips, limits)
    figure.savefig(path, dpi=110, format="png")


class _Take(NamedTuple):
    """Holds what became of one take, with times in seconds of the recording."""

    name: str
    start_s: float
    seconds: float
    pieces: Sequence[Piece]


class _Row(NamedTuple):
    """Holds the takes on one line of the timeline, each with the time at which it is drawn."""

    label: str
    takes: Sequence[tuple[float, _Take]]


def _takes(pieces: Sequence[Piece]) -> list[_Take]:
    groups: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        groups.setdefault((piece.recording, piece.take), []).append(piece)
    takes = []
    for (recording, take), own in groups.items():
        start, stop = min(p.start_s for p in own), max(p.stop_s for p in own)
        takes.append(_Take(f"{recording} {take}", start, stop - start, own))
    return takes


def _category(piece: Piece) -> str:
    """Returns the category of a piece's first reason: the text before the colon."""
    return KEPT if piece.status == KEPT else piece.reasons[0].partition(":")[0]


def _pack(takes: Sequence[_Take]) -> list[_Row]:
    """Puts each take on its own line; with many takes, several on each line."""
    per_row = -(-len(takes) // _MAX_ROWS)
    rows = []
    for first in range(0, len(takes), per_row):
        line = takes[first : first + per_row]
        starts = np.cumsum([0.0, *(take.seconds for take in line[:-1])]).tolist()
        label = f"takes {first + 1} to {first + len(line)}" if per_row > 1 else _short(line[0].name)
        rows.append(_Row(label, list(zip(starts, line, strict=True))))
    return rows


def _draw_timeline(axis: Axes, rows: Sequence[_Row], takes: Sequence[_Take]) -> None:
    seconds = _seconds_by_reason(takes)
    reasons = sorted((r for r in seconds if r != KEPT), key=lambda r: -seconds[r])
    styles = {KEPT: (_KEPT_COLOR, "")}
    for place, reason in enumerate(reasons):
        repeat = min(place // len(_COLORS), len(_HATCHES) - 1)
        styles[reason] = (_COLORS[place % len(_COLORS)], _HATCHES[repeat])
    for line, row in enumerate(rows):
        for reason, (color, hatch) in reversed(styles.items()):
            spans = [
                (at + piece.start_s - take.start_s, piece.stop_s - piece.start_s)
                for at, take in row.takes
                for piece in take.pieces
                if _category(piece) == reason
            ]
            axis.broken_barh(
                spans,
                (line - 0.38, 0.76),
                facecolor=color,
                hatch=hatch,
                edgecolor="white",
                lw=0.4 if len(spans) <= _MAX_SPANS else 0.0,
            )
        for at, _ in row.takes[1:]:
            axis.plot([at, at], [line - 0.46, line + 0.46], color="black", lw=0.5)
    total = sum(seconds.values())
    handles = [
        matplotlib.patches.Patch(
            facecolor=styles[reason][0],
            hatch=styles[reason][1],
            edgecolor="white",
            label=f"{reason}: {seconds.get(reason, 0.0):.4g} s "
            f"({100 * seconds.get(reason, 0.0) / max(total, 1e-9):.3g} %)",
        )
        for reason in [KEPT, *reasons]
    ]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small")
    axis.set_yticks(range(len(rows)), [row.label for row in rows], fontsize="small")
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0.0, max(at + take.seconds for row in rows for at, take in row.takes))
    axis.set_xlabel("seconds" if any(len(row.takes) > 1 for row in rows) else "seconds of the take")
    axis.set_title(
        f"{len(takes)} take{'s' * (len(takes) != 1)}: what was kept, and what not, and why"
    )


def _seconds_by_reason(takes: Sequence[_Take]) -> dict[str, float]:
    """Returns the seconds of each reason; time in several stretches counts once, as kept if any is."""
    seconds: dict[str, float] = {}
    for take in takes:
        edges = np.unique([edge for p in take.pieces for edge in (p.start_s, p.stop_s)])
        owners = np.full(max(len(edges) - 1, 0), "", object)
        for piece in sorted(take.pieces, key=lambda piece: piece.status == KEPT):
            span = slice(*np.searchsorted(edges, [piece.start_s, piece.stop_s]))
            owners[span] = _category(piece)
        for owner, width in zip(owners, np.diff(edges), strict=True):
            if owner:
                seconds[owner] = seconds.get(owner, 0.0) + float(width)
    return seconds


def _draw_clips(
    figure: SubFigure, names: Sequence[str], clips: Sequence[Piece], limits: QualityLimits | None
) -> None:
    num_cut = sum(clip.status != KEPT for clip in clips)
    counts = {_KEPT_COLOR: f"{len(clips) - num_cut} clips kept", _CUT_COLOR: f"{num_cut} cut"}
    handles = [matplotlib.patches.Patch(color=c, label=label) for c, label in counts.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    axes = figure.subplots(-(-len(names) // 3), 3, squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        _draw_measure(axis, name, clips, limits)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()


def _draw_measure(
    axis: Axes, name: str, clips: Sequence[Piece], limits: QualityLimits | None
) -> None:
    values = _values(clips, name)
    cut = np.array([clip.status != KEPT for clip in clips])
    places = np.arange(len(clips))
    for chosen, color in ((~cut, _KEPT_COLOR), (cut, _CUT_COLOR)):
        if len(clips) <= 60:
            axis.bar(places[chosen], values[chosen], color=color)
        else:  # one outline: a rectangle for each takes 10 s for 2,000 clips
            heights = np.where(chosen, np.nan_to_num(values), 0.0)
            edges = np.arange(len(clips) + 1) - 0.5
            axis.stairs(heights, edges, fill=True, fc=color, ec=color, lw=0.5)
    limit = getattr(limits, name, None)
    limit = None if limit == AUTO else limit
    top = float(np.nanmax(values))
    if top == 0.0:
        axis.text(0.5, 0.5, "none", transform=axis.transAxes, ha="center", va="center")
    if limit is not None and limit <= 4.0 * top:
        axis.axhline(limit, color="black", ls="--", lw=1)
        top = max(top, limit)
    title = measure_title(name) + (f" (limit {limit:g})" if limit is not None else "")
    axis.set_title(title, fontsize="medium")
    axis.set_ylim(0.0, 1.12 * top if top > 0.0 else 1.0)
    axis.set_xlim(-0.6, len(clips) - 0.4)
    if len(clips) <= _MAX_NAMED:
        labels = [_short(clip.clip or f"{clip.take} {clip.start_s:.2f} s") for clip in clips]
        axis.set_xticks(places, labels, rotation=30, ha="right", fontsize="x-small")
    else:
        axis.set_xlabel("clip", fontsize="small")
    axis.grid(axis="y", alpha=0.3)


def _values(clips: Sequence[Piece], name: str) -> np.ndarray:
    return np.array([getattr(clip.quality, name) for clip in clips], np.float64)


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 3]}..."
