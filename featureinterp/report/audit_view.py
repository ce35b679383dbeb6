"""Terminal view of an audit: which scores notice which corruptions, and what is wrong with the run itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from featureinterp.analysis.audit.corrupted_scores import CORPUS
from featureinterp.display import visible
from featureinterp.record import SOURCE_WORDS
from featureinterp.scoring.corruptions import ANOTHER, CORRUPTIONS

if TYPE_CHECKING:
    from featureinterp.analysis.audit.checks import RunChecks, Undefined
    from featureinterp.analysis.audit.run import Audit, Noticed

_NOTE = (
    "Each cell: share of features in which the score falls (false positives: rises), and share in which it leaves its "
    "95% interval, in %; red where that is fewer than half. n: features with the score before and after, which differs "
    "where scores are undefined or there is nothing to corrupt."
)
_MOST_LINES = 12
"""Reasons of undefined scores to show."""


def audit_view(audit: Audit) -> Group:
    """Return an audit: the table of corruptions, then the checks of the run."""
    parts: list[RenderableType] = [Text("Scores of corrupted explanations", style="bold"), _coverage(audit), Text()]
    if audit.noticed:
        parts += [corruption_table(audit.noticed), Text(_NOTE, style="dim")]
    return Group(*parts, Text(), Text("The run itself", style="bold"), *_checks(audit.checks))


def corruption_table(noticed: Sequence[Noticed]) -> Table:
    """Return the table of places and scores by corruption."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    names = (*CORRUPTIONS, ANOTHER)
    for name in names:
        table.add_column(name.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for place, rows in groupby(noticed, key=lambda each: each.place):
        of_place = list(rows)
        numbers = (_range(each.n for each in of_place if each.corruption == name) for name in names)
        table.add_row(Text(place_words(place), style="bold"), *(Text(n, style="dim") for n in numbers))
        for score, of_score in groupby(of_place, key=lambda each: each.score):
            cells = {each.corruption: each for each in of_score}
            table.add_row(f"  {score_words(score)}", *(_cell(cells.get(name)) for name in names))
    return table


def place_words(place: str) -> str:
    """Return the name of a place in words."""
    return "the corpus" if place == CORPUS else SOURCE_WORDS.get(place, place.replace("_", " "))


def score_words(score: str) -> str:
    """Return the name of a score in words."""
    shown = {"auroc": "AUROC", "f1": "F1", "iou": "IoU", "r_squared": "R²"}
    return shown.get(score, score.replace("_per_sentence", "").replace("_", " "))


def _range(counts: Iterable[int]) -> str:
    """Return the least and the largest number of features; a dash without any."""
    found = sorted(counts)
    if not found:
        return "–"
    return f"n {found[0]}" if found[0] == found[-1] else f"n {found[0]}–{found[-1]}"


def _cell(noticed: Noticed | None) -> Text:
    if noticed is None:
        return Text("–")
    worse, beyond = (f"{100 * n / noticed.n:.0f}" for n in (noticed.n_worse, noticed.n_beyond))
    return Text(f"{worse:>3} {beyond:>3}", style="" if 2 * noticed.n_beyond >= noticed.n else "red")


def _coverage(audit: Audit) -> Text:
    counts = ((audit.n_exact, "on the whole corpus"), (audit.n_sampled, "on windows drawn from it"))
    parts = [f"{n} {words}" for n, words in counts if n]
    parts += [f"{n} on test windows only: {visible(why)}" for why, n in audit.without_corpus.items()]
    return Text(f"{_counted(audit.n_features, 'explained feature')}; {'; '.join(parts)}" if parts else "none explained")


def _checks(checks: RunChecks) -> Iterator[RenderableType]:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("", ratio=1, overflow="fold")
    for name, value, is_bad in _check_rows(checks):
        table.add_row(name, Text(visible(value), style="bold red" if is_bad else ""))
    yield table
    for found in checks.unexplained:
        yield Text(f"  {found.status}, {_counted(found.n_features, 'feature')}: {visible(found.reason)}", style="dim")
    if checks.undefined:
        yield Text("Undefined scores", style="bold")
        yield from (Text(f"  {visible(_undefined_words(each))}") for each in checks.undefined[:_MOST_LINES])
    if len(checks.undefined) > _MOST_LINES:
        yield Text(f"  and {len(checks.undefined) - _MOST_LINES} more reasons: --format json has them all", style="dim")


def _check_rows(checks: RunChecks) -> Iterable[tuple[str, str, bool]]:
    """Yield name, value, and whether it is a fault."""
    features = ", ".join(f"{n} {status}" for status, n in checks.counts.items() if n)
    yield "features", features or "none", any(checks.counts.get(name) for name in ("waiting", "damaged"))
    pairs = f"{checks.near_duplicates} pairs in {_counted(checks.n_with_near_duplicates, 'feature')}"
    uncounted = f"; not counted in {_counted(checks.n_uncounted, 'feature')}" if checks.n_uncounted else ""
    yield "near-duplicates in two splits", pairs + uncounted, bool(checks.near_duplicates or checks.n_uncounted)
    yield "test windows that stand twice in a list", str(checks.repeated), bool(checks.repeated)
    yield "test windows that are train positives", str(checks.leaked), bool(checks.leaked)
    shared = checks.shared_documents
    unknown = "unknown: the data folder has the documents"
    yield "documents of train positives and test", unknown if shared is None else str(shared), bool(shared)


def _undefined_words(found: Undefined) -> str:
    names = ", ".join(map(score_words, found.scores)) or "all scores"
    return f"{place_words(found.place)}, {names}, {_counted(found.n_features, 'feature')}: {found.reason}"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
