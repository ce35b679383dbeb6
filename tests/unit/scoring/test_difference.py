"""The paired difference of two explanations on the same windows, against leaving windows out one by one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from featureinterp.core import Score, ScoredSequence
from featureinterp.errors import InputError
from featureinterp.record import ComplementaryRecordSource as Source
from featureinterp.scoring import correlation_difference, differences_by_source, score_sequences
from featureinterp.scoring.simulation import score_by_source


@pytest.fixture
def both(record, simulation):
    """Twelve positives, and eight windows of each of two sources, simulated well and badly."""
    rng = np.random.default_rng(5)
    sides = ([], [])
    for number, source in enumerate([None] * 12 + [Source.RANDOM] * 8 + [Source.SIMILAR_NEGATIVE] * 8):
        truth = rng.uniform(0, 5, 6) * (rng.random(6) < (0.5 if source is None else 0.1))
        made = record(truth.tolist(), number, source)
        hard = rng.normal(0, 1.5, 6)  # what makes a window hard for both
        for side, noise in zip(sides, (0.3, 1.2), strict=True):
            expected = np.clip(truth + hard + rng.normal(0, noise, 6), 0, 5)
            side.append(ScoredSequence(made, simulation(expected.tolist())))
    return sides


def interval(score: Score) -> list[float]:
    assert score.ci_low is not None and score.ci_high is not None
    return [score.ci_low, score.ci_high]


def of(side, source):
    return [pair for pair in side if pair.record.source in (None, source)]


def test_it_is_the_difference_of_the_two_scores(both):
    ours, theirs = both
    found = differences_by_source(ours, theirs)
    scores = [score_by_source(side) for side in both]
    assert list(found) == ["random", "similar_negative"]
    for source, difference in found.items():
        assert difference.value == pytest.approx(
            float(scores[0][source].correlation) - float(scores[1][source].correlation)
        )
    other_way = differences_by_source(theirs, ours)
    for source, difference in found.items():
        assert other_way[source].value == pytest.approx(-difference.value)
        assert interval(other_way[source]) == pytest.approx([-bound for bound in reversed(interval(difference))])


def test_its_interval_leaves_each_window_out_of_both_together(both):
    ours, theirs = (of(side, Source.RANDOM) for side in both)
    found = correlation_difference(ours, theirs)

    def correlations(weights) -> list[float]:
        values = []
        for side in (ours, theirs):
            truth = np.concatenate([pair.record.scaled_activations() for pair in side])
            expected = np.concatenate([pair.simulation.expected_activations for pair in side])
            covariance = np.cov(truth, expected, aweights=np.repeat(weights, 6), ddof=0)
            values.append(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))
        return values

    a, b = correlations(np.ones(20))
    variance = 0.0
    for members in (range(12), range(12, 20)):
        without = []
        for left_out in members:
            weights = np.ones(20)
            weights[list(members)] = len(members) / (len(members) - 1)
            weights[left_out] = 0.0
            first, second = correlations(weights)
            without.append(first - second)
        variance += (len(members) - 1) * np.var(without)
    first, second = (np.concatenate([p.simulation.expected_activations for p in side]) for side in (ours, theirs))
    r = np.corrcoef(first, second)[0, 1]
    shared = r * (1 - a * a - b * b) - 0.5 * a * b * (1 - a * a - b * b - r * r)  # Steiger, 1980, equation 3
    spread = (1 - a * a) ** 2 + (1 - b * b) ** 2 - 2 * shared
    reach = scipy.stats.t.ppf(0.975, 19) * np.sqrt(variance + spread / (3 * 17))
    assert interval(found) == pytest.approx([a - b - reach, a - b + reach])
    widths = [np.ptp(interval(score_sequences(side).scores.correlation)) for side in (ours, theirs)]
    assert np.ptp(interval(found)) < 0.8 * np.hypot(*widths)  # narrower than if the two were independent


def test_the_order_of_the_windows_changes_nothing(both):
    ours, theirs = both
    shuffled = np.random.default_rng(0).permutation(len(ours))
    again = differences_by_source([ours[i] for i in shuffled], [theirs[i] for i in shuffled])
    whole = differences_by_source(ours, theirs)
    for source in whole:
        assert again[source].value == pytest.approx(whole[source].value)
        assert again[source].ci_low == pytest.approx(whole[source].ci_low)


def test_an_explanation_beside_itself(both):
    [same] = {str(score) for score in differences_by_source(both[0], both[0]).values()}
    assert same == "0.000 [0.000, 0.000]"


def test_what_has_no_difference_says_why(both, record, simulation):
    ours, _ = both
    flat = [ScoredSequence(pair.record, simulation([1.0] * 6)) for pair in ours]
    assert "undefined" in correlation_difference(ours, flat).reason
    assert correlation_difference(ours[:1], ours[:1]).ci_low is None  # a single window has no interval
    with pytest.raises(InputError, match="tested on different sentences"):
        differences_by_source(ours, ours[:-1])
    changed = [*ours[:-1], ScoredSequence(record([1.0] * 6, 99, Source.RANDOM), simulation([0.0] * 6))]
    with pytest.raises(InputError, match="tested on different sentences"):
        correlation_difference(ours, changed)
