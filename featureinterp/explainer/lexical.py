"""The proposer without a language model: mines rules from the train records and writes them in plain English.

A first proposal takes the best rule again and again until no rule is worth its words or the cap is reached. A
revision looks at one rule at a time with the others held fixed, and changes it for a better one, drops it, or
adds one. Both minimise the squared error of the very simulation that will judge them, with a cost per rule
and per quoted string that keeps chance words out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from featureinterp.core import Attempt, Feedback, Proposal, Rule, StructuredExplanation
from featureinterp.errors import ExplanationError
from featureinterp.explainer.evidence import Evidence
from featureinterp.explainer.mining import MinedRule, Miner, MiningParams, expected_levels
from featureinterp.explainer.one_shot import OneShotExplainerParams
from featureinterp.phrases import parse, render
from featureinterp.record import ActivationRecord
from featureinterp.simulator.lexical import EmbeddingMemory


@dataclass(frozen=True)
class LexicalProposerParams:
    """Knobs of the lexical proposer."""

    rule_cap: int = 5
    mining: MiningParams = field(default_factory=MiningParams)
    edits_per_revision: int = 2
    """How many rules one revision changes at most."""


class LexicalProposer:
    """Proposes and revises explanations in the lexical grammar; the same records give the same proposals."""

    def __init__(
        self, params: LexicalProposerParams | None = None, embeddings: EmbeddingMemory | None = None
    ) -> None:
        self.params = params or LexicalProposerParams()
        self._embeddings = embeddings or EmbeddingMemory()

    async def propose(self, train_records: Sequence[ActivationRecord], n: int) -> list[Proposal]:
        """Return `n` proposals; later ones are terser or wordier than the first."""
        evidence = Evidence(train_records, self._embeddings.likeness)
        if not evidence.levels.any():
            return [Proposal(None, failure="the feature is silent on all train records")] * n
        proposals = []
        for i in range(n):
            factor = (1.0, 0.3, 3.0)[i % 3]
            costs = replace(self.params.mining, string_cost=self.params.mining.string_cost * factor)
            rules = self._greedy(Miner(evidence, costs), contexts=i // 3 % 2 == 0)
            proposals.append(
                Proposal(explanation_of(rules)) if rules else Proposal(None, failure="no rule is worth its words")
            )
        return proposals

    def _greedy(self, miner: Miner, *, contexts: bool) -> list[MinedRule]:
        rules: list[MinedRule] = []
        while len(rules) < self.params.rule_cap:
            found = miner.rules(expected_levels(miner.evidence, rules), contexts=contexts)
            if not found:
                break
            rules.append(found[0])
        return rules

    async def revise(
        self, train_records: Sequence[ActivationRecord], attempt: Attempt, feedback: Feedback, n: int
    ) -> list[Proposal]:
        """Return `n` revisions that start from the `n` most saving changes of one rule."""
        del feedback  # it repeats in words what the records say in numbers
        if attempt.explanation is None:
            return [Proposal(None, failure="there is nothing to revise")] * n
        try:
            rules = [MinedRule(parse(rule.activates_on), rule.strength, 0.0) for rule in attempt.explanation.rules]
        except ExplanationError as error:
            return [Proposal(None, failure=f"not a lexical explanation: {error.problem}")] * n
        miner = Miner(Evidence(train_records, self._embeddings.likeness), self.params.mining)
        edits = self._edits(miner, rules)[:n]
        proposals = []
        for edited, words in edits:
            changed, told = edited, [words]
            for _ in range(self.params.edits_per_revision - 1):
                if not (more := self._edits(miner, changed)):
                    break
                changed, words = more[0]
                told.append(words)
            proposals.append(Proposal(explanation_of(changed), improvement="; ".join(told)))
        missing = n - len(proposals)
        return proposals + [Proposal(None, failure="no change of one rule lowers the error")] * missing

    def _edits(self, miner: Miner, rules: list[MinedRule]) -> list[tuple[list[MinedRule], str]]:
        """Return better rule lists one edit away, best first, each with the edit in words."""
        now = _cost(miner, rules)
        edits: list[tuple[float, list[MinedRule], str]] = []
        for i in range(len(rules) + (len(rules) < self.params.rule_cap)):
            others = rules[:i] + rules[i + 1 :]
            expected = expected_levels(miner.evidence, others)
            old = f"rule {i + 1}" if i < len(rules) else ""
            if old and others:
                edits.append((_cost(miner, others), others, f"drop {old}"))
            for rule in miner.rules(expected)[:3]:
                edited = [*rules[:i], rule, *rules[i + 1 :]]
                words = f"{render(rule.phrase)} ({rule.strength})"
                told = f"change {old} to: {words}" if old else f"add: {words}"
                edits.append((_cost(miner, edited), edited, told))
        better = sorted((edit for edit in edits if edit[0] < now - 1e-9), key=lambda edit: edit[0])
        return [(edited, f"{told}, saving {now - cost:.1f}") for cost, edited, told in better]


def make_lexical_proposer(params: OneShotExplainerParams) -> LexicalProposer:
    """Make the lexical proposer that an explainer with these parameters uses."""
    return LexicalProposer(LexicalProposerParams(rule_cap=params.rule_cap))


def _cost(miner: Miner, rules: Sequence[MinedRule]) -> float:
    """Squared error of the rules' simulation plus the price of their words."""
    error = float(((miner.evidence.levels - expected_levels(miner.evidence, rules)) ** 2).sum())
    strings = sum(rule.phrase.n_quoted for rule in rules)
    return error + miner.params.rule_cost * len(rules) + miner.params.string_cost * strings


def explanation_of(rules: Sequence[MinedRule]) -> StructuredExplanation:
    """Write mined rules in words, strongest first."""
    ordered = sorted(rules, key=lambda rule: -rule.strength)
    return StructuredExplanation(tuple(Rule(render(rule.phrase), rule.strength) for rule in ordered))
