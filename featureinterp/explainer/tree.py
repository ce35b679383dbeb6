"""The tree explainer: revise attempts from their errors, keep the best, choose on held-out valid records.

After "tree of attacks": `root_nodes` first proposals; in each of `depth` rounds every kept attempt gets
its errors on the train records as feedback, and `branching_factor` revisions; the best `width` by train score
are kept. The result is the best of all attempts by *valid* score, so a search that overfits the
train records falls back on earlier attempts. Test records are never used here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from featureinterp.core import Attempt, ExplainerResult, Proposal
from featureinterp.errors import OF_ONE_FEATURE
from featureinterp.explainer.params import TreeExplainerParams
from featureinterp.explainer.registry import default_simulator
from featureinterp.explainer.search import (
    ProposingExplainer,
    all_scored,
    by_train_score,
    by_valid_score,
    proposed,
    simulate,
)
from featureinterp.protocols import Proposer, SimulatorFactory
from featureinterp.record import ActivationRecord
from featureinterp.scoring.leave_one_out import feedback
from featureinterp.scoring.levels import TrueLevels
from featureinterp.simulator.registry import make_simulator_factory


class TreeExplainer(ProposingExplainer[TreeExplainerParams]):
    """Searches by revision; `simulator_factory` provides the scores that guide it.

    Without one, a language model of that name simulates its own words through its endpoint; otherwise, and with a given
    `proposer`, the lexical simulator does. `model_name` is the registered name of a proposer, or of a language model; a
    given `proposer` is used instead.
    """

    Params = TreeExplainerParams

    def __init__(
        self,
        model_name: str = "lexical",
        simulator_factory: SimulatorFactory | None = None,
        params: TreeExplainerParams | None = None,
        *,
        proposer: Proposer | None = None,
    ) -> None:
        super().__init__(model_name, params or TreeExplainerParams(), proposer)
        self._simulator_factory = simulator_factory
        self._simulator = "" if proposer is None else "lexical"

    @property
    def simulator_factory(self) -> SimulatorFactory:
        """The simulator factory, made when it is first needed.

        Raises:
            InputError: if `model_name` names neither a proposer nor a language model.
        """
        if self._simulator_factory is None:
            self._simulator_factory = make_simulator_factory(self._simulator or default_simulator(self.model_name))
        return self._simulator_factory

    async def generate_explanations(
        self,
        train_records: Sequence[ActivationRecord],
        valid_records: Sequence[ActivationRecord],
        num_samples: int = 1,
    ) -> ExplainerResult:
        """Return the `num_samples` best explanations by valid score, and every attempt of the search."""
        params = self.params
        factory = self.simulator_factory
        train, valid = TrueLevels(tuple(train_records)), TrueLevels(tuple(valid_records))
        proposals = await proposed(self.proposer.propose(train_records, params.root_nodes), params.root_nodes)
        roots = [Attempt(i, None, 0, proposal) for i, proposal in enumerate(proposals)]
        attempts = await all_scored(roots, factory, train, valid)
        kept = by_train_score(_distinct(attempts))[: params.width]
        for depth in range(1, params.depth + 1):
            if not kept or (kept[0].train_score or 0.0) >= params.stop_score:
                break
            told = await asyncio.gather(*(self._told(attempt, train_records) for attempt in kept))
            for attempt in told:
                attempts[attempt.number] = attempt
            revisions = await asyncio.gather(*(self._revise(attempt, train_records) for attempt in told))
            children = _children(told, revisions, depth, first_number=len(attempts))
            children = await all_scored(children, factory, train, valid)
            attempts += children
            kept = by_train_score(_distinct(children))[: params.width]
        return ExplainerResult.of(attempts, by_valid_score(attempts)[:num_samples])

    async def _told(self, attempt: Attempt, train: Sequence[ActivationRecord]) -> Attempt:
        """Return the attempt with its feedback; without it if its simulation fails."""
        try:
            simulations = await simulate(attempt, self.simulator_factory, train)
        except OF_ONE_FEATURE:
            return attempt
        return replace(attempt, feedback=feedback(train, simulations, self.params.k_worst_feedback_records))

    async def _revise(self, attempt: Attempt, train: Sequence[ActivationRecord]) -> list[Proposal]:
        told, n = attempt.feedback, self.params.branching_factor
        if told is None:
            return []
        return await proposed(self.proposer.revise(train, attempt, told, n), n)


def _children(
    parents: Sequence[Attempt], revisions: Sequence[Sequence[Proposal]], depth: int, first_number: int
) -> list[Attempt]:
    pairs = [(parent.number, p) for parent, proposals in zip(parents, revisions, strict=True) for p in proposals]
    return [Attempt(first_number + i, parent, depth, proposal) for i, (parent, proposal) in enumerate(pairs)]


def _distinct(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Drop attempts equal to an earlier one."""
    first = {attempt.explanation: attempt for attempt in reversed(attempts)}
    return [attempt for attempt in attempts if first[attempt.explanation] is attempt]
