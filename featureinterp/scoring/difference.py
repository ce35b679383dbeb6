"""Paired difference of two explanations of one feature on the same windows.

Both are scored on every resample of the windows, so what makes a window easy or hard for both cancels out, and the
interval of the difference is narrower than the two intervals suggest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featureinterp import stats
from featureinterp.core import Score, ScoredSequence
from featureinterp.errors import InputError
from featureinterp.scoring.simulation import pooled_levels


def differences_by_source(
    ours: Sequence[ScoredSequence], theirs: Sequence[ScoredSequence], *, seed: int = 0, n_bootstrap: int = 1000
) -> dict[str, Score]:
    """Compare two explanations on positives plus the records of each complementary source.

    Returns:
        `correlation_difference` by the source's enum value, in the order in which the sources first appear.

    Raises:
        InputError: if the two belong to different records.
    """
    _check_same(ours, theirs)
    sources = dict.fromkeys(pair.record.source for pair in ours if pair.record.source is not None)
    differences: dict[str, Score] = {}
    for source in sources:
        taken = [i for i, pair in enumerate(ours) if pair.record.source in (None, source)]
        sides = [[side[i] for i in taken] for side in (ours, theirs)]
        differences[source.value] = correlation_difference(*sides, seed=seed, n_bootstrap=n_bootstrap)
    return differences


def correlation_difference(
    ours: Sequence[ScoredSequence], theirs: Sequence[ScoredSequence], *, seed: int = 0, n_bootstrap: int = 1000
) -> Score:
    """Return the correlation of `ours` minus that of `theirs`, both pooled over all tokens of the same records.

    Args:
        ours: records with the simulation of one explanation.
        theirs: the same records, in the same order, with the simulation of the other.
        seed: seed of the resamples.
        n_bootstrap: number of resamples, joint for both; positives and complementary sentences are resampled
            separately. 0 for no interval.

    Returns:
        The difference, -2..2; undefined if either correlation is.

    Raises:
        InputError: if the two belong to different records.
        SimulationError: if a simulation does not match its record.
    """
    _check_same(ours, theirs)
    order = sorted(range(len(ours)), key=lambda i: _name(ours[i]))
    first, second = (_sums([side[i] for i in order]) for side in (ours, theirs))
    value = float(stats.correlation(first.total()) - stats.correlation(second.total()))
    if np.isnan(value):
        return Score.undefined("the correlation of one of the two is undefined")
    complementary = np.array([ours[i].record.source is not None for i in order])
    if not n_bootstrap or min(np.unique(complementary, return_counts=True)[1]) < 2:
        return Score(value)
    counts = stats.resampling_counts(complementary, n_bootstrap, stats.generator(seed, "bootstrap"))
    resampled = stats.correlation(first.weighted(counts)) - stats.correlation(second.weighted(counts))
    low, high = stats.percentile_interval(resampled)
    return Score(value) if np.isnan(low) else Score(value, low, high)


def _sums(sequences: Sequence[ScoredSequence]) -> stats.TokenSums:
    levels = pooled_levels(sequences)
    return stats.token_sums(levels.truth, levels.expected, levels.owner, levels.n_records)


def _name(pair: ScoredSequence) -> tuple[str, int]:
    source = pair.record.source
    return ("" if source is None else source.value, pair.record.dataset_index)


def _check_same(ours: Sequence[ScoredSequence], theirs: Sequence[ScoredSequence]) -> None:
    if [pair.record for pair in ours] != [pair.record for pair in theirs]:
        raise InputError(
            "the two explanations were tested on different sentences", "explain both from the same records"
        )
