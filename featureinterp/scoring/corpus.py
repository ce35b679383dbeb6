"""Scores over every token of a corpus, for simulators that cost nothing.

The corpus is a sample of the language that it was taken from. So the scores have intervals: the corpus is cut into
groups of consecutive windows, which keeps documents together, and the jackknife leaves out one group at a time
(Quenouille, "Notes on bias in estimation", 1956).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featureinterp import stats
from featureinterp.core import CLAIMED_ABOVE, Score, Scores
from featureinterp.scoring.difference import PairedSample, expected_sums
from featureinterp.scoring.sample import PooledLevels, SentenceSample, SentenceSums
from featureinterp.scoring.simulation import scores_of

MOST_GROUPS = 200
"""Groups that the corpus is cut into, at most: with more, the intervals hardly change."""


@dataclass(frozen=True)
class PooledCorpus:
    """All tokens of a corpus by groups of consecutive windows, with what one simulator expects of them."""

    levels: PooledLevels

    @cached_property
    def sums(self) -> SentenceSums:
        """What the correlation needs of each group; all count as complementary."""
        return SentenceSums.of(self.levels, np.ones(self.levels.n_records, dtype=bool))


def pool_corpus(truth: ArrayLike, expected: ArrayLike, claimed: ArrayLike | None = None) -> PooledCorpus:
    """Pool all tokens of a corpus by groups of consecutive windows.

    Args:
        truth: true levels, 5·a / max a [windows, tokens].
        expected: expected levels, 0..5 [windows, tokens].
        claimed: whether each token is claimed; None: those expected above level 1 [windows, tokens].
    """
    true, levels = np.asarray(truth, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    n_windows, length = true.shape
    n = min(MOST_GROUPS, n_windows)
    groups: NDArray[np.int64] = np.arange(n_windows, dtype=np.int64) * n // max(n_windows, 1)
    owner = np.repeat(groups, length).astype(np.int64)
    claims = levels > CLAIMED_ABOVE if claimed is None else np.asarray(claimed, dtype=bool)
    return PooledCorpus(PooledLevels(true.ravel(), levels.ravel(), owner, claims.ravel(), n))


def score_corpus(pooled: PooledCorpus, n_windows: int, *, intervals: bool = True) -> Scores:
    """Score an explanation on a whole corpus; false positives are claimed silent tokens per window.

    Args:
        pooled: as made by `pool_corpus`.
        n_windows: windows of the corpus.
        intervals: whether the scores have intervals.
    """
    levels = pooled.levels
    scores = scores_of(SentenceSample.of(levels, pooled.sums), intervals=intervals)
    share = levels.n_records / n_windows
    return replace(
        scores,
        n_sentences=n_windows,
        n_complementary=n_windows,
        false_positives_per_sentence=_scaled(scores.false_positives_per_sentence, share),
        false_positives_expected_per_sentence=_scaled(scores.false_positives_expected_per_sentence, share),
    )


def correlate_corpus(pooled: PooledCorpus) -> Score:
    """Return the correlation alone, without an interval; undefined where either side is constant."""
    value = stats.pearson(pooled.levels.truth, pooled.levels.expected)
    return Score.undefined("the expected activation is the same on every token") if np.isnan(value) else Score(value)


def difference_on_corpus(ours: PooledCorpus, theirs: PooledCorpus) -> Score:
    """Return the correlation of `ours` minus that of `theirs` on the same corpus, with its interval."""
    return PairedSample(ours.sums, theirs.sums, expected_sums(ours.levels, theirs.levels)).difference()


def _scaled(score: Score, factor: float) -> Score:
    if score.value is None or score.ci_low is None or score.ci_high is None:
        return score if score.value is None else Score(score.value * factor)
    return Score(score.value * factor, score.ci_low * factor, score.ci_high * factor)
