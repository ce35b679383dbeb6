"""Checks of a run: leaks between its splits, windows that stand twice, and results that are missing or undefined.

A result stores its train positives and its test windows, so leaks are looked for between these two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from featureinterp.analysis.audit.corrupted_scores import CORPUS
from featureinterp.analysis.runs import run_summary
from featureinterp.core import Scores
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.scores.verdict import NOT_MEASURED
from featureinterp.experiment.store import RunStore

_SCORE_NAMES = tuple(field.name for field in fields(Scores) if not field.name.startswith("n_"))


@dataclass(frozen=True)
class Undefined:
    """Scores that are undefined for one reason."""

    place: str
    """`corpus`, or the source of the test list."""
    scores: tuple[str, ...]
    """Names of the scores; empty if it is all of them."""
    reason: str
    n_features: int


@dataclass(frozen=True)
class Unexplained:
    """Features without an explanation, for one reason."""

    status: str
    reason: str
    n_features: int


@dataclass(frozen=True)
class RunChecks:
    """What is wrong with a run; 0 and empty where nothing is."""

    counts: Mapping[str, int]
    """Features by what became of them: `explained`, `failed`, `rare`, `dead`, `waiting` and `damaged`."""
    unexplained: tuple[Unexplained, ...]
    """Finished features without an explanation, the most frequent reason first."""
    near_duplicates: int
    """Pairs of near-duplicates in two splits, over all features."""
    n_with_near_duplicates: int
    """Features with such a pair."""
    n_uncounted: int
    """Explained features whose result does not count them: older runs."""
    repeated: int
    """Test windows that stand in one list before, by row or by tokens."""
    leaked: int
    """Test windows that are train positives too, by row or by tokens."""
    shared_documents: int | None
    """Documents that give a train positive and a test window of one feature; None where documents are unknown."""
    undefined: tuple[Undefined, ...]
    """Undefined scores of explained features, the most frequent first."""


def check_run(store: RunStore, documents: NDArray[np.integer] | None) -> RunChecks:
    """Check a run; every result is read once, one in memory at a time.

    Args:
        store: the run.
        documents: document of each window of the corpus [windows]; None where the data folder is missing.
    """
    unexplained: Counter[tuple[str, str]] = Counter()
    undefined: Counter[tuple[str, tuple[str, ...], str]] = Counter()
    pairs, n_with, n_uncounted, n_repeated, n_leaked, n_shared = 0, 0, 0, 0, 0, 0
    for result in store.results():
        if result.explanation is None:
            unexplained[result.status, result.reason] += 1
            continue
        undefined.update(undefined_scores(result))
        pairs += result.near_duplicates or 0
        n_with += bool(result.near_duplicates)
        n_uncounted += result.near_duplicates is None
        n_repeated += repeated_windows(result)
        n_leaked += leaked_windows(result)
        n_shared += 0 if documents is None else shared_documents(result, documents)
    return RunChecks(
        counts=run_summary(store).counts,
        unexplained=tuple(Unexplained(*name, n) for name, n in unexplained.most_common()),
        near_duplicates=pairs,
        n_with_near_duplicates=n_with,
        n_uncounted=n_uncounted,
        repeated=n_repeated,
        leaked=n_leaked,
        shared_documents=None if documents is None else n_shared,
        undefined=tuple(Undefined(*name, n) for name, n in undefined.most_common()),
    )


def undefined_scores(result: FeatureResult) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield place, names and reason of a result's undefined scores; no names where all scores are undefined for it."""
    places: dict[str, Scores] = dict(result.scores)
    if result.corpus is None:
        yield CORPUS, (), NOT_MEASURED
    else:
        places[CORPUS] = result.corpus.scores
    for place, scores in places.items():
        named = {name: getattr(scores, name) for name in _SCORE_NAMES}
        by_reason: dict[str, list[str]] = {}
        for name, score in named.items():
            if score.value is None:
                by_reason.setdefault(score.reason, []).append(name)
        for reason, names in by_reason.items():
            yield place, () if len(names) == len(named) else tuple(names), reason


def repeated_windows(result: FeatureResult) -> int:
    """Return how many test windows stand in the same list before, by row or by tokens."""
    lists: dict[object, list[tuple[int, tuple[str, ...]]]] = {}
    for pair in result.test_sequences:
        lists.setdefault(pair.record.source, []).append((pair.record.dataset_index, pair.record.tokens))
    return sum(_n_repeated(windows) for windows in lists.values())


def leaked_windows(result: FeatureResult) -> int:
    """Return how many distinct test windows are train positives too, by row or by tokens."""
    rows = {record.dataset_index for record in result.train_positives}
    tokens = {record.tokens for record in result.train_positives}
    tested = {(pair.record.dataset_index, pair.record.tokens) for pair in result.test_sequences}
    return sum(row in rows or own in tokens for row, own in tested)


def shared_documents(result: FeatureResult, documents: NDArray[np.integer]) -> int:
    """Return how many documents give a train positive and a test window.

    Args:
        result: an explained feature.
        documents: document of each window of the corpus [windows].
    """
    train = _documents((record.dataset_index for record in result.train_positives), documents)
    test = _documents((pair.record.dataset_index for pair in result.test_sequences), documents)
    return len(train & test)


def _documents(rows: Iterable[int], documents: NDArray[np.integer]) -> set[int]:
    return {int(documents[row]) for row in rows if 0 <= row < len(documents)}


def _n_repeated(windows: Sequence[tuple[int, tuple[str, ...]]]) -> int:
    rows: set[int] = set()
    seen: set[tuple[str, ...]] = set()
    n = 0
    for row, tokens in windows:
        n += row in rows or tokens in seen
        rows.add(row)
        seen.add(tokens)
    return n
