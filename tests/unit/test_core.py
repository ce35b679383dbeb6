"""Rules that can only be well-formed, scores with a value or a reason, and results that unpack."""

from __future__ import annotations

import math

import pytest

from featureinterp.core import (
    Attempt,
    ExplainerResult,
    Proposal,
    Rule,
    Score,
    ScoredSequence,
    ScoredSimulation,
    Scores,
    SequenceSimulation,
    StructuredExplanation,
    worst_first,
)
from featureinterp.errors import ExplanationError, FeatureInterpError, InputError
from featureinterp.record import ActivationRecord


def sequence(index: int, truth: float, expected: float) -> ScoredSequence:
    return ScoredSequence(ActivationRecord(("a",), (truth,), (), index, 10.0), SequenceSimulation(("a",), (expected,)))


@pytest.mark.parametrize("strength", [-1, 6, 2.0, "3", True, None])
def test_a_strength_is_a_whole_number_from_0_to_5(strength):
    with pytest.raises(ExplanationError, match=f"strength is {strength!r}"):
        Rule("x", strength)


def test_a_rule_says_something_and_an_explanation_has_a_rule():
    with pytest.raises(ExplanationError, match="activates_on has no text"):
        Rule(" \n", 3)
    with pytest.raises(ExplanationError, match="at least one rule"):
        StructuredExplanation(())


def test_explanations_go_to_json_and_back():
    rules = [{"activates_on": "quotes", "strength": 4}, {"activates_on": "the", "strength": 0}]
    explanation = StructuredExplanation.from_json(rules)
    assert explanation.to_json() == rules
    assert str(explanation) == "[4] quotes\n[0] the"
    assert StructuredExplanation.from_text("a text").to_json() == [{"activates_on": "a text", "strength": 5}]


NO_RULES = (
    {},
    {"activates_on": "x"},
    {"strength": 3},
    {"activates_on": 3, "strength": 3},
    {"activates_on": "x", "strength": "3"},
)


@pytest.mark.parametrize("rule", NO_RULES)
def test_json_that_is_no_explanation_names_the_rule(rule):
    with pytest.raises(ExplanationError, match="rule 1 is"):
        StructuredExplanation.from_json([{"activates_on": "x", "strength": 1}, rule])


def test_a_score_is_a_value_or_a_reason():
    assert float(Score(0.5)) == 0.5
    assert str(Score(0.5)) == "0.500"
    assert str(Score(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    undefined = Score.undefined("nothing fires")
    assert math.isnan(float(undefined))
    assert (undefined.value, str(undefined)) == (None, "undefined: nothing fires")


def test_the_preferred_score_is_the_correlation():
    none = Score.undefined("not measured")
    scores = Scores(Score(0.25), none, none, none, none, none, none, none, 1, 0)
    assert ScoredSimulation((), scores).get_preferred_score() == 0.25


def test_worst_windows_come_first_and_once():
    mild, bad, other = sequence(0, 2.0, 2.0), sequence(1, 0.0, 4.0), sequence(2, 10.0, 4.0)
    assert (mild.squared_error(), bad.squared_error()) == (1.0, 16.0)
    assert worst_first([mild, bad, other, bad]) == [bad, mild, other]


def test_an_explainers_result_unpacks_into_explanations_and_trace():
    proposal = Proposal(StructuredExplanation.from_text("x"))
    attempts = [Attempt(0, None, 0, Proposal(None, failure="no JSON")), Attempt(1, None, 0, proposal, 0.5, 0.4)]
    result = ExplainerResult.of(attempts, [attempts[1]])
    explanations, trace = result
    assert explanations == (proposal.explanation,)
    assert trace == tuple(attempts)
    assert result.chosen == (1,)
    assert attempts[0].explanation is None


def test_an_error_shows_its_hint():
    error = InputError("layer 9 is not there", "take 0..5")
    assert isinstance(error, FeatureInterpError)
    assert (str(error), error.problem, error.hint) == (
        "layer 9 is not there (take 0..5)",
        "layer 9 is not there",
        "take 0..5",
    )
    assert str(InputError("plain")) == "plain"
