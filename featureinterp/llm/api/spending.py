"""What a run may spend on language models, what it has spent, and what each feature took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

from featureinterp.chat import ChatAnswer, ChatRequest, PromptReading, PromptRequest, Usage
from featureinterp.errors import BudgetError, InputError
from featureinterp.protocols import ChatModel, PromptModel


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, for endpoints that do not tell what an answer cost."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return the US dollars for so many tokens."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


@dataclass(frozen=True)
class RunLimits:
    """What a run may take, all its models together; None for no limit.

    No request goes out once a limit is reached. Requests on their way then are finished and stored, so a limit can
    be exceeded by as many answers as are asked for at once.
    """

    max_cost: float | None = None
    """US dollars."""
    max_tokens: int | None = None
    """Input and output together."""
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise InputError(f"{field.name} is {value}", "a number above 0 is wanted, or none for no limit")


class Budget:
    """Counts what a run pays for now, stored answers not included, and stops it at its limits."""

    def __init__(
        self, limits: RunLimits | None = None, spent: Usage | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to count, and the time to run.

        Args:
            limits: none by default.
            spent: what was paid for already; nothing by default.
            clock: seconds that only grow.
        """
        self.limits = limits or RunLimits()
        self.spent = spent or Usage()
        self._clock = clock
        self._started = clock()

    def pay(self, usage: Usage) -> None:
        """Add what an answer took."""
        self.spent += usage

    def check(self, wait: float = 0.0) -> None:
        """Say whether another request may go out in `wait` seconds.

        Raises:
            BudgetError: if a limit is reached, or cannot be kept because nobody says what answers cost.
        """
        hint = "raise it and give the same command again: what is stored is not asked again"
        limits, spent = self.limits, self.spent
        tokens = spent.input_tokens + spent.output_tokens
        if limits.max_tokens is not None and tokens >= limits.max_tokens:
            raise BudgetError(f"the limit of {limits.max_tokens} tokens is reached: {tokens} are used", hint)
        if limits.max_seconds is not None and self._clock() - self._started + wait >= limits.max_seconds:
            raise BudgetError(f"the limit of {limits.max_seconds:g} seconds is reached", hint)
        if limits.max_cost is None:
            return
        if spent.cost >= limits.max_cost:
            raise BudgetError(f"the limit of ${limits.max_cost:g} is reached: ${spent.cost:.4f} are spent", hint)
        if spent.unpriced:
            raise BudgetError(
                f"the limit of ${limits.max_cost:g} cannot be kept: the endpoint does not say what an answer costs",
                "give a price per million tokens",
            )


class LanguageModel(ChatModel, PromptModel, Protocol):
    """Answers conversations and reads prompts."""


class Meter:
    """Adds up what answers took: one for each feature, over all language models that it asks."""

    def __init__(self) -> None:
        self.usage = Usage()
        """What all answers so far took, stored ones as when they were asked for."""


class MeteredModel:
    """A language model whose answers a meter adds up; many features share the client below it."""

    def __init__(self, model: LanguageModel, meter: Meter | None = None) -> None:
        self._model = model
        self.meter = meter or Meter()

    @property
    def name(self) -> str:
        """Provider and model."""
        return self._model.name

    async def answer(self, request: ChatRequest, n: int = 1, first: int = 0) -> list[ChatAnswer]:
        """Return `n` samples of an answer, numbered from `first`; as `ChatModel.answer`."""
        answers = await self._model.answer(request, n, first)
        for answer in answers:
            self.meter.usage += answer.usage
        return answers

    async def read_prompt(self, request: PromptRequest) -> PromptReading:
        """Return the prompt's tokens with what the model expected; as `PromptModel.read_prompt`."""
        reading = await self._model.read_prompt(request)
        self.meter.usage += reading.usage
        return reading
