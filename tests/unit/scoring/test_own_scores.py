from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from featureinterp.core import ScoredSequence, SequenceSimulation
from featureinterp.errors import InputError, SimulationError
from featureinterp.record import ComplementaryRecordSource
from featureinterp.scoring import score_sequences, score_with, standard_errors


def pearson(sequences) -> float:
    truth = np.concatenate([pair.record.scaled_activations() for pair in sequences])
    expected = np.concatenate([pair.simulation.expected_activations for pair in sequences])
    return float(np.corrcoef(truth, expected)[0, 1])


@pytest.fixture
def sequences(record, simulation) -> list[ScoredSequence]:
    """Six windows on which the feature fires, then six on which it does not."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(12):
        source = ComplementaryRecordSource.OTHER if index >= 6 else None
        truth = rng.uniform(0, 5, size=8) * (rng.random(8) < 0.4) * (source is None)
        expected = np.clip(truth + rng.normal(0, 1, size=8), 0, 5)
        made.append(ScoredSequence(record(truth.tolist(), index, source), simulation(expected.tolist())))
    return made


def test_the_interval_of_ones_own_score_is_the_jackknifes(sequences):
    own = score_with(pearson, sequences)
    without = [pearson(sequences[:i] + sequences[i + 1 :]) for i in range(12)]
    variance = 5 * np.var(without[:6]) + 5 * np.var(without[6:])
    reach = scipy.stats.t.ppf(0.975, 11) * math.sqrt(variance)
    assert own.value == pytest.approx(score_sequences(sequences).scores.correlation.value)
    assert (own.ci_low, own.ci_high) == pytest.approx((own.value - reach, own.value + reach))


def test_positives_and_complementary_windows_are_strata(sequences):
    share = score_with(lambda drawn: np.mean([pair.record.source is None for pair in drawn]), sequences)
    assert (share.value, share.ci_low, share.ci_high) == (0.5, 0.5, 0.5)


def test_what_is_not_defined_has_a_reason_and_no_number(sequences):
    for value in (math.nan, math.inf):
        score = score_with(lambda drawn, value=value: value, sequences)
        assert score.value is None
        assert score.reason


def test_there_is_no_interval_of_one_window_or_where_the_score_hangs_on_a_window(sequences):
    assert score_with(pearson, sequences[:1]).ci_low is None
    assert score_with(pearson, sequences, interval=False).ci_low is None
    whole = score_with(lambda drawn: 1.0 if len(drawn) == 12 else math.inf, sequences)
    assert (whole.value, whole.ci_low) == (1.0, None)


def test_simulations_that_do_not_fit_are_refused(sequences):
    with pytest.raises(InputError, match="no records"):
        score_with(pearson, [])
    wrong = ScoredSequence(sequences[0].record, SequenceSimulation(("x",), (0.0,)))
    with pytest.raises(SimulationError):
        score_with(pearson, [*sequences, wrong])


def test_standard_errors_leave_out_one_sentence_of_a_list_that_keeps_its_size(sequences):
    errors = standard_errors(sequences)
    counts = [sum(pair.simulation.claims) for pair in sequences[6:]]
    assert errors["false_positives_per_sentence"] == pytest.approx(np.std(counts, ddof=1) / math.sqrt(6))
    without = []
    for i in range(12):
        weights = [1.2 if (i < 6) == (k < 6) else 1.0 for k in range(12) if k != i]
        scored = score_sequences(sequences[:i] + sequences[i + 1 :], weights=weights, intervals=False)
        without.append(scored.scores.correlation.value)
    variance = 5 * np.var(without[:6]) + 5 * np.var(without[6:])
    assert errors["correlation"] == pytest.approx(math.sqrt(variance))
    assert standard_errors(sequences[:7]) == {}
