"""The proposer without a language model: mines rules from the train records and writes them in plain English.

A first proposal adds the best rule repeatedly until no rule is worth its price or the cap is reached; further ones do
so at other prices, without contexts, or from another first rule on. A
revision considers one rule at a time with the others fixed, and replaces it by a better one, drops it, or
adds one. Both minimise the squared error of the simulation that scores them, with a cost per rule
and per quoted string that excludes chance words.

Instead of rules with strengths it can write one sentence, which joins phrases by "; or ". A sentence has no
strengths: its phrases are mined as rules of one common strength, the best-fitting one, which is then omitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from featureinterp.core import Attempt, Feedback, Proposal, Rule, StructuredExplanation
from featureinterp.errors import ExplanationError, check_numbers
from featureinterp.explainer.lexical.evidence import Evidence, check_causes
from featureinterp.explainer.lexical.mining import MinedRule, Miner, MiningParams
from featureinterp.explainer.params import OneShotExplainerParams
from featureinterp.phrases import parse, parse_sentence, render, render_sentence
from featureinterp.record import ActivationRecord
from featureinterp.simulator.lexical import EmbeddingMemory

PRICE_FACTORS = (1.0, 3.0, 0.3)
"""Multipliers of the prices in the first proposals, so that they differ in length."""

_NO_RULE = Proposal(None, failure="no rule is worth its words")
_NO_OTHER = Proposal(None, converged="no other first rules are worth their words")


@dataclass(frozen=True)
class LexicalProposerParams:
    """Knobs of the lexical proposer."""

    rule_cap: int = OneShotExplainerParams.rule_cap
    """Maximum number of rules, or of phrases of a sentence."""
    structured: bool = OneShotExplainerParams.structured_explanations
    """Rules with strengths (True) or one sentence (False)."""
    mining: MiningParams = field(default_factory=MiningParams)
    edits_per_revision: int = 2
    """Maximum number of single-rule changes of a revision."""
    alternatives: int = 3
    """Number of the best new rules tried for each position."""

    def __post_init__(self) -> None:
        check_numbers(self, rule_cap=(1, math.inf), edits_per_revision=(1, math.inf), alternatives=(1, math.inf))

    @classmethod
    def of(cls, params: OneShotExplainerParams) -> LexicalProposerParams:
        """Return this proposer's parameters from an explainer's."""
        mining = MiningParams(causes=params.include_holistic_expressions)
        return cls(params.rule_cap, params.structured_explanations, mining)


class LexicalProposer:
    """Proposes and revises explanations in the lexical grammar; the same records give the same proposals."""

    Params = LexicalProposerParams

    def __init__(self, params: LexicalProposerParams | None = None, embeddings: EmbeddingMemory | None = None) -> None:
        self.params = params or LexicalProposerParams()
        self._embeddings = embeddings or EmbeddingMemory()
        self._mined: tuple[tuple[ActivationRecord, ...], Miner] | None = None

    async def propose(self, train_records: Sequence[ActivationRecord], n: int) -> list[Proposal]:
        """Return `n` proposals: one at each price, then others that all differ.

        Raises:
            InputError: if activation-causing tokens are needed and no record has them.
        """
        miner = self._miner(train_records)
        if not miner.evidence.levels.any():
            return [Proposal(None, failure="the feature is silent on all train records")] * n
        proposals: list[Proposal] = []
        for rules in self._first_rules(miner):
            if len(proposals) == n:
                break
            proposal = Proposal(self._in_words(rules)) if rules else _NO_RULE
            if len(proposals) < len(PRICE_FACTORS) or (rules and proposal not in proposals):
                proposals.append(proposal)
        nothing_more = _NO_OTHER if any(proposal.explanation for proposal in proposals) else _NO_RULE
        return proposals + [nothing_more] * (n - len(proposals))

    def _first_rules(self, miner: Miner) -> Iterator[list[MinedRule]]:
        """Yield lists of rules: the best at each price, then without contexts, then begun with the next best rules."""
        priced = [miner.priced(self.params.mining.scaled(factor)) for factor in PRICE_FACTORS]
        for contexts in (True, False):
            for each in priced:
                yield self._greedy(each, [], contexts=contexts)
        first = [each.rules([]) for each in priced]
        for place in range(1, max(map(len, first))):
            for each, rules in zip(priced, first, strict=True):
                if place < len(rules):
                    yield self._greedy(each, [rules[place]])

    def _greedy(self, miner: Miner, begun: Sequence[MinedRule], *, contexts: bool = True) -> list[MinedRule]:
        """Add the best rule to those begun with until none is worth its price or the cap is reached."""
        rules = list(begun)
        if rules and not self.params.structured:
            miner = miner.at_strength(rules[0].strength)
        while len(rules) < self.params.rule_cap and (found := miner.rules(rules, contexts=contexts, most=1)):
            rules.append(found[0])
            if not self.params.structured:
                miner = miner.at_strength(found[0].strength)
        return rules

    async def revise(
        self, train_records: Sequence[ActivationRecord], attempt: Attempt, feedback: Feedback, n: int
    ) -> list[Proposal]:
        """Return `n` revisions that start from the `n` most saving changes of one rule."""
        del feedback  # the feedback repeats in words what is in the records
        if attempt.explanation is None:
            return [Proposal(None, failure="there is nothing to revise")] * n
        miner = self._miner(train_records)
        try:
            rules = self._read(attempt.explanation, miner)
        except ExplanationError as error:
            return [Proposal(None, failure=f"not a lexical explanation: {error.problem}")] * n
        if not self.params.structured:
            miner = miner.at_strength(rules[0].strength)
        proposals: list[Proposal] = []
        for changed, words in self._edits(miner, rules)[:n]:
            told = [words]
            while len(told) < self.params.edits_per_revision and (more := self._edits(miner, changed)):
                changed, words = more[0]
                told.append(words)
            proposals.append(Proposal(self._in_words(changed), improvement="; ".join(told)))
        other = "other " if proposals else ""
        converged = Proposal(None, converged=f"no {other}change of one rule lowers the error")
        return proposals + [converged] * (n - len(proposals))

    def _edits(self, miner: Miner, rules: list[MinedRule]) -> list[tuple[list[MinedRule], str]]:
        """Return better rule lists one edit away, best first, each with the edit in words."""
        now = miner.cost(rules)
        edits: list[tuple[float, list[MinedRule], str]] = []
        for i in range(len(rules) + (len(rules) < self.params.rule_cap)):
            others = rules[:i] + rules[i + 1 :]
            old = f"rule {i + 1}" if i < len(rules) else ""
            if old and others:
                edits.append((miner.cost(others), others, f"drop {old}"))
            for rule in miner.rules(others, most=self.params.alternatives):
                edited = [*rules[:i], rule, *rules[i + 1 :]]
                words = render(rule.phrase) + (f" ({rule.strength})" if self.params.structured else "")
                edits.append((miner.cost(edited), edited, f"change {old} to: {words}" if old else f"add: {words}"))
        better = sorted((edit for edit in edits if edit[0] < now - 1e-9), key=lambda edit: edit[0])
        return [(edited, f"{told}, saving {now - cost:.1f}") for cost, edited, told in better]

    def _in_words(self, rules: Sequence[MinedRule]) -> StructuredExplanation:
        """Write mined rules as an explanation: rules, strongest first, or a sentence."""
        if not self.params.structured:
            return StructuredExplanation.from_text(render_sentence([rule.phrase for rule in rules]))
        ordered = sorted(rules, key=lambda rule: -rule.strength)
        return StructuredExplanation(tuple(Rule(render(rule.phrase), rule.strength) for rule in ordered))

    def _read(self, explanation: StructuredExplanation, miner: Miner) -> list[MinedRule]:
        """Read what `_in_words` wrote; the phrases of a sentence get the common strength that fits best.

        Raises:
            ExplanationError: if it is something else.
        """
        if self.params.structured:
            return [MinedRule(parse(rule.activates_on), rule.strength) for rule in explanation.rules]
        phrases = [phrase for rule in explanation.rules for phrase in parse_sentence(rule.activates_on)]
        common = [[MinedRule(phrase, strength) for phrase in phrases] for strength in miner.params.strengths]
        return min(common, key=miner.cost)

    def _miner(self, train_records: Sequence[ActivationRecord]) -> Miner:
        """Return the miner of these records, cached for repeated calls with the same records."""
        records = tuple(train_records)
        if self._mined is None or self._mined[0] != records:
            if self.params.mining.causes:
                check_causes([record for record in records if record.is_active])
            self._mined = records, Miner(Evidence(records, self._embeddings.likeness), self.params.mining)
        return self._mined[1]
