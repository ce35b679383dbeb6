"""Limits, spending and per-feature usage of language models."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields
from typing import Protocol

from featureinterp.chat import ChatAnswer, ChatRequest, PromptReading, PromptRequest, Usage
from featureinterp.errors import BudgetExceededError, ChatError, InputError
from featureinterp.llm.api.thoughts import has_begun
from featureinterp.protocols import ChatModel, PromptModel


@dataclass(frozen=True)
class Price:
    """Price in US dollars per million tokens, for endpoints that do not report costs."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        """Return the cost in US dollars."""
        return (self.input * input_tokens + self.output * output_tokens) / 1e6


@dataclass(frozen=True)
class Most:
    """Maximum usage of one request."""

    input_tokens: int
    output_tokens: int
    price: Price | None = None
    """None where its cost is known only when it is answered."""


@dataclass(frozen=True)
class RunLimits:
    """Limits of a run over all its models; None for no limit.

    No request goes out once a limit is reached, nor beside others on their way where all of them together may pass it.
    So the last answer alone can pass a limit: it is exceeded by less than one answer (per worker, where several share
    it out).
    """

    max_cost: float | None = None
    """US dollars."""
    max_tokens: int | None = None
    """Input and output together."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise InputError(f"{field.name} is {value}", "a number above 0 is wanted, or none for no limit")


@dataclass(frozen=True)
class _Reserve:
    """Reservation for a pending request."""

    tokens: int
    cost: float


@dataclass
class _Seen:
    """Usage of a model's answers so far, as bounds for later ones."""

    tokens: int = 0
    """Of the largest answer with its request."""
    cost: float = 0.0
    """Of the dearest answer."""
    per_input: float = math.inf
    """US dollars per token of input at most: the whole cost of some answer was for at least its input."""
    per_output: float = math.inf

    def add(self, usage: Usage) -> None:
        self.tokens = max(self.tokens, usage.input_tokens + usage.output_tokens)
        if usage.unpriced:
            return
        self.cost = max(self.cost, usage.cost)
        self.per_input = min(self.per_input, usage.cost / max(1, usage.input_tokens))
        self.per_output = min(self.per_output, usage.cost / max(1, usage.output_tokens))


class Budget:
    """Counter of a run's new spending (without cached answers); stops the run at its limits."""

    def __init__(self, limits: RunLimits | None = None, spent: Usage | None = None) -> None:
        """Start the counters.

        Args:
            limits: none by default.
            spent: what was paid for already; nothing by default.
        """
        self.limits = limits or RunLimits()
        self.spent = spent or Usage()
        self._seen: dict[str, _Seen] = {}
        self._on_way: list[_Reserve] = []
        self._waiting: list[asyncio.Future[None]] = []

    def pay(self, usage: Usage, model: str = "") -> None:
        """Add the usage of an answer."""
        self.spent += usage
        self._seen.setdefault(model, _Seen()).add(usage)

    @asynccontextmanager
    async def place(self, model: str, most: Most) -> AsyncIterator[None]:
        """Reserve the maximum usage of a pending request; call `pay` inside the block.

        It goes out where it fits beside all others on their way, or alone. Otherwise it waits until one of them ends.
        The first request to a model of unknown price goes alone.

        Args:
            model: its name; several may share the budget.
            most: what the request can take.

        Raises:
            BudgetExceededError: as `check`, now or after a wait.
        """
        self.check()
        while self._on_way and not self._fits(self._reserve(model, most)):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            finally:
                self._waiting.remove(turn)
            self.check()
        reserve = self._reserve(model, most)
        self._on_way.append(reserve)
        try:
            yield
        finally:
            self._on_way.remove(reserve)
            for turn in self._waiting:
                if not turn.done():
                    turn.set_result(None)

    def _reserve(self, model: str, most: Most) -> _Reserve:
        """Return the reservation of a request: by its length and the known or highest seen price."""
        seen = self._seen.get(model, _Seen())
        if most.price is not None:
            cost = most.price.of(most.input_tokens, most.output_tokens)
        else:
            cost = seen.per_input * most.input_tokens + seen.per_output * most.output_tokens
        return _Reserve(max(most.input_tokens + most.output_tokens, seen.tokens), max(cost, seen.cost))

    def _fits(self, reserve: _Reserve) -> bool:
        """Return whether a request fits below the limits, together with pending ones."""
        limits, spent, all_of_them = self.limits, self.spent, [*self._on_way, reserve]
        cost = spent.cost + sum(each.cost for each in all_of_them)
        tokens = spent.input_tokens + spent.output_tokens + sum(each.tokens for each in all_of_them)
        return (limits.max_cost is None or cost <= limits.max_cost) and (
            limits.max_tokens is None or tokens <= limits.max_tokens
        )

    def check(self) -> None:
        """Check that another request may be sent.

        Raises:
            BudgetExceededError: if a limit is reached, or cannot be kept because nobody says what answers cost.
        """
        hint = "raise it and give the same command again: what is stored is not asked again"
        limits, spent = self.limits, self.spent
        tokens = spent.input_tokens + spent.output_tokens
        if limits.max_tokens is not None and tokens >= limits.max_tokens:
            told = (
                f"{tokens} are used" if not spent.estimated else f"at most {tokens} are used, as the texts' length says"
            )
            raise BudgetExceededError(f"the limit of {limits.max_tokens} tokens is reached: {told}", hint)
        if limits.max_cost is None:
            return
        if spent.cost >= limits.max_cost:
            raise BudgetExceededError(
                f"the limit of ${limits.max_cost:g} is reached: ${spent.cost:.4f} are spent", hint
            )
        if spent.unpriced:
            raise BudgetExceededError(
                f"the limit of ${limits.max_cost:g} cannot be kept: the endpoint does not say what an answer costs",
                "limit the tokens; in Python, give a price per million tokens",
            )


class LanguageModel(ChatModel, PromptModel, Protocol):
    """Answers conversations and reads prompts."""


class Meter:
    """Usage of one feature over all its language models."""

    def __init__(self) -> None:
        self.usage = Usage()
        """What all answers so far took, stored ones as when they were asked for."""
        self._refused: set[str] = set()
        self._answered: set[str] = set()

    @property
    def is_refused(self) -> bool:
        """Whether every request was rejected, or ran out of tokens before an answer."""
        return bool(self._refused - self._answered)

    def note(self, name: str, *, answered: bool) -> None:
        """Record an answered or rejected request."""
        (self._answered if answered else self._refused).add(name)


class MeteredModel:
    """A language model whose usage is metered per feature, over a shared client."""

    def __init__(self, model: LanguageModel, meter: Meter | None = None) -> None:
        self._model = model
        self.meter = meter or Meter()

    @property
    def name(self) -> str:
        """Provider and model."""
        return self._model.name

    async def answer(self, request: ChatRequest, n: int = 1, first: int = 0) -> list[ChatAnswer]:
        """Return `n` samples of an answer, numbered from `first`; as `ChatModel.answer`."""
        with self._noted():
            answers = await self._model.answer(request, n, first)
        for answer in answers:
            self.meter.usage += answer.usage
            self.meter.note(self.name, answered=has_begun(answer))
        return answers

    async def read_prompt(self, request: PromptRequest) -> PromptReading:
        """Return the prompt's tokens with log probabilities; as `PromptModel.read_prompt`."""
        with self._noted():
            reading = await self._model.read_prompt(request)
        self.meter.usage += reading.usage
        self.meter.note(self.name, answered=True)
        return reading

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except ChatError:
            self.meter.note(self.name, answered=False)
            raise
