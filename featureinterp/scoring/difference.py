"""Paired difference of two explanations of one feature on the same windows.

Both are scored without each window in turn, so what makes a window easy or hard for both cancels out, and the
interval of the difference is narrower than the two intervals suggest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featureinterp import stats
from featureinterp.core import Score, ScoredSequence
from featureinterp.errors import InputError
from featureinterp.scoring.sample import PooledLevels, SentenceSums
from featureinterp.scoring.simulation import PooledSequences


def differences_by_source(ours: Sequence[ScoredSequence], theirs: Sequence[ScoredSequence]) -> dict[str, Score]:
    """Compare two explanations on positives plus the records of each complementary source.

    Returns:
        `correlation_difference` by the source's enum value, in the order in which the sources first appear.

    Raises:
        InputError: if the two belong to different records.
    """
    _check_same(ours, theirs)
    pooled = PooledSequences.of(ours)
    return pooled_differences(pooled, pooled.resimulated(theirs))


def pooled_differences(ours: PooledSequences, theirs: PooledSequences) -> dict[str, Score]:
    """Compare two explanations as `differences_by_source`, given the same records."""
    between = expected_sums(ours.levels, theirs.levels)
    return {
        source: PairedSample(
            ours.sums_by_source[source], theirs.sums_by_source[source], between.take(rows)
        ).difference()
        for source, rows in ours.rows.items()
    }


def expected_sums(ours: PooledLevels, theirs: PooledLevels) -> stats.TokenSums:
    """Return the sums of what two explanations expect: the first in the place of the truth."""
    return stats.token_sums(ours.expected, theirs.expected, ours.owner, ours.n_records)


def correlation_difference(
    ours: Sequence[ScoredSequence], theirs: Sequence[ScoredSequence], *, weights: Sequence[float] | None = None
) -> Score:
    """Return the correlation of `ours` minus that of `theirs`, both pooled over all tokens of the same records.

    Args:
        ours: records with the simulation of one explanation.
        theirs: the same records, in the same order, with the simulation of the other.
        weights: how many windows each record stands for, above 0 [records]; None for one each.

    Returns:
        The difference, -2..2, with a jackknife interval; undefined where either correlation is. No interval where the
        positives or the complementary records are fewer than two.

    Raises:
        InputError: if the two belong to different records.
        SimulationError: if a simulation does not match its record.
    """
    _check_same(ours, theirs)
    first = PooledSequences.of(ours, weights)
    second = first.resimulated(theirs)
    return PairedSample(first.sums, second.sums, expected_sums(first.levels, second.levels)).difference()


def false_positive_differences(ours: Sequence[ScoredSequence], theirs: Sequence[ScoredSequence]) -> dict[str, Score]:
    """Compare false positives per sentence on the records of each complementary source.

    Returns:
        The mean over sentences of the count of `ours` minus that of `theirs`, with a t interval, by the source's enum
        value; the interval is missing with fewer than two sentences.

    Raises:
        InputError: if the two belong to different records.
    """
    _check_same(ours, theirs)
    counts: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for first, second in zip(ours, theirs, strict=True):
        if first.record.source is not None:
            counts[first.record.source.value].append((_false_positives(first), _false_positives(second)))
    return {source: _mean_difference(pairs) for source, pairs in counts.items()}


def _false_positives(pair: ScoredSequence) -> int:
    return sum(
        claimed and value <= 0 for claimed, value in zip(pair.simulation.claims, pair.record.expressions, strict=True)
    )


def _mean_difference(pairs: Sequence[tuple[int, int]]) -> Score:
    found = stats.paired_difference([first for first, _ in pairs], [second for _, second in pairs])
    return Score(found.mean) if np.isnan(found.ci_low) else Score(found.mean, found.ci_low, found.ci_high)


@dataclass(frozen=True)
class PairedSample:
    """What the difference of two explanations needs of each sentence."""

    ours: SentenceSums
    theirs: SentenceSums
    between: stats.TokenSums
    """Of what the two expect, as made by `expected_sums`."""

    def difference(self) -> Score:
        """Return `correlation_difference`; a correlation that is undefined without a sentence counts as 0 there."""
        values, own = (self.ours.correlation, self.theirs.correlation), self.ours.weights
        if np.isnan(values).any():
            return Score.undefined("the correlation of one of the two is undefined")
        value = values[0] - values[1]
        ours, theirs = self.ours.correlations_without_each, self.theirs.correlations_without_each
        if ours is None or theirs is None:
            return Score(value)
        replicates = np.nan_to_num(ours, nan=0.0) - np.nan_to_num(theirs, nan=0.0)
        between = float(self.between.correlations(own))
        return Score(value, *stats.difference_interval(values, between, replicates, self.ours.strata))


def _check_same(ours: Sequence[ScoredSequence], theirs: Sequence[ScoredSequence]) -> None:
    if [pair.record for pair in ours] != [pair.record for pair in theirs]:
        raise InputError(
            "the two explanations were tested on different sentences", "explain both from the same records"
        )
