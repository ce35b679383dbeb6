"""The one-shot explainer: a few proposals, best first."""

from __future__ import annotations

from collections.abc import Sequence

from featureinterp.core import Attempt, ExplainerResult
from featureinterp.explainer.params import OneShotExplainerParams
from featureinterp.explainer.search import ProposingExplainer, all_scored, by_valid_score, proposed
from featureinterp.protocols import Proposer, SimulatorFactory
from featureinterp.record import ActivationRecord


class OneShotExplainer(ProposingExplainer[OneShotExplainerParams]):
    """Calls a proposer once; needs a simulator only to order several samples.

    `model_name` is the registered name of a proposer, or of a language model; a given `proposer` is used instead.
    """

    Params = OneShotExplainerParams

    def __init__(
        self,
        model_name: str = "lexical",
        params: OneShotExplainerParams | None = None,
        *,
        simulator_factory: SimulatorFactory | None = None,
        proposer: Proposer | None = None,
    ) -> None:
        super().__init__(model_name, params or OneShotExplainerParams(), proposer)
        self._simulator_factory = simulator_factory

    async def generate_explanations(
        self,
        train_records: Sequence[ActivationRecord],
        valid_records: Sequence[ActivationRecord] = (),
        num_samples: int = 1,
    ) -> ExplainerResult:
        """Return `num_samples` explanations (fewer if proposals fail) and every attempt.

        They are ordered by valid score if a simulator and valid records are given, else in the
        order in which they were proposed.
        """
        proposals = await proposed(self.proposer.propose(train_records, num_samples), num_samples)
        attempts = [Attempt(i, None, 0, proposal) for i, proposal in enumerate(proposals)]
        if self._simulator_factory is None or not valid_records:
            chosen = [attempt for attempt in attempts if attempt.explanation is not None]
        else:
            attempts = await all_scored(attempts, self._simulator_factory, train_records, valid_records)
            chosen = by_valid_score(attempts)
        return ExplainerResult.of(attempts, chosen[:num_samples])
