"""Views shared by terminal and pages: sentences with token errors, and rule contributions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from featureinterp.core import Rule, Score, ScoredSequence, SequenceSimulation, WorstRecord
from featureinterp.display import visible_token
from featureinterp.experiment.result import FeatureResult
from featureinterp.record import MAX_LEVEL, SOURCE_WORDS, ActivationRecord

Mark = Literal["", "miss", "alarm"]
"""miss: active but not claimed; alarm: claimed but silent."""

_LONG = 24
"""Length in characters from which a token may break over lines."""


@dataclass(frozen=True)
class TokenView:
    """One token for display."""

    lead: str
    """Spaces before the token, drawn plain so that lines break there."""
    text: str
    truth: float
    """True level, 0..5."""
    expected: float | None
    """Expected level, 0..5; None without a simulation."""
    mark: Mark = ""
    rules: tuple[int, ...] = ()
    """Numbers of the rules that claim the token."""
    cause: float | None = None
    """Holistic activation in fifths of the largest of any token; negative if the token lowers later activations,
    at least -5. None if not measured."""

    @property
    def true_level(self) -> int:
        """Height to draw, 0..5; an active token is never drawn as silent."""
        return max(1, _rounded(self.truth)) if self.truth > 0 else 0

    @property
    def expected_level(self) -> int:
        """Height to draw, 0..5."""
        return 0 if self.expected is None else _rounded(self.expected)

    @property
    def cause_level(self) -> int:
        """Tint to draw, 0..5; -1 if the token lowers later activations."""
        cause = self.cause or 0.0
        return -1 if cause < -0.5 else _rounded(cause)

    @property
    def numbers(self) -> str:
        """The activations and the holistic activation in words; empty if all round to 0."""
        cause = f"cause {self.cause:.1f}" if abs(self.cause or 0.0) >= 0.05 else ""
        if self.truth < 0.05 and (self.expected or 0.0) < 0.05:
            return cause
        expected = "" if self.expected is None else f"expected {self.expected:.1f}"
        return ", ".join(filter(None, (f"true {self.truth:.1f}", expected, cause)))

    @property
    def classes(self) -> str:
        """CSS classes; empty for an unmarked token."""
        levels = f"t{self.true_level} e{self.expected_level}" if self.true_level or self.expected_level else ""
        cause = {0: "", -1: "held"}.get(self.cause_level, f"c{self.cause_level}")
        long = "long" if len(self.text) > _LONG else ""
        return " ".join(filter(None, (levels, self.mark, long, cause, *(f"r{rule}" for rule in self.rules))))


@dataclass(frozen=True)
class SentenceView:
    """One window for display."""

    tokens: tuple[TokenView, ...]
    window: int
    source: str
    """Display name of its source."""
    squared_error: float | None
    """Sum over tokens of (expected − true)²; None without a simulation."""
    errors: tuple[str, ...]
    """Largest errors in words, largest first."""


def sentence_view(sequence: ScoredSequence, claims: TokenClaims | None = None) -> SentenceView:
    """Return the view of a scored window, with the rules that claim its tokens if known."""
    record, simulation = sequence.record, sequence.simulation
    of_rules = (claims or {}).get(record.dataset_index, {})
    return SentenceView(
        _tokens(record, simulation, of_rules), record.dataset_index, source_words(record), sequence.squared_error(),
        error_words(record, simulation),
    )  # fmt: skip


def record_view(record: ActivationRecord) -> SentenceView:
    """Return the view of a window without a simulation."""
    return SentenceView(_tokens(record, None), record.dataset_index, source_words(record), None, ())


def feedback_view(worst: WorstRecord) -> SentenceView:
    """Return the view of a train window as shown to a proposer."""
    record = worst.record
    tokens = _tokens(record, worst.simulation)
    errors = worst.errors or error_words(record, worst.simulation)
    return SentenceView(tokens, record.dataset_index, source_words(record), None, errors)


def source_words(record: ActivationRecord) -> str:
    """Return the display name of a record's source."""
    return "positives" if record.source is None else SOURCE_WORDS[record.source.value]


def mark_of(truth: float, claimed: bool) -> Mark:
    """Return the error mark of a token, if any.

    >>> mark_of(truth=2.0, claimed=False), mark_of(truth=0.0, claimed=True), mark_of(truth=2.0, claimed=True)
    ('miss', 'alarm', '')
    """
    if truth > 0:
        return "" if claimed else "miss"
    return "alarm" if claimed else ""


def error_words(record: ActivationRecord, simulation: SequenceSimulation, most: int = 3) -> tuple[str, ...]:
    """Describe a window's largest errors of at least one level, largest first."""
    truths = record.scaled_activations().tolist()
    tokens = zip(record.tokens, truths, simulation.expected_activations, simulation.claims, strict=True)
    errors = [(abs(e - t), position, token, t, e, c) for position, (token, t, e, c) in enumerate(tokens)]
    told = {"miss": "missed", "alarm": "false alarm on"}
    return tuple(
        f"{told.get(mark_of(t, claimed), 'too high on' if e > t else 'too low on')} “{visible_token(token)}” "
        f"(true {t:.1f}, expected {e:.1f})"
        for size, _, token, t, e, claimed in sorted(errors, key=lambda error: (-error[0], error[1]))[:most]
        if size >= 1
    )


def _tokens(
    record: ActivationRecord,
    simulation: SequenceSimulation | None,
    of_rules: Mapping[int, tuple[int, ...]] | None = None,
) -> tuple[TokenView, ...]:
    nothing = [None] * len(record.tokens)
    expected, claims = (simulation.expected_activations, simulation.claims) if simulation else (nothing, nothing)
    columns = (record.tokens, record.scaled_activations().tolist(), expected, claims, _causes(record))
    views = []
    for position, (token, truth, level, claimed, cause) in enumerate(zip(*columns, strict=True)):
        shown = visible_token(token)
        text = shown.lstrip(" ")
        mark = "" if claimed is None else mark_of(truth, claimed)
        rules = (of_rules or {}).get(position, ())
        views.append(TokenView(shown[: len(shown) - len(text)], text, truth, level, mark, rules, cause))
    return tuple(views)


def _causes(record: ActivationRecord) -> list[float | None]:
    """Return the holistic activation of each token, scaled to a maximum of 5; None if not measured."""
    most = record.max_holistic_expression
    if not record.holistic_expressions or not most > 0:
        return [None] * len(record.tokens)
    return [min(max(MAX_LEVEL * value / most, -MAX_LEVEL), MAX_LEVEL) for value in record.holistic_expressions]


def _rounded(level: float) -> int:
    return min(max(math.floor(level + 0.5), 0), MAX_LEVEL) if math.isfinite(level) else 0


TokenClaims = Mapping[int, Mapping[int, tuple[int, ...]]]
"""Numbers of the rules that claim a token, by window number and token position."""


@dataclass(frozen=True)
class RuleView:
    """One rule with its contribution."""

    number: int
    """Number of the rule, from 0."""
    rule: Rule
    n_claimed: int
    """Tokens claimed in the test windows, each window once."""
    n_active: int
    """Claimed tokens on which the feature is active."""
    n_windows: int
    """Windows with a claimed token."""
    without: Mapping[str, Score]
    """Correlation of the explanation without the rule, by source."""
    lost: Mapping[str, Score]
    """Loss of correlation without the rule, by source."""
    alone: tuple[int, ...]
    """Windows explained by this rule only."""


def rule_views(result: FeatureResult) -> list[RuleView]:
    """Return the rules with their contributions; empty if not measured."""
    if result.explanation is None or len(result.contributions) != len(result.explanation.rules):
        return []
    records = {pair.record.dataset_index: pair.record for pair in result.test_sequences}
    views = []
    for number, (rule, added) in enumerate(zip(result.explanation.rules, result.contributions, strict=True)):
        claimed = [
            records[window].expressions[at]
            for window, places in added.claims.items()
            if window in records
            for at in places
        ]
        views.append(
            RuleView(
                number, rule, len(claimed), sum(value > 0 for value in claimed), len(added.claims), added.without,
                added.lost, tuple(window for window in added.alone if window in records),
            )
        )  # fmt: skip
    return views


def token_claims(result: FeatureResult) -> TokenClaims:
    """Return the rules that claim each token of the test windows."""
    claims: defaultdict[int, defaultdict[int, tuple[int, ...]]] = defaultdict(lambda: defaultdict(tuple))
    for number, added in enumerate(result.contributions):
        for window, places in added.claims.items():
            for place in places:
                claims[window][place] += (number,)
    return claims
