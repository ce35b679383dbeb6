"""What rules add, against a simulation of each rule that is made here."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import numpy as np
import pytest

from featureinterp.codec import decode, encode
from featureinterp.core import BEFORE_CLAIMS, Rule, ScoredSequence, StructuredExplanation
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.run import FeatureRunParams, explain_feature
from featureinterp.experiment.scores.contributions import ONLY_RULE, RuleContribution, rule_contributions
from featureinterp.protocols import SimulatorFactory
from featureinterp.record import ActivationRecord, ComplementaryRecordSource
from featureinterp.scoring import simulate_records
from featureinterp.scoring.simulation import PooledSequences
from featureinterp.simulator.lexical import LexicalSimulatorFactory
from featureinterp.simulator.rules import RuleSimulatorFactory

SILENT, RANDOM = ComplementaryRecordSource.SIMILAR_NEGATIVE, ComplementaryRecordSource.RANDOM
RULES = StructuredExplanation((Rule("cat", 5), Rule("dog", 2), Rule("hen", 1)))


class Words:
    """Expects 5 on the rule's own word, and notes what it was asked."""

    async def expected_levels(self, wanted):
        return [np.array([5.0 * (token == words) for token in tokens]) for words, tokens in wanted]


def record(words: str, truth: str, number: int, source: ComplementaryRecordSource | None = None) -> ActivationRecord:
    return ActivationRecord(tuple(words.split()), tuple(map(float, truth.split())), (), number, 4.0, source=source)


RECORDS = (
    record("cat sat", "4 0", 7),
    record("a dog", "0 2", 3),
    record("cat dog", "3 3", 5),
    record("the hen", "0 1", 6),
    record("dog cat", "0 4", 8),
    record("dog is", "0 0", 20, SILENT),
    record("it is", "0 0", 21, SILENT),
    record("cat is", "0 0", 30, RANDOM),
    record("a cow", "0 1", 31, RANDOM),
)


def contributions(
    rules: StructuredExplanation, factory: SimulatorFactory
) -> tuple[tuple[ScoredSequence, ...], tuple[RuleContribution, ...]]:
    async def both():
        whole = await simulate_records(factory(rules), RECORDS)
        return whole, await rule_contributions(rules, factory, whole, PooledSequences.of(whole))

    return asyncio.run(both())


def test_what_each_rule_adds_is_what_its_removal_takes_away():
    whole, (cat, dog, hen) = contributions(RULES, RuleSimulatorFactory(Words()))
    assert cat.claims == {7: (0,), 5: (0,), 8: (1,), 30: (0,)}
    assert dog.claims == {3: (1,), 5: (1,), 8: (0,), 20: (0,)}
    assert hen.claims == {6: (1,)}  # although its strength lets it expect no more than level 1
    # Window 5 has a token of each, and in window 8 ' dog' is claimed and silent: both stand without the dog rule.
    assert (cat.alone, dog.alone, hen.alone) == ((7, 8), (3,), (6,))
    for name, source in (("similar_negative", SILENT), ("random", RANDOM)):
        chosen = [r for r in RECORDS if r.source in (None, source)]
        truth = [value for r in chosen for value in r.expressions]
        levels = {"cat": 5.0, "dog": 2.0, "hen": 1.0}

        def correlation(known: dict[str, float], chosen=chosen, truth=truth) -> float:
            return float(np.corrcoef(truth, [known.get(t, 0.0) for r in chosen for t in r.tokens])[0, 1])

        for rule, found in zip(levels, (cat, dog, hen), strict=True):
            rest = {word: level for word, level in levels.items() if word != rule}
            assert found.without[name].value == pytest.approx(correlation(rest))
            assert found.lost[name].value == pytest.approx(correlation(levels) - correlation(rest))
    assert len(whole) == len(RECORDS)


def test_an_only_rule_explains_what_is_explained_and_has_no_score_without_it():
    _, (only,) = contributions(StructuredExplanation((Rule("cat", 5),)), RuleSimulatorFactory(Words()))
    assert only.alone == (5, 7, 8)
    assert {score.reason for score in (*only.without.values(), *only.lost.values())} == {ONLY_RULE}
    assert set(only.without) == {"similar_negative", "random"}


def test_a_rule_that_is_said_twice_adds_nothing():
    twice = StructuredExplanation((Rule("cat", 5), Rule("cat", 5)))
    _, both = contributions(twice, RuleSimulatorFactory(Words()))
    assert all(each.alone == () and each.lost["random"].value == 0 for each in both)


def test_a_simulator_that_remembers_rules_computes_nothing_for_it():
    factory = LexicalSimulatorFactory()
    rules = StructuredExplanation((Rule("the token 'cat'", 5), Rule("the token 'dog'", 3)))

    async def counted() -> tuple[int, int]:
        whole = await simulate_records(factory(rules), RECORDS)
        before = factory.memory.computed
        await rule_contributions(rules, factory, whole, PooledSequences.of(whole))
        return before, factory.memory.computed

    before, after = asyncio.run(counted())
    assert before == after > 0


def test_a_result_holds_one_for_each_rule_and_results_made_before_still_open(world):
    result = asyncio.run(explain_feature(world.make_record(1), world.key(1), world.method(), FeatureRunParams()))
    (only,) = result.contributions
    claimed = {
        r.dataset_index: r.tokens.index(" dog") for p in result.test_sequences if " dog" in (r := p.record).tokens
    }
    assert {window: positions[0] for window, positions in only.claims.items()} == claimed
    assert decode(encode(result), FeatureResult) == result
    older = encode(replace(result, contributions=(), profile=None))
    text = older.replace(b'"contributions":[],', b"").replace(b'"profile":null,', b"")
    assert text != older
    assert decode(text, FeatureResult) == replace(result, contributions=())


def test_results_made_before_claims_were_stored_open_and_say_so(world):
    result = asyncio.run(explain_feature(world.make_record(1), world.key(1), world.method(), FeatureRunParams()))
    scores = {
        source: replace(each, false_positives_expected_per_sentence=BEFORE_CLAIMS)
        for source, each in result.scores.items()
    }
    text, n = re.subn(
        rb',"(claimed|false_positives_expected_per_sentence)":(null|\[[^]]*\]|{[^}]*})', b"", encode(result)
    )
    assert n > len(result.test_sequences)
    older = decode(text, FeatureResult)
    assert older.scores == scores
    assert not any(each.by_claims for each in older.scores.values())
    for pair in older.test_sequences:
        assert pair.simulation.claims == tuple(level > 1 for level in pair.simulation.expected_activations)


def test_a_rule_of_strength_0_claims_nothing() -> None:
    rules = StructuredExplanation((Rule("cat", 5), Rule("dog", 0)))
    _, (cat, dog) = contributions(rules, RuleSimulatorFactory(Words()))
    assert cat.claims == {7: (0,), 5: (0,), 8: (1,), 30: (0,)}
    assert dog.claims == {}
