"""What holds for all records, simulations and splits."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from featureinterp import stats
from featureinterp.core import Score, ScoredSequence, Scores, SequenceSimulation
from featureinterp.formatting import discretise
from featureinterp.record import ActivationRecord, ComplementaryRecordSource, Split, split_records
from featureinterp.scoring import quick_score, score_sequences, scores_without_each, worst_records

NAMES = [name for name in Scores.__dataclass_fields__ if not name.startswith("n_")]
FALSE_POSITIVES = {"false_positives_per_sentence", "false_positives_expected_per_sentence"}
NEVER_NEGATIVE = {"auroc", "average_precision", "iou", "precision", "recall", "f1", *FALSE_POSITIVES}
LEVELS = st.integers(0, 50).map(lambda tenths: tenths / 10)
ACTIVATIONS = st.one_of(st.just(0.0), LEVELS)
FEW = settings(max_examples=40, deadline=None)


@st.composite
def scored_sequences(draw) -> list[ScoredSequence]:
    sources = draw(st.lists(st.sampled_from([None, ComplementaryRecordSource.SIMILAR]), min_size=1, max_size=8))
    made = []
    for index, source in enumerate(sources):
        pairs = draw(st.lists(st.tuples(ACTIVATIONS, LEVELS), min_size=1, max_size=6))
        truth, expected = zip(*pairs, strict=True)
        tokens = tuple(map(str, range(len(pairs))))
        record = ActivationRecord(tokens, truth, (), index, 5.0, 0.0, source)
        made.append(ScoredSequence(record, SequenceSimulation(tokens, expected)))
    return made


def scaled(sequence: ScoredSequence, factor: float) -> ScoredSequence:
    record = sequence.record
    activations = tuple(factor * value for value in record.expressions)
    return replace(sequence, record=replace(record, expressions=activations, max_expression=5.0 * factor))


def close(a: float | None, b: float | None) -> bool:
    return a is b is None or (a is not None and b is not None and math.isclose(a, b, abs_tol=1e-9))


@FEW
@given(scored_sequences())
def test_scores_lie_within_their_bounds_or_have_a_reason(sequences):
    scores = score_sequences(sequences).scores
    for name in NAMES:
        score: Score = getattr(scores, name)
        assert (score.value is None) == bool(score.reason), name
        assert (score.ci_low is None) == (score.ci_high is None), name
        for number in (score.value, score.ci_low, score.ci_high):
            if number is not None:
                assert math.isfinite(number), name
                assert number >= (0 if name in NEVER_NEGATIVE else -1 if name == "correlation" else -math.inf), name
                assert number <= (math.inf if name in FALSE_POSITIVES else 1), name
        if score.ci_low is not None and score.ci_high is not None:
            assert score.value is not None, f"{name} has an interval but no value"
            assert score.ci_low <= score.ci_high, name


@FEW
@given(scored_sequences(), st.data())
def test_a_weight_is_so_many_times_the_same_window(sequences, data):
    weights = data.draw(st.lists(st.integers(1, 4), min_size=len(sequences), max_size=len(sequences)))
    repeated = [each for each, weight in zip(sequences, weights, strict=True) for _ in range(weight)]
    weighted = score_sequences(sequences, weights=weights, intervals=False).scores
    whole = score_sequences(repeated, intervals=False).scores
    for name in NAMES:
        assert close(getattr(weighted, name).value, getattr(whole, name).value), name


@FEW
@given(st.lists(st.tuples(ACTIVATIONS, LEVELS, st.integers(0, 3)), min_size=1, max_size=30))
def test_a_weight_is_so_many_times_the_same_token(tokens):
    truth, expected, weights = map(np.array, zip(*tokens, strict=True))
    assume(weights.any())
    t, e = np.repeat(truth, weights), np.repeat(expected, weights)
    sums = stats.token_sums(truth, expected, claimed=expected > 1, weights=weights)
    whole = stats.token_sums(t, e, claimed=e > 1)
    for formula in (stats.correlation, stats.r_squared, stats.precision, stats.recall, stats.f1, stats.iou):
        assert formula(sums).item() == pytest.approx(formula(whole).item(), abs=1e-9, nan_ok=True)
    ranked, of_whole = stats.ranked_tokens(truth > 0, expected, weights=weights), stats.ranked_tokens(t > 0, e)
    for formula in (stats.auroc, stats.average_precision):
        assert float(formula(ranked)) == pytest.approx(float(formula(of_whole)), abs=1e-9, nan_ok=True)


@FEW
@given(scored_sequences(), st.sampled_from([0.25, 3.0, 1e-3, 1e4]))
def test_scaling_all_activations_changes_nothing(sequences, factor):
    before = score_sequences(sequences).scores
    after = score_sequences([scaled(each, factor) for each in sequences]).scores
    for name in NAMES:
        one, other = getattr(before, name), getattr(after, name)
        assert close(one.value, other.value), name
        assert one.reason == other.reason, name
        assert close(one.ci_low, other.ci_low), name
        assert close(one.ci_high, other.ci_high), name


@FEW
@given(scored_sequences(), st.integers(0, 99))
def test_the_order_of_records_changes_nothing(sequences, seed):
    shuffled = random.Random(seed).sample(sequences, len(sequences))
    assert score_sequences(shuffled).scores == score_sequences(sequences).scores


@FEW
@given(scored_sequences())
def test_a_perfect_simulation_scores_one(sequences):
    perfect = [
        replace(each, simulation=SequenceSimulation(each.record.tokens, each.record.expressions)) for each in sequences
    ]
    scores = score_sequences(perfect, intervals=False).scores
    for name in ("correlation", "r_squared", "absolute_deviation_explained", "auroc", "precision"):
        score = getattr(scores, name)
        assert score.value is None or score.value == pytest.approx(1.0), name
    assert scores.false_positives_per_sentence.value in (None, 0.0)


@FEW
@given(scored_sequences())
def test_leaving_a_record_out_is_scoring_without_it(sequences):
    truth = [each.record.scaled_activations() for each in sequences]
    expected = [each.simulation.expected_activations for each in sequences]
    without = scores_without_each(truth, expected)
    for i in range(len(sequences)):
        rest = sequences[:i] + sequences[i + 1 :]
        alone = quick_score([s.record for s in rest], [s.simulation for s in rest]) if rest else math.nan
        assert without[i] == pytest.approx(alone, abs=1e-9, nan_ok=True)
    records, simulations = [s.record for s in sequences], [s.simulation for s in sequences]
    score = quick_score(records, simulations)
    worst = worst_records(records, simulations, 3)
    assert all(math.isnan(score) or record.score_without > score for record in worst)


@FEW
@given(st.lists(st.tuples(st.booleans(), LEVELS), min_size=2, max_size=40))
def test_auroc_is_scikit_learns_whatever_the_ties(tokens):
    active, expected = map(np.array, zip(*tokens, strict=True))
    assume(active.any() and not active.all())
    assert float(stats.auroc(stats.ranked_tokens(active, expected))) == pytest.approx(
        metrics.roc_auc_score(active, expected)
    )


@FEW
@given(st.integers(0, 40), st.integers(0, 13))
def test_splits_are_disjoint_and_equally_long(n, per_split):
    assume(per_split <= n // 3)
    records = [ActivationRecord((), (), (), i) for i in range(n)]
    for wanted in (None, per_split):
        splits = [split_records(records, split, wanted) for split in Split]
        assert {len(split) for split in splits} == {n // 3 if wanted is None else wanted}
        together = [record.dataset_index for split in splits for record in split]
        assert len(set(together)) == len(together)


@FEW
@given(st.lists(st.floats(-10, 1e6), min_size=1, max_size=30), st.floats(1e-6, 1e6))
def test_levels_are_monotone_whole_numbers_from_0_to_5(values, maximum):
    ordered = sorted(values)
    levels = discretise(ordered, maximum).tolist()
    assert levels == sorted(levels)
    assert set(levels) <= set(range(6))
    assert discretise([maximum], maximum).tolist() == [5]
    assert discretise([math.nextafter(maximum, 0) * 0.999], maximum).tolist() == [4]


@FEW
@given(st.lists(st.floats(-30, 30), min_size=6, max_size=6), st.floats(-1000, 1000))
def test_expected_level_is_within_0_to_5_and_ignores_a_shift(logits, shift):
    expected = float(stats.expectation_over_levels(logits))
    assert 0 <= expected <= 5
    assert float(stats.expectation_over_levels(np.array(logits) + shift)) == pytest.approx(expected, abs=1e-9)
