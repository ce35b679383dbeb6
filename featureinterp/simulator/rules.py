"""Simulation of structured explanations: the strongest applicable rule, each rule computed once.

expected(token) = max over rules of EV(words, token) · strength / 5
claimed(token) = any rule of a strength above 0 has EV(words, token) > 1

EV depends on a rule's words alone, so it is cached per (words, window): changing a strength, or one rule
of five, costs nothing for the rest. Concurrent requests of several explanations are computed together,
and once. A cache lives as long as its factory.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from featureinterp.core import CLAIMED_ABOVE, SequenceSimulation, StructuredExplanation
from featureinterp.errors import FeatureInterpError
from featureinterp.record import MAX_LEVEL


class RuleOnWindow(NamedTuple):
    """A rule's words and the tokens of a window."""

    words: str
    tokens: tuple[str, ...]


Outcome = NDArray[np.float64] | FeatureInterpError
"""EV of a rule's words on a window, levels 0..5, float64 [tokens]; or the error of its computation."""


_Pair = tuple[str, int]
"""A rule's words and the number of a window."""

_Batch = asyncio.Task[dict[_Pair, Outcome]]


class RuleLevels(Protocol):
    """Interface: EV of rules on windows."""

    async def expected_levels(self, wanted: Sequence[RuleOnWindow]) -> Sequence[Outcome]:
        """Return one outcome for each, in order; an error affects only its own item.

        Raises:
            FeatureInterpError: if no outcome can be computed.
        """
        ...


class RuleMemory:
    """Cache of EV(words, window) with a count of computations; errors are not cached."""

    def __init__(self, levels: RuleLevels) -> None:
        self._levels = levels
        self._windows: dict[tuple[str, ...], int] = {}
        self._known: defaultdict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)
        self._coming: dict[_Pair, _Batch] = {}
        self._waiting: Counter[_Batch] = Counter()
        self._batch: dict[_Pair, RuleOnWindow] | None = None
        self._task: _Batch | None = None
        self.computed = 0
        """Number of (words, window) pairs computed so far."""

    async def expected(
        self, rules: Sequence[str], windows: Sequence[tuple[str, ...]]
    ) -> list[list[NDArray[np.float64]]]:
        """Return EV of each rule's words on each window, float64 [tokens], computing missing ones.

        Raises:
            FeatureInterpError: if one of them cannot be computed.
        """
        numbers = [self._windows.setdefault(tokens, len(self._windows)) for tokens in windows]
        known = [self._known[words] for words in rules]
        coming = {
            (words, number): self._ask((words, number), tokens)
            for words, levels in zip(rules, known, strict=True)
            for number, tokens in zip(numbers, windows, strict=True)
            if number not in levels
        }
        batches = list(dict.fromkeys(coming.values()))
        with self._wanted_by_one_more(batches):
            outcomes = {batch: await asyncio.shield(batch) for batch in batches}
            for pair, batch in coming.items():
                outcome = outcomes[batch][pair]
                if isinstance(outcome, FeatureInterpError):
                    raise outcome
        return [[levels[number] for number in numbers] for levels in known]

    @contextmanager
    def _wanted_by_one_more(self, tasks: Collection[_Batch]) -> Iterator[None]:
        """Share a batch among waiting tasks; cancelled only with the last of them."""
        self._waiting.update(tasks)
        cancelled = False
        try:
            yield
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            self._waiting.subtract(tasks)
            for task in tasks:
                if not self._waiting[task]:
                    del self._waiting[task]
                    if cancelled:
                        self._give_up(task)

    def _give_up(self, task: _Batch) -> None:
        """Cancel a batch without waiting tasks; later requests start a new one."""
        task.cancel()
        if self._task is task:
            self._batch = None
        self._coming = {each: other for each, other in self._coming.items() if other is not task}

    def _ask(self, pair: _Pair, tokens: tuple[str, ...]) -> _Batch:
        """Return the batch of a request; requests within one event loop turn share one."""
        if pair not in self._coming:
            if self._batch is None or self._task is None:
                self._batch = {}
                self._task = asyncio.create_task(self._compute(self._batch))
                self._task.add_done_callback(partial(self._forget, self._batch))
            self._batch[pair] = RuleOnWindow(pair[0], tokens)
            self._coming[pair] = self._task
        return self._coming[pair]

    async def _compute(self, batch: dict[_Pair, RuleOnWindow]) -> dict[_Pair, Outcome]:
        self._batch = None
        outcomes = dict(zip(batch, await self._levels.expected_levels(list(batch.values())), strict=True))
        for (words, number), levels in outcomes.items():
            if isinstance(levels, np.ndarray):
                self._known[words][number] = levels
        self.computed += len(batch)
        return outcomes

    def _forget(self, batch: dict[_Pair, RuleOnWindow], task: _Batch) -> None:
        """Remove a finished or cancelled batch."""
        if self._batch is batch:
            self._batch = None
        for pair in batch:
            if self._coming.get(pair) is task:
                del self._coming[pair]


def strongest(
    explanation: StructuredExplanation, levels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Combine what each rule expects.

    Args:
        explanation: the rules.
        levels: EV of each rule's words, before its strength is applied [rules, ...].

    Returns:
        The expected level, 0..5, and whether any rule claims it, both [...]. A rule of strength 0 denies that the
        feature fires: it claims nothing.
    """
    strengths = np.array([rule.strength / MAX_LEVEL for rule in explanation.rules])
    scaled = levels * strengths.reshape(-1, *(1,) * (levels.ndim - 1))
    return scaled.max(axis=0, initial=0.0), np.any(levels[strengths > 0] > CLAIMED_ABOVE, axis=0)


class RuleSimulator:
    """Simulator of one explanation: the maximum over its rules."""

    def __init__(self, explanation: StructuredExplanation, memory: RuleMemory) -> None:
        self.explanation = explanation
        self._memory = memory

    async def simulate(self, token_sequences: Sequence[Sequence[str]]) -> list[SequenceSimulation]:
        """Return the expected level (0..5) of every token of every sequence, in order, and whether it is claimed.

        Raises:
            FeatureInterpError: if a rule cannot be simulated on one of the sequences.
        """
        windows = [tuple(tokens) for tokens in token_sequences]
        if not windows:
            return []
        expected = await self._memory.expected([rule.activates_on for rule in self.explanation.rules], windows)
        by_rule = np.stack([np.concatenate(of_windows) for of_windows in expected])
        expected_levels, claims = strongest(self.explanation, by_rule)
        claimed: list[bool] = claims.tolist()
        ends = list(accumulate(map(len, windows)))
        return [
            SequenceSimulation.of_levels(tokens, expected_levels[start:end], tuple(claimed[start:end]))
            for tokens, start, end in zip(windows, [0, *ends], ends, strict=False)
        ]


class RuleSimulatorFactory:
    """Factory of simulators with a shared cache."""

    def __init__(self, levels: RuleLevels) -> None:
        self.levels = levels
        self.memory = RuleMemory(levels)

    def __call__(self, explanation: StructuredExplanation) -> RuleSimulator:
        """Make the simulator of one explanation."""
        return RuleSimulator(explanation, self.memory)

    def fresh(self) -> RuleSimulatorFactory:
        """Return a factory with the same model and an empty cache."""
        return RuleSimulatorFactory(self.levels)
