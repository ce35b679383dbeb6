"""Feedback: leaving a record out against computing without it, and the errors in words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from featureinterp.scoring import feedback, quick_score, scores_without_each, worst_records


def test_scores_without_each_equal_scores_computed_without_it():
    rng = np.random.default_rng(0)
    lengths = [5, 8, 1, 12, 3]
    truth = [np.where(rng.random(n) < 0.4, 5 * rng.random(n), 0.0) for n in lengths]
    expected = [np.clip(t + rng.normal(0, 1, len(t)), 0, 5) for t in truth]
    found = scores_without_each(truth, expected)
    for i in range(5):
        t, e = (np.concatenate([each for j, each in enumerate(lists) if j != i]) for lists in (truth, expected))
        assert found[i] == pytest.approx(np.corrcoef(t, e)[0, 1], abs=1e-12)


def test_scores_without_each_is_undefined_where_the_rest_is_constant():
    found = scores_without_each([[0.0, 0.0], [0.0, 3.0], [0.0, 0.0]], [[0.0, 0.1], [0.0, 3.0], [0.0, 0.0]])
    assert math.isnan(found[1])
    assert found[0] == pytest.approx(1.0)
    assert np.isnan(scores_without_each([[0.0, 1.0]], [[0.0, 1.0]])).all()


def test_worst_records_are_those_whose_removal_raises_the_score_most(record, simulation):
    records = [record([0.0, 4.0, 0.0], i) for i in range(5)]
    simulations = [simulation(e) for e in ([0, 4, 0], [0, 0, 0], [0, 3, 0], [5, 4, 0], [0, 4, 0])]
    told = feedback(records, simulations, 3)
    assert told.train_score == quick_score(records, simulations)
    for worst in told.worst_records:
        i = worst.record.dataset_index
        rest = [j for j in range(5) if j != i]
        without = quick_score([records[j] for j in rest], [simulations[j] for j in rest])
        assert worst.score_without == pytest.approx(without)
        assert worst.score_without > told.train_score
        assert worst.expected_activations == tuple(simulations[i].expected_activations)
        assert worst.claimed == simulations[i].claims
    assert [worst.record.dataset_index for worst in told.worst_records] == [3, 1], "the others help the score"
    assert [worst.score_without for worst in told.worst_records] == sorted(
        (worst.score_without for worst in told.worst_records), reverse=True
    )
    assert worst_records(records, simulations, 1) == told.worst_records[:1]
    assert worst_records(records, simulations, 0) == ()


def test_a_perfect_simulation_has_no_worst_record(record, simulation):
    records = [record([0.0, 4.0], i) for i in range(3)]
    assert worst_records(records, [simulation([0.0, 4.0])] * 3, 3) == ()


def test_where_nothing_was_expected_the_worst_are_the_largest_errors(record, simulation):
    records = [record([0.0, 2.0], 0), record([0.0, 0.0], 1), record([0.0, 4.0], 2)]
    told = feedback(records, [simulation([0.0, 0.0])] * 3, 3)
    assert math.isnan(told.train_score)
    assert [worst.record.dataset_index for worst in told.worst_records] == [2, 0]
    assert told.worst_records[0].errors == ('"t1": expected 0, was 4 (missed)',)


def test_errors_in_words_name_the_kind_and_quote_the_token(record, simulation):
    tokens = (" raise", "\n", '"', "ok", "low", "fine", "high")
    truth = record([4.0, 0.0, 0.0, 3.0, 4.26, 2.0, 1.0], tokens=tokens)
    good = record([0.0, 5.0], 1, tokens=("a", "b"))
    expected = simulation([0.0, 3.5, 2.0, 3.0, 1.5, 2.4, 2.0], tokens)
    (worst,) = worst_records([truth, good], [expected, simulation([0.0, 5.0], ("a", "b"))], 5)
    assert worst.errors == (
        '" raise": expected 0, was 4 (missed)',
        '"\\n": expected 3.5, was 0 (false alarm)',
        '"low": expected 1.5, was 4.3 (too low)',
        '"\\"": expected 2, was 0 (false alarm)',
        '"high": expected 2, was 1 (too high)',
    )
