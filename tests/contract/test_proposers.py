"""Every registered proposer keeps the promises that explainers rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import pytest

from featureinterp import explainer
from featureinterp.core import Attempt, Feedback, Proposal, StructuredExplanation
from featureinterp.explainer import OneShotExplainerParams
from featureinterp.protocols import Proposer
from featureinterp.record import ActivationRecord
from featureinterp.scoring import feedback
from featureinterp.simulator import LexicalSimulatorFactory
from tests.contract.parts import PROPOSERS, TRAIN, MakeProposer
from tests.report.features import HOSTILE_TOKENS

OTHER = tuple(replace(r, expressions=tuple(4.0 * (t == " of") for t in r.tokens)) for r in TRAIN)
"""The same windows, on which another feature fires."""

HOSTILE = tuple(
    ActivationRecord(tuple(HOSTILE_TOKENS), tuple(float(i == k) for i in range(len(HOSTILE_TOKENS))), (), k, 1.0)
    for k in (0, 1, 1, 16)
)
SILENT = tuple(record for record in TRAIN if not record.is_active)


def test_every_registered_proposer_is_here() -> None:
    assert PROPOSERS.keys() >= explainer.PROPOSERS.keys()


@pytest.fixture(params=PROPOSERS.values(), ids=PROPOSERS.keys())
def make(request: pytest.FixtureRequest) -> MakeProposer:
    return request.param


@pytest.fixture
def proposer(make: MakeProposer) -> Proposer:
    return make(OneShotExplainerParams())


def propose(proposer: Proposer, records: Sequence[ActivationRecord], n: int = 3) -> list[Proposal]:
    return asyncio.run(proposer.propose(records, n))


def attempt_and_feedback(proposal: Proposal, records: Sequence[ActivationRecord]) -> tuple[Attempt, Feedback]:
    """What an explainer says about a proposal before it asks for a revision."""
    if proposal.explanation is None:
        return Attempt(0, None, 0, proposal), Feedback(0.5, ())
    simulator = LexicalSimulatorFactory()(proposal.explanation)
    told = feedback(records, asyncio.run(simulator.simulate([record.tokens for record in records])), 3)
    return Attempt(0, None, 0, proposal, train_score=told.train_score, feedback=told), told


def revise(proposer: Proposer, records: Sequence[ActivationRecord], first: Proposal, n: int = 2) -> list[Proposal]:
    return asyncio.run(proposer.revise(records, *attempt_and_feedback(first, records), n))


def first_explained(proposals: Sequence[Proposal]) -> Proposal:
    return next(proposal for proposal in proposals if proposal.explanation is not None)


def assert_outcomes(proposals: Sequence[Proposal], n: int) -> None:
    """Exactly `n`, each an explanation, a failure with a reason, or why there is nothing better: one of the three."""
    assert len(proposals) == n
    for proposal in proposals:
        outcomes = (proposal.explanation is not None, proposal.failure.strip(), proposal.converged.strip())
        assert sum(map(bool, outcomes)) == 1


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_as_many_as_asked_for_each_an_explanation_or_a_reason(proposer: Proposer, n: int) -> None:
    proposals = propose(proposer, TRAIN, n)
    assert_outcomes(proposals, n)
    assert n == 0 or any(proposal.explanation for proposal in proposals), "the feature is an easy one"
    first = Proposal(StructuredExplanation.from_text("the token ' error'"))
    assert_outcomes(revise(proposer, TRAIN, first, n), n)


@pytest.mark.parametrize("records", [HOSTILE, SILENT, TRAIN[:1], ()], ids=["hostile", "silent", "single", "none"])
def test_records_that_are_hard_to_explain_still_have_an_outcome(
    proposer: Proposer, records: tuple[ActivationRecord, ...]
) -> None:
    proposals = propose(proposer, records, 2)
    assert_outcomes(proposals, 2)
    for proposal in proposals:
        if records and proposal.explanation is not None:
            assert_outcomes(revise(proposer, records, proposal), 2)


def test_what_cannot_be_revised_is_a_failure_or_a_new_explanation(proposer: Proposer) -> None:
    assert_outcomes(revise(proposer, TRAIN, Proposal(None, failure="it was not JSON")), 2)
    loose = Proposal(StructuredExplanation.from_text("errors & <b>things</b> that go 'wrong\n[{\""))
    assert_outcomes(revise(proposer, TRAIN, loose), 2)


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_no_explanation_has_more_rules_than_the_cap(make: MakeProposer, cap: int) -> None:
    proposer = make(OneShotExplainerParams(rule_cap=cap))
    proposals = propose(proposer, TRAIN, 3)
    proposals += revise(proposer, TRAIN, first_explained(proposals), 3)
    assert max(len(proposal.explanation.rules) for proposal in proposals if proposal.explanation) <= cap


def test_equal_records_give_equal_proposals(make: MakeProposer) -> None:
    proposer, another = make(OneShotExplainerParams()), make(OneShotExplainerParams())
    proposals = propose(proposer, TRAIN)
    assert propose(proposer, TRAIN) == propose(another, deepcopy(TRAIN)) == proposals
    first = first_explained(proposals)
    revisions = revise(proposer, TRAIN, first)
    assert revise(proposer, deepcopy(TRAIN), first) == revise(another, TRAIN, first) == revisions


def test_records_decide_and_nothing_that_came_before(make: MakeProposer) -> None:
    """One proposer serves many features, one after the other and at once."""
    expected = [propose(make(OneShotExplainerParams()), records) for records in (TRAIN, OTHER)]
    assert expected[0] != expected[1]
    shared = make(OneShotExplainerParams())
    assert [propose(shared, records) for records in (TRAIN, OTHER, TRAIN)] == [*expected, expected[0]]

    async def at_once() -> list[list[Proposal]]:
        return list(await asyncio.gather(*(shared.propose(records, 3) for records in (TRAIN, OTHER))))

    assert asyncio.run(at_once()) == expected
    propose(shared, OTHER)
    first = first_explained(expected[0])
    assert revise(shared, TRAIN, first) == revise(make(OneShotExplainerParams()), TRAIN, first)


def test_arguments_are_left_as_they_were(proposer: Proposer) -> None:
    records = list(TRAIN)
    first = first_explained(propose(proposer, records))
    told = attempt_and_feedback(first, records)
    before = deepcopy((records, told))
    asyncio.run(proposer.revise(records, *told, 2))
    assert (records, told) == before


def test_a_list_of_records_that_is_filled_anew_is_read_anew(proposer: Proposer) -> None:
    records = list(TRAIN)
    propose(proposer, records)
    records[:] = OTHER
    assert propose(proposer, records) == propose(proposer, OTHER)
