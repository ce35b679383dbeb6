"""Scores of hand-made simulations, what is undefined and why, and what does not fit."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from featureinterp.core import Rule, Score, ScoredSequence, Scores, SequenceSimulation, StructuredExplanation
from featureinterp.errors import ActivationError, InputError, SimulationError
from featureinterp.record import ActivationRecord, ComplementaryRecordSource
from featureinterp.scoring import (
    quick_score,
    score_by_source,
    score_sequences,
    score_simulations,
    simulate_and_score,
    simulate_records,
)
from featureinterp.simulator import LexicalSimulatorFactory

SIMILAR, RANDOM = ComplementaryRecordSource.SIMILAR, ComplementaryRecordSource.RANDOM
NAMES = [name for name in Scores.__dataclass_fields__ if not name.startswith("n_")]


class Scripted:
    """Answers each window from a table, and remembers what it was asked."""

    def __init__(self, answers: dict[tuple[str, ...], Sequence[float]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        self.asked += [tuple(tokens) for tokens in token_sequences]
        return [SequenceSimulation(tuple(t), tuple(self.answers[tuple(t)])) for t in token_sequences]


def noisy_sequences(seed: int = 0, n: int = 20, length: int = 8) -> list[ScoredSequence]:
    """Half positives, half SIMILAR, with a simulation that is right more often than not."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        source = None if i < n // 2 else SIMILAR
        truth = np.where(rng.random(length) < (0.05 if source else 0.3), 3 * rng.random(length), 0.0)
        expected = np.clip(truth * 5 / 3 * (rng.random(length) < 0.8) + rng.exponential(0.4, length), 0, 5)
        tokens = tuple(f"{i}.{j}" for j in range(length))
        record = ActivationRecord(tokens, tuple(truth.tolist()), (), i, 3.0, 0.0, source)
        made.append(ScoredSequence(record, SequenceSimulation(tokens, tuple(expected.tolist()))))
    return made


def test_hand_computed_scores(record, simulation):
    records = [record([0.0, 2.0], 0, maximum=10.0), record([0.0, 8.0], 1, SIMILAR, maximum=10.0)]
    # on the scale 0..5 the truth is 0 1 0 4
    scores = score_simulations(records, [simulation([0.0, 1.0]), simulation([2.0, 5.0])]).scores
    assert float(scores.correlation) == pytest.approx(11 / math.sqrt(10.75 * 14))
    assert float(scores.r_squared) == pytest.approx(1 - 5 / 10.75)
    assert float(scores.absolute_deviation_explained) == pytest.approx(1 - 3 / 5)
    assert float(scores.auroc) == 0.75
    assert (scores.precision.value, scores.recall.value, scores.f1.value) == (0.5, 0.5, 0.5)
    assert scores.false_positives_per_sentence.value == 1.0
    assert (scores.n_sentences, scores.n_complementary) == (2, 1)


def test_the_truth_is_not_rounded_to_levels(record, simulation):
    records = [record([0.0, 1.9, 3.9])]
    assert quick_score(records, [simulation([0.0, 1.9, 3.9])]) == 1.0
    assert quick_score(records, [simulation([0.0, 1.0, 3.0])]) < 1.0


def test_false_positives_count_what_a_rule_of_strength_1_claims():
    """A rule of strength 1 never expects more than level 1, so the original's count does not see it."""
    explanation = StructuredExplanation((Rule("the token 'raise'", 5), Rule("the token 'the'", 1)))
    records = [
        ActivationRecord(("the", "raise"), (0.0, 3.0), (), 0, 3.0, 0.0),
        ActivationRecord(("the", "the"), (0.0, 1.0), (), 1, 3.0, 0.0, SIMILAR),
        ActivationRecord(("raise", "it"), (0.0, 0.0), (), 2, 3.0, 0.0, SIMILAR),
    ]
    scored = asyncio.run(simulate_and_score(LexicalSimulatorFactory()(explanation), records))
    assert [pair.simulation.expected_activations for pair in scored.sequences] == [(1, 5), (1, 1), (5, 0)]
    assert [pair.simulation.claims for pair in scored.sequences] == [(True, True), (True, True), (True, False)]
    scores = scored.scores
    assert scores.by_claims
    assert scores.false_positives_per_sentence.value == 1.0
    assert scores.false_positives_expected_per_sentence.value == 0.5
    assert (scores.precision.value, scores.recall.value, scores.f1.value) == (2 / 5, 1.0, 4 / 7)


def test_without_claims_a_token_expected_above_level_1_is_claimed(record, simulation):
    records = [record([0.0, 2.0], 0), record([0.0, 0.0], 1, SIMILAR)]
    scores = score_simulations(records, [simulation([1.0, 1.5]), simulation([1.1, 1.0])]).scores
    assert scores.false_positives_per_sentence == scores.false_positives_expected_per_sentence
    assert (scores.false_positives_per_sentence.value, scores.precision.value) == (1.0, 0.5)


def test_scores_agree_with_scikit_learn_over_pooled_tokens():
    sequences = noisy_sequences()
    truth = np.concatenate([pair.record.scaled_activations() for pair in sequences])
    expected = np.concatenate([pair.simulation.expected_activations for pair in sequences])
    scores = score_sequences(sequences).scores
    assert float(scores.correlation) == pytest.approx(np.corrcoef(truth, expected)[0, 1])
    assert float(scores.r_squared) == pytest.approx(metrics.r2_score(truth, expected))
    assert float(scores.auroc) == pytest.approx(metrics.roc_auc_score(truth > 0, expected))
    assert float(scores.f1) == pytest.approx(metrics.f1_score(truth > 0, expected > 1))
    assert float(scores.iou) == pytest.approx(metrics.jaccard_score(truth > 0, expected > 1))
    assert float(scores.average_precision) == pytest.approx(metrics.average_precision_score(truth > 0, expected))
    wrong = sum(
        e > 1 and a == 0
        for pair in sequences
        if pair.record.source
        for e, a in zip(pair.simulation.expected_activations, pair.record.expressions, strict=True)
    )
    assert wrong > 0
    assert float(scores.false_positives_per_sentence) == pytest.approx(wrong / 10)


def test_every_score_has_an_interval_around_it():
    scores = score_sequences(noisy_sequences(n=40)).scores
    for name in NAMES:
        score = getattr(scores, name)
        assert score.ci_low < score.value < score.ci_high, name


def test_the_interval_of_a_mean_per_sentence_is_that_of_theory():
    sequences = noisy_sequences(n=200)
    counts = [
        sum(np.array(p.simulation.expected_activations)[np.array(p.record.expressions) == 0] > 1)
        for p in sequences
        if p.record.source
    ]
    score = score_sequences(sequences).scores.false_positives_per_sentence
    half = 1.96 * np.std(counts) / math.sqrt(len(counts))
    assert score.value == pytest.approx(np.mean(counts))
    assert score.ci_low == pytest.approx(np.mean(counts) - half, abs=0.04)
    another = max(counts) / len(counts)  # the upper end allows for another sentence like the worst
    assert np.mean(counts) + half < score.ci_high < np.mean(counts) + half + another + 0.04


def test_false_positives_that_were_not_seen_are_not_ruled_out():
    silent = [
        replace(pair, simulation=replace(pair.simulation, expected_activations=(0.0,) * 8))
        if pair.record.source
        else pair
        for pair in noisy_sequences()
    ]
    score = score_sequences(silent).scores.false_positives_per_sentence
    # none in ten sentences: exp(-10·rate) = 2.5%
    assert (score.value, score.ci_low, score.ci_high) == pytest.approx((0.0, 0.0, -math.log(0.025) / 10))


def test_the_order_changes_nothing():
    sequences = noisy_sequences()
    first = score_sequences(sequences).scores
    shuffled = random.Random(0).sample(sequences, len(sequences))
    assert score_sequences(shuffled).scores == first
    assert list(score_sequences(shuffled).sequences) == shuffled, "but what is handed back is in the order given"


@pytest.mark.parametrize("weights", [[1.0] * 19, [1.0] * 19 + [0.0], [1.0] * 19 + [math.inf], [1.0] * 19 + [math.nan]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(InputError, match="weights do not fit 20 sentences"):
        score_sequences(noisy_sequences(), weights=weights)


def test_no_interval_where_none_is_wanted_or_from_a_list_of_one(record, simulation):
    assert score_sequences(noisy_sequences(), intervals=False).scores.correlation.ci_low is None
    lonely = score_simulations([record([0.0, 1.0])], [simulation([0.0, 2.0])]).scores.correlation
    assert (lonely.value, lonely.ci_low, lonely.ci_high) == (1.0, None, None)


def test_undefined_scores_say_why(record, simulation):
    active, silent = record([0.0, 3.0]), record([0.0, 0.0])
    scores = score_simulations([active], [simulation([0.5, 0.5])]).scores
    assert str(scores.correlation) == "undefined: the expected activation is the same on every token"
    assert str(scores.precision) == "undefined: no token is claimed"
    assert (scores.recall.value, scores.f1.value, scores.auroc.value) == (0.0, 0.0, 0.5)
    assert str(scores.false_positives_per_sentence) == "undefined: there are no complementary records"
    assert math.isnan(score_simulations([active], [simulation([0.5, 0.5])]).get_preferred_score())

    scores = score_simulations([silent], [simulation([0.5, 0.6])]).scores
    for name in ("correlation", "r_squared", "absolute_deviation_explained", "auroc", "recall", "f1"):
        assert getattr(scores, name).reason.startswith("the feature is silent on all of these tokens"), name

    scores = score_simulations([record([2.0, 2.0])], [simulation([0.5, 2.6])]).scores
    assert scores.correlation.reason == scores.r_squared.reason == "the true activation is the same on every token"
    assert scores.auroc.reason == "the feature is active on all of these tokens"
    assert scores.f1.value == pytest.approx(2 / 3)


def test_simulate_and_score_asks_once_for_each_window_and_keeps_the_order(record):
    records = [
        record([1.0, 0.0], 0, tokens=("a", "b")),
        record([0.0, 0.0], 1, RANDOM, tokens=("c", "d")),
        record([0.0, 0.0], 1, SIMILAR, tokens=("c", "d")),
    ]
    simulator = Scripted({("a", "b"): (4.0, 0.0), ("c", "d"): (0.0, 3.0)})
    scored = asyncio.run(simulate_and_score(simulator, records))
    assert simulator.asked == [("a", "b"), ("c", "d")]
    assert [pair.record for pair in scored.sequences] == records
    assert scored.sequences[2].simulation.expected_activations == (0.0, 3.0)
    assert scored.get_preferred_score() == pytest.approx(np.corrcoef([1, 0, 0, 0, 0, 0], [4, 0, 0, 3, 0, 3])[0, 1])
    assert (scored.scores.n_sentences, scored.scores.n_complementary) == (3, 2)
    assert scored.scores.false_positives_per_sentence.value == 1.0


def test_each_source_is_scored_with_the_positives_alone():
    sequences = noisy_sequences()
    random_ones = [
        ScoredSequence(ActivationRecord(**{**vars(pair.record), "source": RANDOM}), pair.simulation)
        for pair in noisy_sequences(seed=5)
        if pair.record.source
    ]
    by_source = score_by_source(sequences + random_ones)
    assert list(by_source) == ["similar", "random"]
    positives = [pair for pair in sequences if pair.record.source is None]
    for source, alone in (("similar", sequences), ("random", positives + random_ones)):
        assert_same_scores(by_source[source], score_sequences(alone).scores)


def assert_same_scores(found, wanted):
    for name, score in vars(wanted).items():
        other = getattr(found, name)
        if isinstance(score, Score):
            bounds = [[each.value, each.ci_low, each.ci_high] for each in (other, score)]
            assert bounds[0] == pytest.approx(bounds[1], rel=1e-12, abs=1e-12), name
        else:
            assert other == score, name


def test_a_simulation_that_does_not_fit_names_its_record(record, simulation):
    fine = (record([0.0, 1.0], 3), simulation([0.0, 1.0]))
    for bad, words in (
        (simulation([0.0]), "sequence 71 has 1 expected activations for 2 tokens"),
        (SequenceSimulation(("t0",), (0.0, 1.0)), "sequence 71 has other tokens: 1 instead of 2"),
        (simulation([0.0, 1.0], ["t0", "x"]), "sequence 71 has other tokens: 'x' instead of 't1' at position 1"),
        (simulation([0.0, math.nan]), "sequence 71 expects nan"),
        (simulation([0.0, math.inf]), "sequence 71 expects inf"),
        (simulation([-0.1, 0.0]), "sequence 71 expects -0.1; expected a level from 0 to 5"),
        (simulation([0.0, 5.1]), "sequence 71 expects 5.1; expected a level from 0 to 5"),
    ):
        with pytest.raises(SimulationError, match=words):
            score_simulations([fine[0], record([0.0, 1.0], 71)], [fine[1], bad])
    with pytest.raises(SimulationError, match="1 simulations for 2 records"):
        quick_score([fine[0], fine[0]], [fine[1]])


def test_a_simulator_that_loses_a_window_is_found_out(record):
    class Forgetful:
        async def simulate(self, token_sequences):
            return []

    with pytest.raises(SimulationError, match="returned 0 simulations for 1 sequences"):
        asyncio.run(simulate_records(Forgetful(), [record([0.0, 1.0])]))


def test_rounding_of_single_precision_is_no_error(record, simulation):
    assert quick_score([record([0.0, 1.0])], [simulation([-1e-6, 5.000001])]) == pytest.approx(1.0)


def test_bad_truth_names_its_record(record, simulation):
    fine, simulated = record([0.0, 1.0], 3), [simulation([0.0, 1.0])] * 2
    for bad in ([0.0, math.nan], [math.inf, 0.0]):
        with pytest.raises(ActivationError, match="sequence 71 has an activation that is NaN or infinite"):
            quick_score([fine, record(bad, 71)], simulated)
    with pytest.raises(ActivationError, match="sequence 71"):
        quick_score([fine, record([0.0, 1.0], 71, maximum=math.nan)], simulated)
    with pytest.raises(InputError, match="sequence 71 is active, but its latent's maximum is 0"):
        quick_score([fine, record([0.0, 1.0], 71, maximum=0.0)], simulated)
    with pytest.raises(InputError, match="no records to score"):
        score_simulations([], [])
