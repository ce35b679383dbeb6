"""What the explainers share: asking for proposals, scoring attempts on train and valid records, choosing among them.

An error of one attempt becomes its reason of failure; an error of the run propagates.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from featureinterp.core import Attempt, Proposal, SequenceSimulation
from featureinterp.errors import OF_ONE_FEATURE, ChatError, ExplanationError, SimulationError
from featureinterp.explainer.params import OneShotExplainerParams
from featureinterp.explainer.registry import make_proposer
from featureinterp.protocols import Proposer, SimulatorFactory
from featureinterp.record import ActivationRecord
from featureinterp.scoring.levels import TrueLevels
from featureinterp.scoring.simulation import score_simulations

OF_ONE_ATTEMPT = (ChatError, ExplanationError, SimulationError)
"""Simulator errors of a single attempt; errors of the records would fail every attempt."""


ParamsT = TypeVar("ParamsT", bound=OneShotExplainerParams)


class ProposingExplainer(Generic[ParamsT]):
    """Base of explainers that ask a proposer."""

    def __init__(self, model_name: str, params: ParamsT, proposer: Proposer | None = None) -> None:
        """Take how to propose.

        Args:
            model_name: the registered name of a proposer, or of a language model.
            params: the explainer's knobs.
            proposer: used instead of the one that `model_name` names.
        """
        self.model_name = model_name
        self.params = params
        self._proposer = proposer

    @property
    def proposer(self) -> Proposer:
        """The proposer, made when it is first needed.

        Raises:
            InputError: if `model_name` names neither a proposer nor a language model.
        """
        if self._proposer is None:
            self._proposer = make_proposer(self.model_name, self.params)
        return self._proposer


async def proposed(proposals: Awaitable[list[Proposal]], n: int) -> list[Proposal]:
    """Return the proposer's proposals, or `n` failures with the reason."""
    try:
        return await proposals
    except OF_ONE_FEATURE as error:
        return [Proposal(None, failure=str(error))] * n


async def all_scored(
    attempts: Sequence[Attempt],
    simulator_factory: SimulatorFactory,
    train: Sequence[ActivationRecord] | TrueLevels,
    valid: Sequence[ActivationRecord] | TrueLevels,
) -> list[Attempt]:
    """Return the attempts with their scores, all simulated at the same time.

    A search with several rounds gives `TrueLevels` in place of the records: they are then read once.
    """
    levels = [each if isinstance(each, TrueLevels) else TrueLevels(tuple(each)) for each in (train, valid)]
    return list(await asyncio.gather(*(scored(attempt, simulator_factory, *levels) for attempt in attempts)))


async def scored(
    attempt: Attempt, simulator_factory: SimulatorFactory, train: TrueLevels, valid: TrueLevels
) -> Attempt:
    """Return the attempt with its train and valid scores; as a failure with its reason if it cannot be simulated.

    Raises:
        FeatureInterpError: if the attempt is not at fault: invalid records, an exceeded budget.
    """
    if attempt.explanation is None:
        return attempt
    n_train = len(train.records)
    try:
        simulations = await simulate(attempt, simulator_factory, [*train.records, *valid.records])
        train_score = train.correlation(simulations[:n_train])
        valid_score = valid.correlation(simulations[n_train:])
    except OF_ONE_ATTEMPT as error:
        return replace(attempt, proposal=Proposal(None, attempt.proposal.improvement, failure=str(error)))
    unscored = ""
    if math.isnan(valid_score):
        of_valid = score_simulations(valid.records, simulations[n_train:], intervals=False)
        unscored = of_valid.scores.correlation.reason
    return replace(attempt, train_score=_defined(train_score), valid_score=_defined(valid_score), unscored=unscored)


async def simulate(
    attempt: Attempt, simulator_factory: SimulatorFactory, records: Sequence[ActivationRecord]
) -> list[SequenceSimulation]:
    """Simulate an attempt's explanation on records."""
    if attempt.explanation is None:
        return []
    return await simulator_factory(attempt.explanation).simulate([record.tokens for record in records])


def _defined(score: float) -> float | None:
    return None if math.isnan(score) else score


def by_train_score(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that have a train score, best first; among equals the earlier one."""
    having = [attempt for attempt in attempts if attempt.train_score is not None]
    return sorted(having, key=lambda attempt: (-(attempt.train_score or 0.0), attempt.number))


def by_valid_score(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that have a valid score, best first; among equals the earlier one.

    If none has one, valid cannot choose: then all that have an explanation are returned, best first by train score,
    those without one last (`Attempt.unscored` has the reason).
    """
    having = [attempt for attempt in attempts if attempt.valid_score is not None]
    if having:
        return sorted(having, key=lambda attempt: (-(attempt.valid_score or 0.0), attempt.number))
    scored = by_train_score(attempts)
    return [*scored, *(each for each in attempts if each.explanation is not None and each.train_score is None)]
