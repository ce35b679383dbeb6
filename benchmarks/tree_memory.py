"""How much does remembering rules save in a tree search? `python -m benchmarks.tree_memory`.

Runs the tree explainer (3 roots, depth 3, width 3, branching 2) with a proposer whose revisions change one rule of
five, once with a factory that remembers and once with one that forgets after every simulation, and counts simulated
(rule, record) pairs. Exits with 1 where remembering saves less than a factor of 3, or changes the result.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

import numpy as np

from featureinterp.core import Attempt, ExplainerResult, Feedback, Proposal, Rule, StructuredExplanation
from featureinterp.explainer import TreeExplainer, TreeExplainerParams
from featureinterp.record import ActivationRecord
from featureinterp.simulator.lexical import EmbeddingMemory, LexicalLevels
from featureinterp.simulator.rules import RuleOnWindow, RuleSimulatorFactory

LEAST_RATIO = 3.0
WORDS = [f" w{i}" for i in range(60)]


class Counting(LexicalLevels):
    """The lexical simulator, counting (rule, record) pairs."""

    simulated = 0

    async def expected_levels(self, wanted: Sequence[RuleOnWindow]) -> list:
        """Return EV of each."""
        self.simulated += len(wanted)
        return await super().expected_levels(wanted)


class OneRuleAtATime:
    """Proposes five rules, one word each; a revision puts a word that is new in the place of one rule."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._fresh = [f"the token '{WORDS[i]}'" for i in self._rng.permutation(len(WORDS))]

    async def propose(self, train_records: Sequence[ActivationRecord], n: int) -> list[Proposal]:
        """Return `n` explanations of five rules."""
        del train_records
        return [Proposal(StructuredExplanation(tuple(self._rule() for _ in range(5)))) for _ in range(n)]

    async def revise(
        self, train_records: Sequence[ActivationRecord], attempt: Attempt, feedback: Feedback, n: int
    ) -> list[Proposal]:
        """Return `n` explanations that differ from the attempt's in one rule."""
        del train_records, feedback
        if attempt.explanation is None:
            return []
        children = []
        for _ in range(n):
            rules = list(attempt.explanation.rules)
            rules[int(self._rng.integers(5))] = self._rule()
            children.append(Proposal(StructuredExplanation(tuple(rules))))
        return children

    def _rule(self) -> Rule:
        return Rule(self._fresh.pop(), int(self._rng.integers(1, 6)))


def make_records(n: int, seed: int) -> list[ActivationRecord]:
    """Return windows of random words; the latent fires on the first 15 words of the list."""
    rng = np.random.default_rng(seed)
    records = []
    for i in range(n):
        drawn = rng.integers(len(WORDS), size=32)
        values = [float(5 - w % 5) if w < 15 else 0.0 for w in drawn]
        records.append(ActivationRecord(tuple(WORDS[w] for w in drawn), tuple(values), (), seed * n + i, 5.0))
    return records


def search(remember: bool, n: int, seed: int) -> tuple[int, ExplainerResult]:
    """Return how many pairs a search simulates, and what it finds."""
    levels = Counting(EmbeddingMemory())
    factory = RuleSimulatorFactory(levels)
    params = TreeExplainerParams(root_nodes=3, depth=3, width=3, branching_factor=2)
    make = factory if remember else lambda explanation: factory.fresh()(explanation)
    explainer = TreeExplainer("scripted", make, params, proposer=OneRuleAtATime(seed))
    result = asyncio.run(explainer.generate_explanations(make_records(n, 1), make_records(n, 2)))
    return levels.simulated, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=30, help="of train, and as many of valid")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    (few, found), (many, same) = (search(remember, args.records, args.seed) for remember in (True, False))
    ratio = many / few
    print(f"{len(found.trace)} attempts: {many} pairs without remembering, {few} with: {ratio:.2f}x fewer")
    return int(ratio < LEAST_RATIO or found != same)


if __name__ == "__main__":
    sys.exit(main())
