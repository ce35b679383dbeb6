"""Test sentences as they are shown: token by token, the true activation beside the expected one, errors in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from featureinterp.core import ScoredSequence, WorstRecord
from featureinterp.display import visible_token
from featureinterp.record import MAX_LEVEL, ActivationRecord, ComplementaryRecordSource
from featureinterp.scoring.simulation import ACTIVE_ABOVE

Mark = Literal["", "miss", "alarm"]
"""miss: active but not expected to be; alarm: expected to be active but silent. The bounds are the scores'."""

SOURCE_WORDS: dict[str, str] = {
    ComplementaryRecordSource.SIMILAR_NEGATIVE.value: "similar, feature silent",
    ComplementaryRecordSource.SIMILAR.value: "similar",
    ComplementaryRecordSource.RANDOM_NEGATIVE.value: "random, feature silent",
    ComplementaryRecordSource.RANDOM.value: "random",
    ComplementaryRecordSource.SIMILAR_NEGATIVE_PROJECTED.value: "similar after projection, feature silent",
    ComplementaryRecordSource.SIMILAR_PROJECTED.value: "similar after projection",
    ComplementaryRecordSource.OTHER.value: "of one's own choosing",
}
"""Complementary sources as a reader meets them, the hardest first."""

MAIN_SOURCE = ComplementaryRecordSource.SIMILAR_NEGATIVE.value
"""The source a feature is judged by first."""

FLOOR_WORDS: dict[str, str] = {"token_lookup": "token lookup", "shuffled": "another feature's words"}


@dataclass(frozen=True)
class TokenView:
    """One token, ready to be drawn."""

    lead: str
    """Spaces before it, drawn plain so that lines break there."""
    text: str
    truth: float
    """0..5."""
    expected: float | None
    """0..5; None where nothing was simulated."""
    mark: Mark = ""

    @property
    def true_level(self) -> int:
        """Height to draw, 0..5; an active token is never drawn as silent."""
        return max(1, _rounded(self.truth)) if self.truth > 0 else 0

    @property
    def expected_level(self) -> int:
        """Height to draw, 0..5."""
        return 0 if self.expected is None else _rounded(self.expected)

    @property
    def numbers(self) -> str:
        """Both activations in words; empty where both round to nothing."""
        if self.truth < 0.05 and (self.expected or 0.0) < 0.05:
            return ""
        expected = "" if self.expected is None else f", expected {self.expected:.1f}"
        return f"true {self.truth:.1f}{expected}"


@dataclass(frozen=True)
class SentenceView:
    """One window, ready to be drawn."""

    tokens: tuple[TokenView, ...]
    window: int
    source: str
    """Which list it is from, in words."""
    squared_error: float | None
    """Sum over tokens of (expected − true)²; None where nothing was simulated."""
    errors: tuple[str, ...]
    """Its largest errors in words, the largest first."""


def sentence_view(sequence: ScoredSequence) -> SentenceView:
    """Return a scored window, ready to be drawn."""
    record, expected = sequence.record, sequence.simulation.expected_activations
    return SentenceView(
        _tokens(record, expected), record.dataset_index, source_words(record), sequence.squared_error(),
        error_words(record, expected),
    )  # fmt: skip


def record_view(record: ActivationRecord) -> SentenceView:
    """Return a window that nothing was simulated on, ready to be drawn."""
    return SentenceView(_tokens(record, None), record.dataset_index, source_words(record), None, ())


def feedback_view(worst: WorstRecord) -> SentenceView:
    """Return what a proposer was shown of a train window, ready to be drawn."""
    record = worst.record
    tokens = _tokens(record, worst.expected_activations)
    errors = worst.errors or error_words(record, worst.expected_activations)
    return SentenceView(tokens, record.dataset_index, source_words(record), None, errors)


def source_words(record: ActivationRecord) -> str:
    """Say in words which list a record was taken from."""
    return "feature active" if record.source is None else SOURCE_WORDS[record.source.value]


def mark_of(truth: float, expected: float) -> Mark:
    """Say how a token is missed, if it is.

    >>> mark_of(truth=2.0, expected=0.3), mark_of(truth=0.0, expected=3.0), mark_of(truth=2.0, expected=4.0)
    ('miss', 'alarm', '')
    """
    if truth > 0 and expected <= ACTIVE_ABOVE:
        return "miss"
    return "alarm" if truth <= 0 and expected > ACTIVE_ABOVE else ""


def error_words(record: ActivationRecord, expected: Sequence[float], most: int = 3) -> tuple[str, ...]:
    """Tell a window's largest errors of at least one level in words, the largest first."""
    errors = [
        (abs(e - t), position, token, float(t), e)
        for position, (token, t, e) in enumerate(zip(record.tokens, record.scaled_activations(), expected, strict=True))
        if abs(e - t) >= 1
    ]
    told = {"miss": "missed", "alarm": "false alarm on"}
    return tuple(
        f"{told.get(mark_of(t, e), 'too high on' if e > t else 'too low on')} “{visible_token(token)}” "
        f"(true {t:.1f}, expected {e:.1f})"
        for _, _, token, t, e in sorted(errors, key=lambda error: (-error[0], error[1]))[:most]
    )


def _tokens(record: ActivationRecord, expected: Sequence[float] | None) -> tuple[TokenView, ...]:
    levels = [None] * len(record.tokens) if expected is None else expected
    return tuple(
        _token(token, float(truth), level)
        for token, truth, level in zip(record.tokens, record.scaled_activations(), levels, strict=True)
    )


def _token(token: str, truth: float, expected: float | None) -> TokenView:
    shown = visible_token(token)
    text = shown.lstrip(" ")
    mark = "" if expected is None else mark_of(truth, expected)
    return TokenView(shown[: len(shown) - len(text)], text, truth, expected, mark)


def _rounded(level: float) -> int:
    return min(max(math.floor(level + 0.5), 0), MAX_LEVEL) if math.isfinite(level) else 0
