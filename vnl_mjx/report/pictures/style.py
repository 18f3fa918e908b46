"""Defines the style of pictures in papers and in the report: colours, sizes and file formats."""

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.layout_engine import ConstrainedLayoutEngine

from vnl_mjx.report.colors import GRID, INK, MUTED, PALETTE, PAPER

COLUMN_INCHES = 3.5  # one column of most journals, and of the report on a phone
PNG_DPI = 220
_PDF_METADATA = ("CreationDate", "Creator", "Producer")

# Verdana has the same width, so an SVG's text keeps its place if the first font is missing.
_SVG_FONTS = "'DejaVu Sans', Verdana, sans-serif"
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 8,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",  # Matplotlib carries it
    "font.size": 8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # letters that drawing programs can edit
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "vnl-mjx",
    "text.color": INK,
    "text.parse_math": False,  # names of clips and joints are not formulas
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": 7.5,
    "ytick.color": INK,
    "ytick.labelsize": 7.5,
}
# Viridis without its ends, which are invisible on a black or a white page.
SEQUENTIAL = LinearSegmentedColormap.from_list(
    "vnl", matplotlib.colormaps["viridis"](np.linspace(0.2, 0.92, 16))
)


@dataclass(frozen=True)
class Picture:
    """Holds a picture: text of the SVG file, bytes of PNG and PDF, a caption, and a description."""

    svg: str
    png: bytes
    pdf: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Estimates:
    """Holds values, NaN for nothing to draw, and their 95 % intervals, if any: arrays of one shape."""

    value: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Sheet:
    """Holds a figure that is drawn on `axes` in the block of `sheet`, and its picture afterwards."""

    picture: Picture

    def __init__(self, figure: matplotlib.figure.Figure, axes: Sequence[Axes]):
        """Takes the figure; `axis` is the first of its axes."""
        self.figure, self.axes, self.axis = figure, axes, axes[0]


@contextlib.contextmanager
def sheet(
    height: float,
    caption: str,
    alt: str,
    rows: int = 1,
    columns: int = 1,
    width: float | None = None,
    pad: float = 0.08,
) -> Iterator[Sheet]:
    """Opens a figure that is drawn and written in this style.

    `height` and `width` are in inches; without a width, each of the axes is as wide as a column of a paper.
    `pad` is the margin, inches; long names need more, because files set text wider than it is laid out.
    """
    with matplotlib.rc_context(_STYLE):
        # Browsers set text a little wider than Matplotlib does.
        layout = ConstrainedLayoutEngine(w_pad=pad, h_pad=pad / 2)
        size = (width or columns * COLUMN_INCHES, height)
        figure = matplotlib.figure.Figure(figsize=size, layout=layout)
        axes = figure.subplots(rows, columns, squeeze=False)
        drawn = Sheet(figure, axes.ravel().tolist())
        yield drawn
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once for all files
        svg, png, pdf = io.StringIO(), io.BytesIO(), io.BytesIO()
        # No date and no machine, so the same picture gives the same file.
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
        figure.savefig(pdf, format="pdf", metadata=dict.fromkeys(_PDF_METADATA))
        text = svg.getvalue().replace("'DejaVu Sans'", _SVG_FONTS)
        drawn.picture = Picture(text, png.getvalue(), pdf.getvalue(), caption, alt)


def group_colors(groups: Sequence[str]) -> Mapping[str, str]:
    """Returns colours of the groups, most frequent first; beyond the palette all are grey."""
    counts = Counter(groups)
    ordered = sorted(counts, key=lambda group: (-counts[group], group))
    return {group: PALETTE[i] if i < len(PALETTE) else MUTED for i, group in enumerate(ordered)}


def logarithmic(axis: Axes) -> None:
    """Makes the y axis logarithmic, with plain numbers as ticks, not formulas."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    subs = (1.0, 2.0, 5.0) if high < 100.0 * low else (1.0,)
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=8))
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(ticker.NullLocator())


def legend_above(axis: Axes, columns: int | None = None, **options: Any) -> None:
    """Draws a legend above the axes, where it hides no data; `columns` None: as many as fit."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        axis.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns or (len(handles) if len(handles) <= 4 else 3),
            borderaxespad=0.2,
            columnspacing=1.2,
            handletextpad=0.5,
            **options,
        )


def quantity(label: str) -> str:
    """Returns a label without its unit, for a sentence: "MPJPE, global" for "MPJPE, global, mm"."""
    return label.rpartition(", ")[0] or label


def upper_first(text: str) -> str:
    """Capitalises the start of a sentence; names such as MPJPE stay."""
    return text[:1].upper() + text[1:]


def short(name: str, most: int = 24) -> str:
    """Shortens a name in its middle, because the ends tell clips apart."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[-(most - 1 - head) :]}"
