"""Feedback for revisions: the records that lower an explanation's score most, and their errors."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featureinterp import stats
from featureinterp.core import Feedback, ScoredSequence, SequenceSimulation, WorstRecord
from featureinterp.record import ActivationRecord
from featureinterp.scoring.simulation import PooledLevels, paired, pooled_levels

ERRORS_PER_RECORD = 5
"""Maximum token errors of a record in feedback."""

LEAST_ERROR = 0.5
"""Minimum error in levels that is reported."""


def scores_without_each(truth_by_record: Sequence[ArrayLike], expected_by_record: Sequence[ArrayLike]) -> stats.Floats:
    """Return, for every record, the pooled correlation over all others, float64 [records]; NaN where undefined.

    Args:
        truth_by_record: true levels of each record [records][tokens].
        expected_by_record: expected levels of each record [records][tokens].
    """
    owner = np.repeat(np.arange(len(truth_by_record)), [np.size(truth) for truth in truth_by_record])
    truth, expected = np.concatenate(truth_by_record), np.concatenate(expected_by_record)
    return stats.correlation(stats.token_sums(truth, expected, owner, len(truth_by_record)).without_each())


def feedback(records: Sequence[ActivationRecord], simulations: Sequence[SequenceSimulation], k: int) -> Feedback:
    """Return the score over all records (NaN if undefined) and the `k` records that lower it most."""
    sequences = paired(records, simulations)
    levels = pooled_levels(sequences)
    score = stats.pearson(levels.truth, levels.expected)
    return Feedback(score, _worst(sequences, levels, score, k))


def worst_records(
    records: Sequence[ActivationRecord], simulations: Sequence[SequenceSimulation], k: int
) -> tuple[WorstRecord, ...]:
    """Return up to `k` records whose removal would raise the score most, worst first.

    If the score is undefined (an explanation that expects the same everywhere) no removal raises it; then
    the records have the largest squared error, and `score_without` may be NaN.
    """
    return feedback(records, simulations, k).worst_records


def _worst(sequences: Sequence[ScoredSequence], levels: PooledLevels, score: float, k: int) -> tuple[WorstRecord, ...]:
    sums = stats.token_sums(levels.truth, levels.expected, levels.owner, levels.n_records)
    without = stats.correlation(sums.without_each())
    undefined = np.isnan(score)
    badness = sums.squared_error if undefined else without
    at_fault = np.flatnonzero(badness > 0.0 if undefined else badness > score)
    order = at_fault[np.argsort(-badness[at_fault], kind="stable")][:k]
    worst: list[WorstRecord] = []
    for index in map(int, order):
        mine = levels.owner == index
        pair, claimed = sequences[index], sequences[index].simulation.claims
        worst.append(
            WorstRecord(
                record=pair.record,
                expected_activations=tuple(pair.simulation.expected_activations),
                score_without=float(without[index]),
                errors=errors_in_words(pair.record.tokens, levels.truth[mine], levels.expected[mine], claimed),
                claimed=claimed,
            )
        )
    return tuple(worst)


def errors_in_words(
    tokens: Sequence[str], truth: NDArray[np.float64], expected: NDArray[np.float64], claimed: Sequence[bool]
) -> tuple[str, ...]:
    """Describe the largest errors of one record, worst first.

    >>> errors_in_words([" a", " raise"], np.array([0.0, 4.0]), np.array([0.0, 0.0]), [False, False])
    ('" raise": expected 0, was 4 (missed)',)
    """
    size = np.abs(truth - expected)
    order: list[int] = np.argsort(-size, kind="stable")[:ERRORS_PER_RECORD].tolist()
    told = ((tokens[i], float(truth[i]), float(expected[i]), claimed[i]) for i in order if size[i] >= LEAST_ERROR)
    return tuple(_in_words(*token) for token in told)


def _in_words(token: str, truth: float, expected: float, claimed: bool) -> str:
    quoted, kind = json.dumps(token, ensure_ascii=False), error_kind(truth, expected, claimed)
    return f"{quoted}: expected {round(expected, 1):g}, was {round(truth, 1):g} ({kind})"


def error_kind(truth: float, expected: float, claimed: bool) -> str:
    """Return the kind of error of a token: missed, a false alarm, too low or too high."""
    if truth > 0 and not claimed:
        return "missed"
    if truth <= 0 and claimed:
        return "false alarm"
    return "too low" if expected < truth else "too high"
