"""Contribution of each rule: score without it, windows explained by it alone, claimed tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featureinterp.core import Score, ScoredSequence, StructuredExplanation
from featureinterp.protocols import SimulatorFactory
from featureinterp.scoring import simulate_records
from featureinterp.scoring.difference import pooled_differences
from featureinterp.scoring.simulation import PooledSequences

ONLY_RULE = "it is the only rule"


@dataclass(frozen=True)
class RuleContribution:
    """Contribution of one rule on the test windows."""

    without: Mapping[str, Score]
    """Correlation of the explanation without this rule, by complementary source; undefined for an only rule."""
    lost: Mapping[str, Score]
    """Correlation of the whole explanation minus that, paired, by complementary source."""
    alone: tuple[int, ...]
    """Positives with an active token that this rule claims, and none that another does: their numbers
    (`dataset_index`), ascending."""
    claims: Mapping[int, tuple[int, ...]]
    """Tokens that this rule claims, whatever its strength above 0 (none at 0): their positions by the number of their
    window."""


def undefined_contributions(
    explanation: StructuredExplanation, sequences: Sequence[ScoredSequence], reason: str
) -> tuple[RuleContribution, ...]:
    """Return undefined contributions, with a reason."""
    sources = [pair.record.source.value for pair in sequences if pair.record.source is not None]
    undefined = dict.fromkeys(sources, Score.undefined(reason))
    return (RuleContribution(undefined, undefined, (), {}),) * len(explanation.rules)


async def rule_contributions(
    explanation: StructuredExplanation,
    simulator_factory: SimulatorFactory,
    sequences: Sequence[ScoredSequence],
    ours: PooledSequences,
) -> tuple[RuleContribution, ...]:
    """Return the contribution of each rule, in order.

    Args:
        explanation: the whole.
        simulator_factory: made the simulator of `sequences`; one that remembers rules computes nothing here.
        sequences: test windows with what the whole explanation expects of them.
        ours: the same, pooled.
    """
    records = [pair.record for pair in sequences]
    sources = [record.source.value for record in records if record.source is not None]
    contributions = []
    for position, rule in enumerate(explanation.rules):
        words = StructuredExplanation.from_text(rule.activates_on)
        own = await simulate_records(simulator_factory(words), records)
        others = explanation.rules[:position] + explanation.rules[position + 1 :]
        rest = None
        without = lost = dict.fromkeys(sources, Score.undefined(ONLY_RULE))
        if others:
            rest = await simulate_records(simulator_factory(StructuredExplanation(others)), records)
            without_rule = ours.resimulated(rest)
            without = without_rule.correlations(intervals=False)
            lost = pooled_differences(ours, without_rule)
        claims = _claims(own) if rule.strength > 0 else {}
        contributions.append(RuleContribution(without, lost, _explained_alone(sequences, rest), claims))
    return tuple(contributions)


def _explained_alone(whole: Sequence[ScoredSequence], rest: Sequence[ScoredSequence] | None) -> tuple[int, ...]:
    """Return the positives with active tokens claimed by the whole explanation, and none by the other rules."""
    others = rest or [None] * len(whole)
    return tuple(
        sorted({
            pair.record.dataset_index
            for pair, other in zip(whole, others, strict=True)
            if pair.record.source is None and _hits(pair) and not (other and _hits(other))
        })
    )  # fmt: skip


def _hits(pair: ScoredSequence) -> bool:
    tokens = zip(pair.record.expressions, pair.simulation.claims, strict=True)
    return any(truth > 0 and claimed for truth, claimed in tokens)


def _claims(sequences: Sequence[ScoredSequence]) -> dict[int, tuple[int, ...]]:
    claims = {}
    for pair in sequences:
        if places := tuple(position for position, claimed in enumerate(pair.simulation.claims) if claimed):
            claims[pair.record.dataset_index] = places
    return claims
