"""A structured explanation's simulation: the strongest rule that applies, each rule computed once.

expected(token) = max over rules of EV(words, token) · strength / 5

EV depends on a rule's words alone, so it is remembered per (words, window): changing a strength, or one rule
of five, costs nothing for the rest. A memory lives as long as the factory that owns it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import SequenceSimulation, StructuredExplanation
from featureinterp.record import MAX_LEVEL

ExpectedLevels = Callable[[str, tuple[str, ...]], NDArray[np.float64]]
"""EV of a rule's words on one window: levels 0..5, float64 [tokens]."""


class RuleMemory:
    """Remembers EV(words, window), and counts what had to be computed."""

    def __init__(self, expected_levels: ExpectedLevels) -> None:
        self._expected_levels = expected_levels
        self._known: dict[tuple[str, tuple[str, ...]], NDArray[np.float64]] = {}

    @property
    def computed(self) -> int:
        """Number of (words, window) pairs computed so far."""
        return len(self._known)

    def expected(self, words: str, tokens: tuple[str, ...]) -> NDArray[np.float64]:
        """Return EV of the words on a window, float64 [tokens], computing it the first time only."""
        key = (words, tokens)
        if key not in self._known:
            self._known[key] = self._expected_levels(words, tokens)
        return self._known[key]


class RuleSimulator:
    """Simulates one explanation as the maximum over its rules."""

    def __init__(self, explanation: StructuredExplanation, memory: RuleMemory) -> None:
        self.explanation = explanation
        self._memory = memory

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        """Return the expected level (0..5) of every token of every sequence, in order."""
        return [self._simulate_one(tuple(tokens)) for tokens in token_sequences]

    def _simulate_one(self, tokens: tuple[str, ...]) -> SequenceSimulation:
        levels = np.zeros(len(tokens))
        for rule in self.explanation.rules:
            expected = self._memory.expected(rule.activates_on, tokens)
            levels = np.maximum(levels, expected * (rule.strength / MAX_LEVEL))
        return SequenceSimulation(tokens, tuple(levels.tolist()))
