from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from featureinterp.complexity.lexical import lexical_complexity
from featureinterp.core import Attempt, ExplainerResult, Proposal, StructuredExplanation
from featureinterp.errors import ActivationError, InputError, SimulationError
from featureinterp.experiment.explain import RunSpec
from featureinterp.experiment.run import (
    FeatureRunParams,
    explain_feature,
    shuffled_floor,
)
from featureinterp.record import MEASURED_SOURCES, ComplementaryRecordSource, one_per_window
from tests.unit.experiment.conftest import WordSimulator


class SeveralWords:
    """An explainer whose attempts name these words; it chooses the first."""

    words = (" dog", " the", None, " nowhere")

    async def generate_explanations(self, train_records, valid_records, num_samples=1):
        made = [None if word is None else StructuredExplanation.from_text(word) for word in self.words]
        trace = [Attempt(i, None, 0, Proposal(each, failure="" if each else "no")) for i, each in enumerate(made)]
        return ExplainerResult.of(trace, trace[:1])


class Broken:
    """A simulator that cannot."""

    async def simulate(self, token_sequences):
        raise SimulationError("it is broken")


def explain(world, record, params=None, explainer=None):
    return asyncio.run(explain_feature(record, world.key(1), world.method(explainer), params or FeatureRunParams()))


def test_the_explanation_is_scored_on_every_source_and_beside_the_token_lookup(world):
    result = explain(world, world.make_record(1))
    assert result.status == "explained"
    assert result.explanation == StructuredExplanation.from_text(" dog")
    assert set(result.scores) == set(result.floors["token_lookup"]) == {source.value for source in MEASURED_SOURCES}
    for source, scores in result.scores.items():
        pairs = [p for p in result.test_sequences if p.record.source is None or p.record.source.value == source]
        truth = np.concatenate([5 * np.array(p.record.expressions) / 2.0 for p in pairs])
        expected = np.concatenate([[5.0 * (token == " dog") for token in p.record.tokens] for p in pairs])
        assert scores.correlation.value == pytest.approx(np.corrcoef(truth, expected)[0, 1])
        assert (scores.n_sentences, scores.n_complementary) == (5, 2)
    assert [r.dataset_index for r in result.train_positives] == [0, 3, 6]
    assert result.chosen == 0
    assert result.max_activation == 2.0


def test_the_token_lookup_floor_is_made_from_the_train_records(world):
    record = world.make_record(1)
    result = explain(world, record)
    splits = record.splits(FeatureRunParams())
    levels: dict[str, list[int]] = {}
    for each in splits.train:
        for token, value in zip(each.tokens, each.expressions, strict=True):
            levels.setdefault(token, []).append(min(5, math.floor(5 * value / 2.0)))
    test = [r for r in splits.test if r.source in (None, ComplementaryRecordSource.SIMILAR)]
    truth = [5 * value / 2.0 for r in test for value in r.expressions]
    expected = [float(np.mean(levels.get(token, [0]))) for r in test for token in r.tokens]
    floor = result.floors["token_lookup"]["similar"]
    assert floor.value == pytest.approx(np.corrcoef(truth, expected)[0, 1])


def test_the_explainer_sees_train_and_valid_windows_only_once_each_and_no_test_window(world, most_active_word):
    record = world.make_record(1, repeated=True)
    explain(world, record, explainer=most_active_word)
    (train, valid) = most_active_word.seen[0]
    test = {r.dataset_index for r in record.splits(FeatureRunParams()).test}
    shown = [r.dataset_index for r in (*train, *valid)]
    assert len(shown) == len(set(shown))
    assert not test.intersection(shown)
    assert {r.source for r in train} == {None, *MEASURED_SOURCES} - {ComplementaryRecordSource.SIMILAR_NEGATIVE}


def test_train_can_hold_positives_only_while_test_holds_every_source(world):
    splits = world.make_record(1).splits(FeatureRunParams(train_sources=()))
    assert {r.source for r in splits.train} == {None}
    assert {r.source for r in splits.valid} == {r.source for r in splits.test} == {None, *MEASURED_SOURCES}


def test_each_split_takes_the_sources_it_was_told_to_in_their_order(world):
    similar, random = ComplementaryRecordSource.SIMILAR_NEGATIVE, ComplementaryRecordSource.RANDOM
    splits = world.make_record(1).splits(FeatureRunParams(train_sources=(random,), valid_sources=(similar,)))
    assert [list(dict.fromkeys(r.source for r in part)) for part in (splits.train, splits.valid)] == [
        [None, random],
        [None, similar],
    ]
    assert {r.source for r in splits.test} == {None, *MEASURED_SOURCES}


def test_the_configuration_tells_sources_by_their_names():
    spec = RunSpec(records=FeatureRunParams(10, 5, (), (ComplementaryRecordSource.SIMILAR_NEGATIVE,), True))
    assert json.loads(json.dumps(spec.configuration({})))["records"] == {
        "positives_per_split": 10,
        "negatives_per_split": 5,
        "train_sources": [],
        "valid_sources": ["similar_negative"],
        "judge_attempts": True,
    }
    assert FeatureRunParams(test_sources=(MEASURED_SOURCES[0],)).configuration()["test_sources"] == ["random"]


def test_every_attempt_can_be_judged_on_each_test_window_once_when_the_search_is_over(world):
    record, params = world.make_record(1, repeated=True), FeatureRunParams(judge_attempts=True)
    search = SeveralWords()
    result = explain(world, record, params, search)
    plain = explain(world, record, explainer=SeveralWords())
    windows = {r.dataset_index: r for r in record.splits(params).test}
    assert len(windows) < len(record.splits(params).test)
    truth = np.concatenate([r.expressions for r in windows.values()])
    for attempt, word in zip(result.attempts, search.words, strict=True):
        if word is None:
            assert (attempt.test_score, attempt.complexity) == (None, None)
            continue
        expected = [float(token == word) for r in windows.values() for token in r.tokens]
        wanted = np.corrcoef(truth, expected)[0, 1] if any(expected) else None
        assert attempt.test_score == (wanted if wanted is None else pytest.approx(wanted))
        assert attempt.complexity == lexical_complexity(word)
    unjudged = [replace(attempt, test_score=None, complexity=None) for attempt in result.attempts]
    assert tuple(unjudged) == plain.attempts
    assert replace(result, attempts=(), seconds=0.0) == replace(plain, attempts=(), seconds=0.0)


def test_an_attempt_that_cannot_be_simulated_on_test_has_no_test_score(world):
    record, params = world.make_record(1), FeatureRunParams(judge_attempts=True)

    def factory(explanation):
        return Broken() if explanation == StructuredExplanation.from_text(" the") else WordSimulator(explanation)

    method = replace(world.method(SeveralWords()), simulator_factory=factory)
    result = asyncio.run(explain_feature(record, world.key(1), method, params))
    assert [attempt.test_score is None for attempt in result.attempts] == [False, True, True, True]
    assert result.attempts[1].complexity is not None


def test_limits_cut_each_list_and_a_short_list_gives_what_it_has(world):
    splits = world.make_record(1, n_positive=12).splits(FeatureRunParams(2, 1))
    assert sum(r.source is None for r in splits.test) == 2
    assert all(sum(r.source is source for r in splits.test) == 1 for source in MEASURED_SOURCES)
    short = world.make_record(1, n_positive=5, n_negative=2).splits(FeatureRunParams())
    assert [len(records) for records in (short.train, short.valid, short.test)] == [1, 1, 1]


def test_a_window_in_two_splits_is_refused(world):
    record = world.make_record(1)
    leaking = replace(record.most_act_records[1], dataset_index=record.most_act_records[0].dataset_index)
    record = replace(record, most_act_records=(record.most_act_records[0], leaking, *record.most_act_records[2:]))
    with pytest.raises(InputError, match="sequence 0 is in both the train and the valid split"):
        explain(world, record)


def test_an_explainer_without_an_explanation_gives_a_failed_result_with_the_counted_reasons(world, no_idea):
    result = explain(world, world.make_record(1), explainer=no_idea)
    assert (result.status, result.explanation, result.scores) == ("failed", None, {})
    assert result.reason == "none of 3 attempts could be scored: 2x it was not JSON; 1x the request was refused"
    assert len(result.attempts) == 3


def test_an_explanation_that_valid_could_not_choose_is_kept_and_told(world, most_active_word):
    class Unscored:
        async def generate_explanations(self, train_records, valid_records, num_samples=1):
            found = await most_active_word.generate_explanations(train_records, valid_records)
            return replace(found, trace=(replace(found.trace[0], valid_score=None, unscored="valid is silent"),))

    result = explain(world, world.make_record(1), explainer=Unscored())
    assert result.status == "explained"
    assert result.reason == "not chosen by valid, where its score is undefined: valid is silent"
    assert explain(world, world.make_record(1)).reason == ""


def test_fewer_positives_than_splits_is_rare(world):
    result = explain(world, world.make_record(1, n_positive=2))
    assert (result.status, result.reason) == ("rare", "fires on 2 usable windows, at least 3 are needed")


def test_an_infinite_activation_is_an_error(world):
    record = world.make_record(1)
    broken = replace(record.most_act_records[2], expressions=(math.inf,) * 8)
    record = replace(record, most_act_records=(*record.most_act_records[:2], broken, *record.most_act_records[3:]))
    with pytest.raises(ActivationError, match="NaN or infinite"):
        explain(world, record)


def test_equal_records_give_equal_results(world):
    record = world.make_record(1)
    first, again = (replace(explain(world, record), seconds=0.0) for _ in range(2))
    assert first == again
    assert first.scores["random"].correlation.ci_low is not None


def test_the_shuffled_floor_is_the_score_of_the_other_explanation_on_the_same_windows(world):
    result = explain(world, world.make_record(1))
    other = StructuredExplanation.from_text(" the")
    floored = asyncio.run(shuffled_floor(result, other, world.method()))
    pairs = [p for p in result.test_sequences if p.record.source in (None, ComplementaryRecordSource.RANDOM)]
    truth = [value for p in pairs for value in p.record.expressions]
    expected = [float(token == " the") for p in pairs for token in p.record.tokens]
    assert floored.floors["shuffled"]["random"].value == pytest.approx(np.corrcoef(truth, expected)[0, 1])
    assert floored.floors["token_lookup"] == result.floors["token_lookup"]
    alone = asyncio.run(shuffled_floor(result, None, world.method()))
    assert alone.floors["shuffled"]["random"].reason == "no other feature of this hook has an explanation"


def test_one_per_window_keeps_the_first(world):
    record = world.make_record(1, repeated=True)
    both = (*record.random_no_act_records, *record.similar_no_act_records)
    assert one_per_window(both) == record.random_no_act_records
