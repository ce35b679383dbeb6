"""Means over a run's features with intervals; undefined scores are counted beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from featureinterp.analysis.comparisons import difference_score
from featureinterp.analysis.means import mean_score
from featureinterp.core import Score
from featureinterp.experiment.scores.verdict import VERDICTS
from featureinterp.record import MAIN_SOURCE
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.views import SOURCE_WORDS


@dataclass(frozen=True)
class GroupMeans:
    """Means over the explained features of a group, each with its interval."""

    name: str
    explanation: Score
    token_lookup: Score
    shuffled: Score
    gain: Score
    """Paired difference: explanation minus the token table, over features that have both."""
    n: int
    undefined: int
    """Explained features whose correlation is undefined; left out of the mean."""


@dataclass(frozen=True)
class Found:
    """Overview of a run's results against the main source."""

    means: GroupMeans
    above_lookup: int
    """Features whose explanation scores higher than the token table."""
    comparable: int
    """Features that have both scores."""
    best: tuple[tuple[str, FeatureRow], ...]
    """File names and rows of the features with the highest scores, highest first."""
    worst: tuple[tuple[str, FeatureRow], ...]
    """File names and rows of the features with the lowest scores, lowest first; disjoint from `best`."""


N_TELLING = 3
"""Largest number of features in `best` and in `worst`."""


def run_found(rows: Sequence[FeatureRow], names: Sequence[str]) -> Found | None:
    """Return the overview of a run's features; None if no score is defined.

    Args:
        rows: the features.
        names: of their files, in the same order.
    """
    scored = [pair for pair in zip(names, rows, strict=True) if pair[1].score().value is not None]
    if not scored:
        return None
    scored.sort(key=lambda pair: -float(pair[1].score()))
    best = scored[:N_TELLING]
    both = [row for _, row in scored if row.floor("token_lookup").value is not None]
    return Found(
        means=_means(SOURCE_WORDS[MAIN_SOURCE], rows, MAIN_SOURCE),
        above_lookup=sum(float(row.score()) > float(row.floor("token_lookup")) for row in both),
        comparable=len(both),
        best=tuple(best),
        worst=tuple(reversed(scored[len(best) :][-N_TELLING:])),
    )


def verdict_counts(rows: Sequence[FeatureRow]) -> dict[str, int]:
    """Return the number of explained features by verdict, those that occur."""
    counts = Counter(row.verdict for row in rows if row.status == "explained")
    return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


def means_by_source(rows: Sequence[FeatureRow]) -> list[GroupMeans]:
    """Return the mean test correlation for each complementary source with scores, the hardest first."""
    used = {source for row in rows for source in row.scores}
    return [_means(words, rows, source) for source, words in SOURCE_WORDS.items() if source in used]


def means_by_layer(rows: Sequence[FeatureRow]) -> list[GroupMeans]:
    """Return the mean test correlation of each hook's features against the main source."""
    hooks = dict.fromkeys((row.key.layer, row.key.hook_name) for row in rows if row.status == "explained")
    many = len({layer for layer, _ in hooks}) < len(hooks)
    return [
        _means(hook if many else f"layer {layer}", [row for row in rows if row.key.hook_name == hook], MAIN_SOURCE)
        for layer, hook in sorted(hooks)
    ]


def _means(name: str, rows: Sequence[FeatureRow], source: str) -> GroupMeans:
    explained = [row for row in rows if row.status == "explained" and source in row.scores]
    values = [float(row.score(source)) for row in explained]
    lookup = [float(row.floor("token_lookup", source)) for row in explained]
    shuffled = [float(row.floor("shuffled", source)) for row in explained]
    undefined = sum(row.score(source).value is None for row in explained)
    return GroupMeans(
        name=name,
        explanation=mean_score(values),
        token_lookup=mean_score(lookup),
        shuffled=mean_score(shuffled),
        gain=difference_score(values, lookup),
        n=len(explained) - undefined,
        undefined=undefined,
    )
