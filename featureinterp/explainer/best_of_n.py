"""The best-of-n explainer: as many first proposals as a tree search makes attempts, the best by valid score.

A tree search chooses among many attempts; a single proposal is chosen from one. This explainer has the choice without
the revisions, so tree minus best-of-n is what revision adds. For each feature the tree search runs first, on the same
records, and only its attempts are counted; so features stay independent of one another and of other runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from featureinterp.core import Attempt, ExplainerResult, simulated
from featureinterp.explainer.search import all_scored, by_valid_score, proposed
from featureinterp.explainer.tree import TreeExplainer
from featureinterp.record import ActivationRecord


class BestOfNExplainer(TreeExplainer):
    """Chooses among first proposals, as many as the tree search with the same knobs makes attempts."""

    async def generate_explanations(
        self,
        train_records: Sequence[ActivationRecord],
        valid_records: Sequence[ActivationRecord],
        num_samples: int = 1,
    ) -> ExplainerResult:
        """Return the `num_samples` best first proposals by valid score, and every first proposal."""
        searched = await super().generate_explanations(train_records, valid_records)
        n = n_first_proposals(searched.trace)
        proposals = await proposed(self.proposer.propose(train_records, n), n)
        attempts = [Attempt(i, None, 0, proposal) for i, proposal in enumerate(proposals)]
        attempts = await all_scored(attempts, self.simulator_factory, train_records, valid_records)
        return ExplainerResult.of(attempts, by_valid_score(attempts)[:num_samples])


def n_first_proposals(trace: Sequence[Attempt]) -> int:
    """Return how many first proposals stand for the attempts of a search.

    An explanation that the search made twice counts once, and one that converged not at all: neither is simulated. The
    first proposals of the search are made again, so each of them that repeats another counts too.
    """
    roots = [attempt.explanation for attempt in trace if attempt.depth == 0 and attempt.explanation is not None]
    failures = sum(attempt.has_failed for attempt in trace)
    return len(simulated(trace)) + failures + len(roots) - len(set(roots))
