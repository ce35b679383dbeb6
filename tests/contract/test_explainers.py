"""Every registered explainer keeps the promises that runs and readers of its trace rely on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from featureinterp.core import (
    Attempt,
    ExplainerResult,
    Feedback,
    Proposal,
    Rule,
    SequenceSimulation,
    StructuredExplanation,
)
from featureinterp.errors import BudgetExceededError, SimulationError
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.run import FeatureRunParams, Method, explain_feature
from featureinterp.explainer import EXPLAINERS, OneShotExplainerParams
from featureinterp.protocols import Explainer, Proposer, Simulator
from featureinterp.record import ActivationRecord, SAEIndexId, SAEIndexRecord
from featureinterp.simulator import LexicalSimulatorFactory
from tests.contract.parts import PROPOSERS, TRAIN, VALID, make_explainer
from tests.invented import invented_record

ALL = [*TRAIN, *VALID]
POSITIVES = (tuple(r for r in TRAIN if r.source is None), tuple(r for r in VALID if r.source is None))


def explanation(*words: str) -> StructuredExplanation:
    return StructuredExplanation(tuple(Rule(each, 5) for each in words))


GOOD = explanation("the token ' error' right after ' raise'")
FAIR = explanation("the token ' error'")
POOR = explanation("the token ' the'")
FLAT = explanation("the token 'nowhere'")


class Scripted:
    """Proposes from a list and revises to the next of it, round and round."""

    def __init__(self, *proposals: StructuredExplanation | str) -> None:
        self.proposals = [Proposal(None, failure=p) if isinstance(p, str) else Proposal(p) for p in proposals]
        self.asked = 0

    async def propose(self, train_records: Sequence[ActivationRecord], n: int) -> list[Proposal]:
        return [self._next() for _ in range(n)]

    async def revise(
        self, train_records: Sequence[ActivationRecord], attempt: Attempt, feedback: Feedback, n: int
    ) -> list[Proposal]:
        return [self._next() for _ in range(n)]

    def _next(self) -> Proposal:
        self.asked += 1
        return self.proposals[(self.asked - 1) % len(self.proposals)]


class Answering:
    """A factory of lexical simulators, the one of `FAIR` excepted: that one's simulations go through `spoil`."""

    def __init__(self, spoil: Callable[[list[SequenceSimulation]], list[SequenceSimulation]]) -> None:
        self._lexical, self._spoil = LexicalSimulatorFactory(), spoil

    def __call__(self, words: StructuredExplanation) -> Simulator:
        return _Spoilt(self._lexical(words), self._spoil) if words == FAIR else self._lexical(words)


class _Spoilt:
    def __init__(
        self, simulator: Simulator, spoil: Callable[[list[SequenceSimulation]], list[SequenceSimulation]]
    ) -> None:
        self._simulator, self._spoil = simulator, spoil

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        return self._spoil(await self._simulator.simulate(token_sequences))


def refuse(simulations: list[SequenceSimulation]) -> list[SequenceSimulation]:
    raise SimulationError("the model answered with something else than digits")


def expect(level: float) -> Callable[[list[SequenceSimulation]], list[SequenceSimulation]]:
    """Expect this level on the last window's tokens."""

    def spoil(simulations: list[SequenceSimulation]) -> list[SequenceSimulation]:
        *others, last = simulations
        return [*others, replace(last, expected_activations=(level,) * len(last.tokens))]

    return spoil


@pytest.fixture(params=EXPLAINERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def run(
    explainer: Explainer,
    num_samples: int = 1,
    train: Sequence[ActivationRecord] = TRAIN,
    valid: Sequence[ActivationRecord] = VALID,
) -> ExplainerResult:
    return asyncio.run(explainer.generate_explanations(train, valid, num_samples))


def correlation(words: StructuredExplanation, records: Sequence[ActivationRecord]) -> float:
    """Of the simulation with the truth over all tokens, by numpy."""
    simulations = asyncio.run(LexicalSimulatorFactory()(words).simulate([record.tokens for record in records]))
    expected = np.concatenate([simulation.expected_activations for simulation in simulations])
    truth = np.concatenate([np.array(record.expressions) / record.max_expression for record in records])
    return float(np.corrcoef(expected, truth)[0, 1])


def assert_well_formed(result: ExplainerResult, num_samples: int) -> None:
    """The trace is a forest in the order of its numbers, and the chosen attempts are the best of it."""
    explanations, trace = result
    assert (explanations, trace) == (result.explanations, result.trace)
    assert [attempt.number for attempt in trace] == list(range(len(trace)))
    for attempt in trace:
        assert (attempt.parent is None) == (attempt.depth == 0)
        if attempt.parent is not None:
            parent = trace[attempt.parent]
            assert parent.number < attempt.number
            assert parent.depth == attempt.depth - 1
            assert parent.feedback is not None, "who has children was told why"
        assert (attempt.explanation is None) == bool(attempt.proposal.failure or attempt.proposal.converged)
        if attempt.explanation is None:
            assert attempt.train_score is attempt.valid_score is None
    assert [trace[number].explanation for number in result.chosen] == list(explanations)
    assert len(set(result.chosen)) == len(explanations) <= num_samples
    scores = [attempt.valid_score for attempt in trace if attempt.valid_score is not None]
    assert not any(math.isnan(score) for score in scores)
    if scores:
        assert [trace[number].valid_score for number in result.chosen] == sorted(scores, reverse=True)[:num_samples]


@pytest.mark.parametrize("num_samples", [1, 2, 5, 100])
def test_the_best_of_all_attempts_come_first_and_point_into_the_trace(name: str, num_samples: int) -> None:
    proposer = Scripted(POOR, "refused", FAIR, FLAT, GOOD)
    result = run(make_explainer(name, proposer), num_samples)
    assert_well_formed(result, num_samples)
    if name != "best-of-n":  # its trace lacks the search that it only counts
        assert len(result.trace) == proposer.asked, "every proposal is in the trace"


@pytest.mark.parametrize("proposals", [(POOR, FAIR, GOOD), (GOOD, FAIR, POOR), (FAIR, GOOD, POOR)])
def test_the_order_of_the_proposals_does_not_decide(name: str, proposals: tuple[StructuredExplanation, ...]) -> None:
    result = run(make_explainer(name, Scripted(*proposals)), 3)
    assert result.explanations[0] == GOOD


def test_scores_in_the_trace_are_correlations_on_train_and_valid_records(name: str) -> None:
    result = run(make_explainer(name, Scripted(POOR, FAIR, GOOD)), 3)
    for attempt in result.trace:
        assert attempt.train_score == pytest.approx(correlation(attempt.explanation, TRAIN))
        assert attempt.valid_score == pytest.approx(correlation(attempt.explanation, VALID))


def test_valid_records_choose_and_train_records_do_not(name: str) -> None:
    """Where `the token ' of'` is right on valid and wrong on train, it is the answer."""
    of = explanation("the token ' of'")
    valid = [replace(r, expressions=tuple(4.0 * (t == " of") for t in r.tokens)) for r in VALID]
    assert run(make_explainer(name, Scripted(GOOD, of, FAIR)), 3, valid=valid).explanations[0] == of


@pytest.mark.parametrize("samples", [1, 4])
def test_nothing_but_failures_is_no_explanation_and_all_reasons(name: str, samples: int) -> None:
    result = run(make_explainer(name, Scripted("refused", "not JSON")), samples)
    assert_well_formed(result, samples)
    assert result.explanations == result.chosen == ()
    assert {attempt.proposal.failure for attempt in result.trace} <= {"refused", "not JSON"}
    assert result.trace


def test_an_attempt_whose_score_is_undefined_is_chosen_only_where_no_other_has_one(name: str) -> None:
    result = run(make_explainer(name, Scripted(FLAT, POOR)), 2)
    assert result.explanations[0] == POOR
    assert FLAT in {attempt.explanation for attempt in result.trace} - set(result.explanations)
    result = run(make_explainer(name, Scripted(FLAT, "refused")), 1)
    assert_well_formed(result, 1)
    assert result.explanations == (FLAT,)
    kept = result.trace[result.chosen[0]]
    assert kept.valid_score is None
    assert kept.unscored == "the expected activation is the same on every token"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (refuse, "something else than digits"),
        (lambda simulations: simulations[:-1], "simulations"),
        (lambda simulations: [*simulations, simulations[0]], "simulations"),
        (expect(math.nan), "expects nan"),
        (expect(7.0), "expects 7"),
    ],
    ids=["refused", "one too few", "one too many", "not a number", "off the scale"],
)
def test_a_simulator_that_fails_on_one_attempt_makes_that_one_a_failure(
    name: str, spoil: Callable[[list[SequenceSimulation]], list[SequenceSimulation]], reason: str
) -> None:
    result = run(make_explainer(name, Scripted(FAIR, POOR, GOOD), Answering(spoil)), 3)
    assert_well_formed(result, 3)
    assert result.explanations[0] == GOOD
    failed = [attempt for attempt in result.trace if attempt.proposal.failure]
    assert failed
    assert all(reason in attempt.proposal.failure for attempt in failed)
    assert FAIR not in result.explanations


def test_an_error_that_ends_the_run_is_no_failed_attempt(name: str) -> None:
    def broke(simulations: list[SequenceSimulation]) -> list[SequenceSimulation]:
        raise BudgetExceededError("the run's 5 dollars are spent")

    with pytest.raises(BudgetExceededError):
        run(make_explainer(name, Scripted(POOR, FAIR, GOOD), Answering(broke)), 3)


def test_positives_alone_suffice(name: str) -> None:
    train, valid = POSITIVES
    result = run(make_explainer(name, Scripted(POOR, GOOD)), 2, train, valid)
    assert_well_formed(result, 2)
    assert result.explanations[0] == GOOD


@pytest.mark.parametrize("proposer", PROPOSERS)
def test_each_registered_proposer_takes_its_place(name: str, proposer: str) -> None:
    first, second = (
        run(make_explainer(name, PROPOSERS[proposer](OneShotExplainerParams(rule_cap=3))), 2) for _ in range(2)
    )
    assert_well_formed(first, 2)
    assert first == second, "the same records give the same result"
    assert first.explanations
    assert correlation(first.explanations[0], VALID) > 0.3


def test_arguments_are_left_as_they_were(name: str) -> None:
    train, valid = list(TRAIN), list(VALID)
    before = deepcopy((train, valid))
    run(make_explainer(name, PROPOSERS["lexical"](OneShotExplainerParams())), 1, train, valid)
    assert (train, valid) == before


def latent_record(test_word: str) -> SAEIndexRecord:
    """Evidence whose test records, and they alone, fire on `test_word` and say it."""

    def of_split(record: ActivationRecord, position: int) -> ActivationRecord:
        if position % 3 != 2:
            return record
        tokens = tuple(test_word if token == " error" else token for token in record.tokens)
        return replace(record, tokens=tokens)

    positives = [of_split(invented_record(2 * i), i) for i in range(18)]
    silent = [of_split(invented_record(2 * i + 1), i) for i in range(18)]
    return SAEIndexRecord(SAEIndexId(0, 0), 4.0, 0.0, tuple(positives), *(tuple(silent),) * 4)


def test_test_records_change_nothing_but_the_judgement(name: str) -> None:
    def explained(test_word: str) -> tuple[tuple[object, ...], float]:
        proposer: Proposer = PROPOSERS["lexical"](OneShotExplainerParams(rule_cap=2))
        method = Method(name, make_explainer(name, proposer), LexicalSimulatorFactory())
        result = asyncio.run(
            explain_feature(latent_record(test_word), FeatureKey("h", 0, 0), method, FeatureRunParams(6, 6))
        )
        return (result.explanation, result.attempts), float(result.scores["random"].correlation)

    seen, score = explained(" error")
    seen_otherwise, worse = explained(" banana")
    assert seen == seen_otherwise
    assert worse < score
