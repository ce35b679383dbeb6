"""Terminal view of the stability of scores over repeated runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from featureinterp.analysis.stability import WANTED_REACH, ScoreStability
from featureinterp.report.number_format import number

Cell = Callable[[ScoreStability], str]

_NOTHING = "–"
_NOTE = (
    "SD: standard deviation by cause, with its share of the variance (balanced random-effects analysis of variance); "
    "what was not varied is part of the cause above it. Standard error: of one run over its test sentences, by the "
    "jackknife. Rank correlations are Spearman's, over features, between two runs. Sentences: of the test split, "
    f"positives and negatives, for a 95% interval of ±{WANTED_REACH}."
)


def stability_view(found: Sequence[ScoreStability]) -> Group:
    """Return a table of scores: means, causes of variance, rank correlations, and sentences needed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for each in found:
        table.add_column(each.name.replace(", ", "\n"), justify="right")
    for name, cell in _ROWS:
        cells = [cell(each) for each in found]
        if any(cell != _NOTHING for cell in cells):
            table.add_row(Text(name), *map(Text, cells))
    return Group(table, Text(_NOTE, style="dim"))


def _of_cause(cause: str) -> Cell:
    return lambda each: _deviation(each, getattr(each.components, cause))


def _jackknife(each: ScoreStability) -> str:
    return _NOTHING if each.sentences is None else number(each.sentences.standard_error, 3)


def _ranks(what: str) -> Cell:
    return lambda each: number(each.rank_correlations.get(what))


def _deviation(each: ScoreStability, variance: float) -> str:
    if math.isnan(variance):
        return _NOTHING
    total = each.components.total
    share = f" ({variance / total:.0%})" if total > 0 else ""
    return f"{number(math.sqrt(variance), 3)}{share}"


def _count(n: float | None) -> str:
    return _NOTHING if n is None else f"{math.ceil(n):,}"


_ROWS: tuple[tuple[str, Cell], ...] = (
    ("mean", lambda each: number(each.mean)),
    ("SD between features", _of_cause("features")),
    ("SD, records drawn again", _of_cause("records")),
    ("SD, proposals sampled again", _of_cause("proposals")),
    ("SD, another simulator", _of_cause("simulators")),
    ("SD, the same by feature", _of_cause("features_by_simulator")),
    ("SD, residual", _of_cause("residual")),
    ("standard error, median", _jackknife),
    ("rank correlation, records", _ranks("records")),
    ("rank correlation, proposals", _ranks("proposals")),
    ("rank correlation, simulators", _ranks("simulators")),
    (f"sentences for ±{WANTED_REACH}, median", lambda each: _count(each.sentences and each.sentences.median)),
    ("  for 9 of 10 features", lambda each: _count(each.sentences and each.sentences.most)),
    ("features", lambda each: str(each.n)),
    ("left out", lambda each: str(each.left_out) if each.left_out else _NOTHING),
)
