from __future__ import annotations

import math

import numpy as np
import pytest

from featureinterp.core import ScoredSequence, SequenceSimulation
from featureinterp.errors import InputError, SimulationError
from featureinterp.record import ComplementaryRecordSource
from featureinterp.scoring import score_sequences, score_with


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


def test_the_correlation_as_ones_own_score_is_the_correlation_with_its_interval(sequences):
    """Windows in their canonical order are drawn alike, so the intervals agree too."""
    ordered = sorted(sequences, key=lambda pair: (pair.record.source is not None, pair.record.dataset_index))
    known = score_sequences(ordered, seed=3, n_bootstrap=300).scores.correlation
    own = score_with(pearson, ordered, seed=3, n_bootstrap=300)
    assert [own.value, own.ci_low, own.ci_high] == pytest.approx([known.value, known.ci_low, known.ci_high])
    assert own.ci_low != own.ci_high


def test_positives_and_complementary_windows_are_resampled_each_among_themselves(sequences):
    share = score_with(lambda drawn: np.mean([pair.record.source is None for pair in drawn]), sequences)
    assert (share.value, share.ci_low, share.ci_high) == (0.5, 0.5, 0.5)


def test_what_is_not_defined_has_a_reason_and_no_number(sequences):
    for value in (math.nan, math.inf):
        score = score_with(lambda drawn, value=value: value, sequences)
        assert score.value is None
        assert score.reason


def test_there_is_no_interval_of_one_window_or_of_resamples_that_are_undefined(sequences):
    assert score_with(pearson, sequences[:1]).ci_low is None
    assert score_with(pearson, sequences, n_bootstrap=0).ci_low is None
    rare = score_with(lambda drawn: 1.0 if len({id(pair) for pair in drawn}) == len(drawn) else math.inf, sequences)
    assert (rare.value, rare.ci_low) == (1.0, None)


def test_simulations_that_do_not_fit_are_refused(sequences):
    with pytest.raises(InputError, match="no records"):
        score_with(pearson, [])
    wrong = ScoredSequence(sequences[0].record, SequenceSimulation(("x",), (0.0,)))
    with pytest.raises(SimulationError):
        score_with(pearson, [*sequences, wrong])
