"""The lexical proposer finds rules that are there, prices their words, and improves what it revises."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from featureinterp.core import Attempt, Feedback, Proposal, Rule, StructuredExplanation
from featureinterp.errors import InputError
from featureinterp.explainer.lexical.evidence import Evidence
from featureinterp.explainer.lexical.mining import MinedRule, Miner, MiningParams
from featureinterp.explainer.lexical.proposer import LexicalProposer, LexicalProposerParams
from featureinterp.explainer.params import OneShotExplainerParams
from featureinterp.phrases import MAX_QUOTED, parse, parse_sentence
from featureinterp.record import ActivationRecord
from featureinterp.simulator import LexicalSimulatorFactory
from tests.matching import match_tokens, never


def squared_error(explanation, records):
    simulations = asyncio.run(LexicalSimulatorFactory()(explanation).simulate([record.tokens for record in records]))
    return sum(
        ((record.scaled_activations() - np.array(simulation.expected_activations)) ** 2).sum()
        for record, simulation in zip(records, simulations, strict=True)
    )


def propose(records, n=1, **params):
    return asyncio.run(LexicalProposer(LexicalProposerParams(**params)).propose(records, n))


def revise(records, explanation, n=2):
    attempt = Attempt(0, None, 0, Proposal(explanation))
    return asyncio.run(LexicalProposer().revise(records, attempt, Feedback(0.5, ()), n))


def test_evidence_agrees_with_matching_one_window_at_a_time(train):
    ragged = [*train[:3], ActivationRecord((" the", " error"), (0.0, 1.0), (), 999, 4.0)]
    evidence = Evidence(ragged, never)
    for words in ("the token ' error' right after ' the'", "numbers", "any token with ' of', '.' before"):
        degrees = evidence.phrase_degrees(parse(words))
        for row, record in enumerate(ragged):
            wanted = match_tokens(parse(words), record.tokens)
            assert degrees[row, : len(record.tokens)].tolist() == wanted.tolist()
            assert not degrees[row, len(record.tokens) :][evidence.ids[row, len(record.tokens) :] >= 0].any()


def test_padding_is_never_expected_to_act():
    short = ActivationRecord((" a",), (1.0,), (), 0, 1.0)
    long = ActivationRecord((" a", " b", " c"), (1.0, 0.0, 0.0), (), 1, 1.0)
    evidence = Evidence([short, long], never)
    assert evidence.phrase_degrees(parse("any token")).tolist() == [[1, 0, 0], [1, 1, 1]]


def test_the_first_rules_leave_the_least_cost(train):
    miner = Miner(Evidence(train, never))
    costs = [miner.cost([rule]) for rule in miner.rules([])]
    assert costs[0] < miner.cost([])
    assert costs == pytest.approx(sorted(costs))


def test_the_best_group_of_tokens_is_the_best_by_brute_force(train):
    miner = Miner(Evidence(train, never), MiningParams(leave_out=0.0, string_cost=1.5, prior_count=0.25))
    levels = miner.evidence.levels
    best = {}
    for strength in range(1, 6):
        saved = {}
        for token in miner.evidence.strings:
            here = np.array([[t == token for t in record.tokens] for record in train])
            saved[token] = ((levels**2 - (levels - strength) ** 2) * here).sum() - 1.5 - 0.25 * strength**2
        chosen = sorted((t for t in saved if saved[t] > 0), key=lambda t: -saved[t])[:MAX_QUOTED]
        best[strength] = (sum(saved[t] for t in chosen), set(chosen))
    strength = max(best, key=lambda s: best[s][0])
    [rule] = [r for r in miner.rules([], contexts=False) if r.phrase.target.kind == "tokens"]
    assert (rule.strength, set(rule.phrase.target.strings)) == (strength, best[strength][1])


def test_a_share_of_the_error_is_measured_without_chance_words():
    once = ActivationRecord((" a", " b", " c"), (1.0, 0.0, 1.0), (), 0, 1.0)
    twice = [ActivationRecord((" a", " b", " d"), (1.0, 0.0, 0.0), (), i, 1.0) for i in (1, 2)]
    free = MiningParams(leave_out=0.4, prior_count=0.0, string_cost=0.0, rule_cost=0.0)
    miner = Miner(Evidence([once, *twice], never), free)
    explained_by_chance = [MinedRule(parse("the tokens ' a', ' c'"), 5)]
    assert miner.cost(explained_by_chance) == pytest.approx(0.4 * 25)
    assert miner.cost([MinedRule(parse("the token ' a'"), 5), MinedRule(parse("any token right after ' b'"), 0)]) == 25


def test_it_finds_the_feature_that_is_there(train):
    [proposal] = propose(train)
    rules = {(rule.activates_on, rule.strength) for rule in proposal.explanation.rules}
    assert ("the token ' error' right after ' raise'", 5) in rules


def test_revision_lowers_the_error_it_is_shown(train):
    poor = StructuredExplanation((Rule("the token ' error'", 3), Rule("the token ' value'", 1)))
    for proposal in revise(train, poor):
        assert squared_error(proposal.explanation, train) < squared_error(poor, train)
        assert "saving" in proposal.improvement


def test_rules_are_short_and_few(train):
    noisy = [replace(r, expressions=tuple(1.0 * (len(t) % 4) for t in r.tokens)) for r in train]
    for cap in (1, 3):
        for proposal in propose(noisy, 6, rule_cap=cap):
            assert proposal.explanation is not None
            assert len(proposal.explanation.rules) <= cap
            assert all(parse(rule.activates_on).n_quoted <= MAX_QUOTED for rule in proposal.explanation.rules)


def test_same_records_same_proposals(train):
    assert propose(train, 3) == propose(train, 3)


def test_what_cannot_be_explained_is_a_failure_with_a_reason(train):
    silent = [record for record in train if not record.is_active]
    assert all("silent" in proposal.failure for proposal in propose(silent, 2))
    [first, second] = revise(train, StructuredExplanation.from_text("errors, loosely speaking"))
    assert first.explanation is None and "not a lexical explanation" in first.failure
    assert second.explanation is None


def caused(records, cause):
    """The same records; only the token `cause` raises what comes after it."""
    return [
        replace(
            record,
            holistic_expressions=tuple(1.0 * (token == cause) for token in record.tokens),
            max_holistic_expression=1.0,
        )
        for record in records
    ]


def test_a_sentence_joins_phrases_of_one_strength_that_the_simulator_reads_back(train):
    noisy = [replace(r, expressions=tuple(1.0 * (len(t) % 4) for t in r.tokens)) for r in train]
    for proposal in propose(noisy, 6, structured=False, rule_cap=3):
        [rule] = proposal.explanation.rules
        phrases = parse_sentence(rule.activates_on)
        assert rule.strength == 5
        assert 1 <= len(phrases) <= 3
        [simulation] = asyncio.run(LexicalSimulatorFactory()(proposal.explanation).simulate([noisy[0].tokens]))
        wanted = np.max([match_tokens(phrase, noisy[0].tokens) for phrase in phrases], axis=0)
        assert simulation.expected_activations == tuple(5 * wanted)


def test_a_sentence_says_what_rules_would(train):
    twofold = [
        replace(
            r, expressions=tuple(4.0 * (t == "." or e == 4.0) for t, e in zip(r.tokens, r.expressions, strict=True))
        )
        for r in train
    ]
    [proposal] = propose(twofold, structured=False)
    said = set(proposal.explanation.rules[0].activates_on.split("; or "))
    assert said == {"punctuation", "the token ' error' right after ' raise'"}


def test_a_sentence_is_revised_at_the_common_strength_that_fits_best(train):
    proposer = LexicalProposer(LexicalProposerParams(structured=False))
    poor = StructuredExplanation.from_text("the token ' error'; or numbers")
    attempt = Attempt(0, None, 0, Proposal(poor))
    miner = Miner(Evidence(train, never))

    def least_cost(explanation):
        phrases = parse_sentence(explanation.rules[0].activates_on)
        return min(miner.cost([MinedRule(phrase, strength) for phrase in phrases]) for strength in range(1, 6))

    revisions = asyncio.run(proposer.revise(train, attempt, Feedback(0.5, ()), 2))
    for revision in revisions:
        assert len(revision.explanation.rules) == 1
        assert least_cost(revision.explanation) < least_cost(poor)
    [refused] = asyncio.run(
        proposer.revise(
            train, replace(attempt, proposal=Proposal(StructuredExplanation.from_text("hm"))), Feedback(0.5, ()), 1
        )
    )
    assert "not a lexical explanation" in refused.failure


def contexts(proposals):
    phrases = [parse(rule.activates_on) for p in proposals for rule in p.explanation.rules]
    return [part for phrase in phrases for part in (phrase.after, phrase.earlier) if part is not None]


def test_a_context_is_drawn_only_from_tokens_that_cause_activations(train):
    causes = LexicalProposerParams(mining=MiningParams(causes=True))

    def proposed(records):
        return asyncio.run(LexicalProposer(causes).propose(records, 3))

    right = proposed(caused(train, " raise"))
    assert ("the token ' error' right after ' raise'", 5) in {
        (rule.activates_on, rule.strength) for rule in right[0].explanation.rules
    }
    assert contexts(right) and all(" raise" in part.strings or part.token_class for part in contexts(right))
    assert not contexts(proposed(caused(train, "nothing")))


def test_causes_change_nothing_unless_they_are_asked_for(train):
    assert propose(caused(train, " raise"), 3) == propose(train, 3)


def test_causes_that_were_not_measured_cannot_be_used(train):
    proposer = LexicalProposer(LexicalProposerParams(mining=MiningParams(causes=True)))
    with pytest.raises(InputError, match=r"the records have none.*--write-holistic-acts"):
        asyncio.run(proposer.propose(train, 1))


def test_an_explainers_parameters_reach_the_miner(train):
    made = LexicalProposerParams.of(OneShotExplainerParams(3, True, False))
    assert (made.rule_cap, made.structured, made.mining.causes) == (3, False, True)
    assert LexicalProposerParams.of(OneShotExplainerParams()) == LexicalProposerParams()


def test_a_perfect_explanation_is_left_alone():
    records = [ActivationRecord((" a", " b"), (1.0, 0.0), (), i, 1.0) for i in range(20)]
    [proposal] = propose(records)
    for revision in revise(records, proposal.explanation):
        assert (revision.explanation, revision.failure) == (None, "")
        assert revision.converged == "no change of one rule lowers the error"


@pytest.mark.parametrize("structured", [True, False])
def test_many_first_proposals_differ_and_begin_with_the_few(train, structured):
    noisy = [replace(r, expressions=tuple(1.0 * (len(t) % 4) for t in r.tokens)) for r in train]
    for records in (noisy, train):
        many = propose(records, 24, structured=structured)
        assert many[:3] == propose(records, 3, structured=structured)
        assert many[:9] == propose(records, 9, structured=structured)
        made = [proposal.explanation for proposal in many if proposal.explanation]
        assert len(set(made[3:]) - set(made[:3])) == len(made[3:]) > 6
        assert not any(proposal.failure for proposal in many[3:])
    one = [ActivationRecord((" a", " b"), (1.0, 0.0), (), i, 1.0) for i in range(20)]
    rest = propose(one, 60)
    assert rest[-1].converged == "no other first rules are worth their words"
