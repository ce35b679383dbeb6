"""Numbers, names and tables as escaped Markdown."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featureinterp.display import visible

if TYPE_CHECKING:
    from pandas import DataFrame

_MARKS = re.compile(r"[\\`*|\[\]#~$]|(?<!\w)_+|_+(?!\w)")  # within a word, underscores mark nothing
_LIST_MARK = re.compile(r"^(\s*\d*)([-+.)])(?=\s|$)")


def plain(text: str) -> str:
    r"""Escape text for Markdown, on one line and within a table cell.

    >>> plain("a|b <c>")
    'a\\|b &lt;c&gt;'
    """
    escaped = _MARKS.sub(lambda marks: "\\" + "\\".join(marks[0]), html.escape(visible(text), quote=False))
    return _LIST_MARK.sub(r"\1\\\2", escaped)


def place_free(name: str) -> str:
    """Return the last part of an absolute path, or the name unchanged."""
    return Path(name).name if Path(name).is_absolute() else name


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with a real minus sign; a dash for none.

    >>> number(-0.1234), number(float("nan")), number(-0.0001)
    ('−0.123', '–', '0.000')
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """Write a number with its interval in brackets, if any."""
    text = number(value, digits)
    return f"{text} [{number(low, digits)}, {number(high, digits)}]" if math.isfinite(low) else text


def p_value(p: float) -> str:
    """Write a p-value to three digits.

    >>> p_value(0.0004), p_value(0.02)
    ('p < 0.001', 'p = 0.020')
    """
    return "p < 0.001" if p < 0.001 else f"p = {number(p)}"


def counted(n: int, one: str, many: str = "") -> str:
    """Write a count with its noun.

    >>> counted(1, "feature"), counted(2, "feature")
    ('1 feature', '2 features')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are Markdown already, those of numbers are aligned to the right."""
    body = [[str(cell) for cell in row] for row in rows]
    right = [bool(body) and all(_NUMERIC.match(row[i]) for row in body) for i in range(len(head))]
    rule = ["---:" if each else "---" for each in right]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [list(head), rule, *body])


def rows_of(frame: DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as values by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def by_columns(means: DataFrame, columns: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a frame by the values of these columns."""
    return {tuple(row[name] for name in columns): row for row in rows_of(means)}


def mean_cell(row: Mapping[str, Any] | None) -> str:
    """Write a row of `analysis.means.mean_by` as a mean with its interval; a dash for none."""
    return "–" if row is None else with_interval(row["mean"], row["ci_low"], row["ci_high"])


_NUMERIC = re.compile(r"^[−–\d]")
