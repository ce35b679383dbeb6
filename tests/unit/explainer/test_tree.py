"""The tree search: what it keeps, what it is told, and what it does with failures."""

import asyncio
from dataclasses import fields, replace

import pytest

from featureinterp.core import Attempt, Proposal, Rule, StructuredExplanation, simulated
from featureinterp.errors import ExplanationError, InputError
from featureinterp.explainer import OneShotExplainer, OneShotExplainerParams, TreeExplainer, TreeExplainerParams
from featureinterp.explainer.best_of_n import BestOfNExplainer, n_first_proposals
from featureinterp.simulator import LexicalSimulatorFactory


def one_rule(words, strength=5):
    return StructuredExplanation((Rule(words, strength),))


class ScriptedProposer:
    """Proposes from a list and remembers what it was told."""

    def __init__(self, roots, revisions=()):
        self.roots, self.revisions, self.told = roots, list(revisions), []

    async def propose(self, train_records, n):
        return self.roots[:n]

    async def revise(self, train_records, attempt, feedback, n):
        self.told.append((attempt, feedback))
        return [self.revisions.pop(0) if self.revisions else Proposal(None, failure="out of ideas") for _ in range(n)]


def search(proposer, train, valid, samples=1, **params):
    explainer = TreeExplainer(proposer=proposer, params=TreeExplainerParams(**params))
    return asyncio.run(explainer.generate_explanations(train, valid, samples))


def test_the_lexical_tree_improves_on_its_roots(train, valid):
    result = asyncio.run(TreeExplainer().generate_explanations(train, valid))
    [explanation], trace = result
    roots = [attempt for attempt in trace if attempt.depth == 0]
    assert trace[result.chosen[0]].explanation == explanation
    assert trace[result.chosen[0]].valid_score >= max(attempt.valid_score for attempt in roots)
    assert trace[result.chosen[0]].valid_score > 0.97


def test_the_answer_is_the_best_of_all_attempts_by_valid_score(train, valid):
    good, bad = one_rule("the token ' error'"), one_rule("the token ' the'")
    proposer = ScriptedProposer([Proposal(bad), Proposal(good)], [Proposal(bad), Proposal(bad)])
    result = search(proposer, train, valid, root_nodes=2, width=1, depth=1, branching_factor=2)
    assert result.explanations == (good,)
    assert result.chosen == (1,)


def test_only_the_best_by_train_score_are_revised_and_told_where_they_err(train, valid):
    good, bad = one_rule("the token ' error'"), one_rule("the token ' the'")
    proposer = ScriptedProposer([Proposal(bad), Proposal(good)])
    result = search(proposer, train, valid, root_nodes=2, width=1, depth=3, k_worst_feedback_records=2)
    [(attempt, told)] = proposer.told
    assert attempt.explanation == good
    assert told.train_score == pytest.approx(attempt.train_score)
    assert len(told.worst_records) == 2
    assert result.trace[1].feedback == told


def test_every_attempt_is_in_the_trace_with_its_parent(train, valid):
    proposer = ScriptedProposer(
        [Proposal(one_rule("the token ' error'"))],
        [Proposal(one_rule("the token ' value'"), "try another"), Proposal(None, failure="no words")],
    )
    trace = search(proposer, train, valid, root_nodes=1, width=1, depth=1, branching_factor=2).trace
    assert [(a.number, a.parent, a.depth) for a in trace] == [(0, None, 0), (1, 0, 1), (2, 0, 1)]
    assert trace[2].proposal.failure == "no words"
    assert trace[2].train_score is None


def test_a_simulator_that_fails_makes_a_failed_attempt(train, valid):
    lexical = LexicalSimulatorFactory()

    def factory(explanation):
        if explanation.rules[0].activates_on == "poison":
            raise ExplanationError("cannot simulate poison")
        return lexical(explanation)

    good = one_rule("the token ' error'")
    proposer = ScriptedProposer([Proposal(one_rule("poison")), Proposal(good)])
    explainer = TreeExplainer(simulator_factory=factory, proposer=proposer)
    result = asyncio.run(explainer.generate_explanations(train, valid))
    assert result.explanations == (good,)
    assert "poison" in result.trace[0].proposal.failure
    assert result.trace[0].explanation is None


def test_nothing_but_failures_gives_no_explanation(train, valid):
    result = search(ScriptedProposer([Proposal(None, failure="refused")]), train, valid)
    assert result.explanations == ()
    assert [attempt.proposal.failure for attempt in result.trace] == ["refused"]


def test_a_good_enough_root_ends_the_search(train, valid):
    proposer = ScriptedProposer([Proposal(one_rule("the token ' error'"))])
    search(proposer, train, valid, stop_score=0.1)
    assert proposer.told == []


FAIR, GOOD = one_rule("the token ' error'"), one_rule("the token ' error' right after ' raise'")
BETTER = StructuredExplanation((*GOOD.rules, Rule("the token ' value'", 2)))


def test_a_revision_that_is_good_enough_ends_the_search(train, valid):
    """Of three rounds the second reaches the score, so there is no third."""
    proposer = ScriptedProposer([Proposal(FAIR)], [Proposal(GOOD), Proposal(BETTER), Proposal(FAIR)])
    result = search(proposer, train, valid, root_nodes=1, width=1, branching_factor=1, stop_score=0.8)
    assert [attempt.explanation for attempt in result.trace] == [FAIR, GOOD, BETTER]
    first, second = (attempt.train_score or 0 for attempt in result.trace[1:])
    assert first < 0.8 <= second


def test_each_round_goes_on_from_the_best_revisions_of_the_last(train, valid):
    value, numbers = one_rule("the token ' value'", 2), one_rule("numbers")
    proposer = ScriptedProposer(
        [Proposal(FAIR), Proposal(value)], [Proposal(e) for e in (numbers, value, numbers, BETTER)]
    )
    result = search(proposer, train, valid, root_nodes=2, width=2, depth=2, branching_factor=2)
    first, second = result.trace[:2]
    best_first = sorted((first, second), key=lambda attempt: -attempt.train_score)
    assert [(a.parent, a.explanation) for a in result.trace[2:6]] == [
        (best_first[0].number, numbers),
        (best_first[0].number, value),
        (best_first[1].number, numbers),
        (best_first[1].number, BETTER),
    ]
    assert [attempt.explanation for attempt, _ in proposer.told[2:]] == [BETTER, value]
    assert [attempt.parent for attempt in result.trace[6:]] == [5, 5, 3, 3]


def test_equal_revisions_are_revised_once(train, valid):
    proposer = ScriptedProposer([Proposal(FAIR)], [Proposal(GOOD), Proposal(GOOD), Proposal(BETTER)])
    search(proposer, train, valid, root_nodes=1, width=2, depth=2, branching_factor=3)
    assert [attempt.explanation for attempt, _ in proposer.told] == [FAIR, BETTER, GOOD]


def test_revisions_that_all_fail_end_the_search_with_what_there_is(train, valid):
    proposer = ScriptedProposer([Proposal(FAIR)])
    result = search(proposer, train, valid, root_nodes=1, depth=3, branching_factor=2)
    assert result.explanations == (FAIR,)
    assert [attempt.depth for attempt in result.trace] == [0, 1, 1]


def test_where_valid_cannot_choose_train_does_and_then_the_order(train, valid):
    silent, other = one_rule("the token 'nowhere'"), one_rule("the token 'elsewhere'")
    result = search(ScriptedProposer([Proposal(silent), Proposal(other)]), train, valid, samples=2)
    assert result.explanations == (silent, other)
    flat = [replace(record, expressions=(0.0,) * len(record.tokens)) for record in valid]
    result = search(ScriptedProposer([Proposal(silent), Proposal(FAIR), Proposal(GOOD)]), train, flat, depth=0)
    assert result.explanations == (GOOD,)
    assert result.trace[2].unscored == "the feature is silent on all of these tokens"


def counted(explanations: list[StructuredExplanation | str], n_roots: int) -> int:
    """How many first proposals stand for a search with these attempts; a text is why one failed."""
    trace = [
        Attempt(i, None, int(i >= n_roots), Proposal(None, failure=e) if isinstance(e, str) else Proposal(e))
        for i, e in enumerate(explanations)
    ]
    converged = Attempt(len(trace), 0, 1, Proposal(None, converged="no change lowers the error"))
    return n_first_proposals([*trace, converged])


def test_the_attempts_of_a_search_stand_for_as_many_first_proposals():
    assert counted([FAIR], 1) == 1
    assert counted([FAIR, GOOD, BETTER, GOOD, FAIR], 2) == 3
    assert counted([FAIR, GOOD, "refused", BETTER, "refused"], 2) == 5
    assert counted([FAIR, FAIR, FAIR, GOOD], 3) == 2 + 2, "three first proposals are one"
    assert counted(["refused", "refused"], 2) == 2


@pytest.mark.parametrize("structured", [True, False])
def test_best_of_n_simulates_as_many_explanations_as_the_tree(train, valid, structured):
    noisy = [
        [replace(r, expressions=tuple(1.0 * (len(t) % 4) for t in r.tokens)) for r in records]
        for records in (train, valid)
    ]
    params = TreeExplainerParams(structured_explanations=structured)
    for records in ((train, valid), noisy):
        tree, best = (
            asyncio.run(kind(params=params).generate_explanations(*records))
            for kind in (TreeExplainer, BestOfNExplainer)
        )
        assert len(simulated(best.trace)) == len(simulated(tree.trace))
        assert records is not noisy or not structured or len(simulated(best.trace)) > 2
        assert not any(attempt.parent for attempt in best.trace)
        scores = [attempt.valid_score for attempt in best.trace if attempt.valid_score is not None]
        assert best.trace[best.chosen[0]].valid_score == max(scores)


def test_several_samples_come_best_first(train, valid):
    good, bad = one_rule("the token ' error'"), one_rule("the token ' value'", 1)
    result = search(ScriptedProposer([Proposal(bad), Proposal(good)]), train, valid, samples=2, depth=0)
    scores = [result.trace[number].valid_score for number in result.chosen]
    assert len(result.explanations) == 2
    assert scores == sorted(scores, reverse=True)


def test_the_original_snippets_construct(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # answers are stored in `cache/` here
    one_shot = OneShotExplainer(
        model_name="meta-llama/llama-4-scout",
        params=OneShotExplainerParams(rule_cap=5, include_holistic_expressions=False, structured_explanations=True),
    )
    tree = TreeExplainer(
        model_name="meta-llama/llama-4-scout",
        simulator_factory=LexicalSimulatorFactory(),
        params=TreeExplainerParams(depth=3, width=3, rule_cap=5, structured_explanations=True),
    )
    for explainer in (one_shot, tree):
        assert explainer.proposer.model.name == "openrouter:meta-llama/llama-4-scout"
        for knob in fields(OneShotExplainerParams):
            assert getattr(explainer.proposer.params, knob.name) == getattr(explainer.params, knob.name)
        with pytest.raises(InputError, match="there is no proposer 'llama'.*lexical.*provider:model"):
            type(explainer)("llama").proposer  # noqa: B018 - it is made when it is first needed


def test_one_shot_returns_what_was_proposed(train, valid):
    good, bad = one_rule("the token ' error'"), one_rule("the token ' the'")
    proposals = [Proposal(bad), Proposal(None, failure="refused"), Proposal(good)]
    plain = OneShotExplainer(proposer=ScriptedProposer(proposals))
    assert asyncio.run(plain.generate_explanations(train, num_samples=3)).explanations == (bad, good)
    scored = OneShotExplainer(proposer=ScriptedProposer(proposals), simulator_factory=LexicalSimulatorFactory())
    assert asyncio.run(scored.generate_explanations(train, valid, 3)).explanations == (good, bad)
