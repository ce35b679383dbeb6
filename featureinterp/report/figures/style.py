"""Figure style: two paper widths, colour-blind-safe colours, reproducible files.

What differs by colour differs by marker and dashes too. Nothing is read from the user's own matplotlib settings, text
is never read as mathematics, and a file holds no date, so the same run gives the same bytes.
"""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from featureinterp.display import visible
from featureinterp.errors import InputError
from featureinterp.report.figures.tables import latex_escape

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Width = Literal["full", "column"]
WIDTHS: dict[Width, float] = {"full": 6.9, "column": 3.3}
"""Inches: across a page, and across one of its two columns."""

_PANEL_HEIGHT: dict[Width, float] = {"full": 1.75, "column": 1.6}
_MOST_BESIDE = 3
_AROUND_HEIGHT = 0.75
"""Inches for legend and note, above and below the panels."""

BLACK, GREY, PALE = "#000000", "#666666", "#e4e4e4"
ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
"""The palette of Okabe and Ito (2008)."""

_FONT = "DejaVu Sans"
"""Comes with matplotlib, so it is there on every machine."""

_SETTINGS: dict[str, object] = {
    "font.family": _FONT,
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": PALE,
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Look:
    """Style of a line, its markers and its band."""

    colour: str
    marker: str
    dashes: str | tuple[int, tuple[float, ...]]
    """As matplotlib names line styles."""
    hatch: str = ""


LOOKS = (
    Look(BLUE, "o", "-"),
    Look(ORANGE, "s", "--", "////"),
    Look(GREEN, "^", "-.", "...."),
    Look(VERMILLION, "D", ":", "\\\\\\\\"),
    Look(PURPLE, "v", (0, (5, 1, 1, 1, 1, 1)), "xxxx"),
    Look(SKY, "P", (0, (3, 1)), "----"),
    Look(BLACK, "X", (0, (1, 1)), "++++"),
)
"""For what has no look of its own, in order."""

FLOOR = Look(GREY, "", (0, (1, 1.5)))


@contextmanager
def style(latex: bool = False) -> Iterator[None]:
    """Draw and save in one consistent style; whatever was set before holds again afterwards.

    Args:
        latex: whether LaTeX sets the text; it has to be installed.

    Raises:
        InputError: if `latex` is set and LaTeX is not installed.
    """
    if latex and (shutil.which("latex") is None or shutil.which("dvipng") is None):
        raise InputError("figures with LaTeX need latex and dvipng on the PATH",
                         "install them, or leave out --latex: figures need no LaTeX")  # fmt: skip
    from matplotlib.style import context

    latex_settings = {"text.usetex": True, "font.family": "serif"} if latex else {}
    with context(["default", {**_SETTINGS, **latex_settings}]):
        yield


def panels(n: int, width: Width, shape: tuple[int, int] | None = None) -> tuple[Figure, list[Axes]]:
    """Make a figure of `n` panels: up to three side by side (page width), stacked (column width).

    Args:
        n: number of panels.
        width: width of the figure.
        shape: rows and columns of panels, instead of these.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(n, _MOST_BESIDE) if width == "full" else 1
    rows, columns = shape or (-(-n // columns), columns)
    size = (WIDTHS[width], _PANEL_HEIGHT[width] * rows + _AROUND_HEIGHT)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.03))
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(n)]
    return figure, axes


def finish(figure: Figure, note: str, messages: Sequence[str]) -> None:
    """Add the legend above the panels and, below them, what the numbers are and what is missing.

    Args:
        figure: with labelled artists in its panels.
        note: number of features in the means, and level of the intervals.
        messages: missing results.
    """
    full = figure.get_figwidth() > 5
    for axes in figure.axes:
        _say_empty(axes)
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries.update(zip(labels, handles, strict=True))
    if entries:
        columns = legend_columns([len(label) for label in entries], 72 * figure.get_figwidth())
        figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns)
    if not full:
        _label_last_only(figure.axes)
    told = [words(note)] + [words(f"Missing: {message}") for message in _cut(messages)]
    lines = [
        line for paragraph in told for line in textwrap.wrap(paragraph, 150 if full else 70, break_on_hyphens=False)
    ]
    figure.supxlabel("\n".join(lines), fontsize=5.5, color=GREY, x=0.01, ha="left")


def legend_columns(lengths: Sequence[int], points: float) -> int:
    """Return the number of columns in which a legend fits, at most the number of entries.

    Args:
        lengths: characters of each label.
        points: available width.

    >>> legend_columns([5, 5, 5], 400), legend_columns([30, 5, 5], 200)
    (3, 1)
    """
    for columns in range(len(lengths), 1, -1):
        rows = -(-len(lengths) // columns)
        widest = [max(lengths[start : start + rows]) for start in range(0, len(lengths), rows)]
        if sum(_ENTRY_POINTS + _LETTER_POINTS * length for length in widest) <= points:
            return columns
    return 1


_ENTRY_POINTS, _LETTER_POINTS = 32.0, 3.9
"""What an entry of a legend takes besides its letters, and what a letter takes."""


def words(text: str) -> str:
    """Return a text for a figure: characters without a glyph in the font become U+FFFD.

    With LaTeX, its special characters are escaped.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import findfont, get_font

    shown = " ".join(visible(text).split("\n"))
    if rcParams["text.usetex"]:
        return latex_escape(shown)
    font = get_font(findfont(_FONT))
    return "".join(c if font.get_char_index(ord(c)) else "\ufffd" for c in shown)


def short(name: str, most: int = 30) -> str:
    """Cut a long name in the middle.

    >>> short("abcdefghij", 7)
    'abc…hij'
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[len(name) - half :]}"


def file_bytes(figure: Figure, format_: Literal["pdf", "png"]) -> bytes:
    """Return the figure as a file, a vector PDF with its fonts or a PNG of 300 dots per inch: without a date."""
    buffer = io.BytesIO()
    dateless: dict[str, None] = {"CreationDate": None} if format_ == "pdf" else {"Software": None}
    figure.savefig(buffer, format=format_, metadata=dateless)
    return buffer.getvalue()


def _label_last_only(axes: Sequence[Axes]) -> None:
    """Of panels one above the other that have the same label of x, let the last one keep it."""
    for place, panel in enumerate(axes):
        if panel.get_xlabel() in [other.get_xlabel() for other in axes[place + 1 :]]:
            panel.set_xlabel("")


def _say_empty(axes: Axes) -> None:
    """Mark a panel without data."""
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    if lines and not any(len(line.get_xdata()) for line in lines):  # pyright: ignore[reportArgumentType]
        axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set(xticks=[], yticks=[])


def _cut(messages: Sequence[str], most: int = 4) -> list[str]:
    left = len(messages) - most
    return list(messages[:most]) + ([f"and {left} more"] if left > 0 else [])
