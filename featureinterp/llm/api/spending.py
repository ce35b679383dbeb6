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
    """Price; None if the cost is known only after the answer."""


@dataclass(frozen=True)
class RunLimits:
    """Limits of a run over all its models; None for no limit.

    No request is sent once a limit is reached, nor while it and the pending ones together may exceed the limit.
    So only the last answer can exceed a limit: by less than one answer (per worker, if several share
    the limit).
    """

    max_cost: float | None = None
    """Cost limit of the run for language models, in US dollars."""
    max_tokens: int | None = None
    """Token budget of the run (input + output)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise InputError(f"{field.name} is {value}", "expected a number above 0, or none for no limit")


@dataclass(frozen=True)
class _Reserve:
    """Reservation for a pending request."""

    tokens: int
    cost: float


@dataclass
class _Seen:
    """Usage of a model's answers so far, as bounds for later ones."""

    tokens: int = 0
    """Tokens of the largest answer with its request."""
    cost: float = 0.0
    """Cost of the most expensive answer in US dollars."""
    per_input: float = math.inf
    """Upper bound of US dollars per input token, from the total cost of an answer."""
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
            limits: limits of the run; none by default.
            spent: earlier spending; nothing by default.
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

        It is sent if it fits the limits together with all pending ones, or alone. Otherwise it waits for one of them.
        The first request to a model of unknown price is sent alone.

        Args:
            model: name of the model; several may share the budget.
            most: maximum usage of the request.

        Raises:
            BudgetExceededError: as `check`, at once or after a wait.
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
            BudgetExceededError: if a limit is reached, or cannot be enforced because costs are not reported.
        """
        hint = "raise it and repeat the command: cached answers are reused"
        limits, spent = self.limits, self.spent
        tokens = spent.input_tokens + spent.output_tokens
        if limits.max_tokens is not None and tokens >= limits.max_tokens:
            told = (
                f"{tokens} are used"
                if not spent.estimated
                else f"at most {tokens} are used, estimated from the length of the texts"
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
                f"the limit of ${limits.max_cost:g} cannot be enforced: the endpoint reports no cost",
                "limit the tokens; in Python, set a price per million tokens",
            )


class LanguageModel(ChatModel, PromptModel, Protocol):
    """Answers conversations and reads prompts."""


class Meter:
    """Usage of one feature over all its language models."""

    def __init__(self) -> None:
        self.usage = Usage()
        """Usage of all answers so far; cached answers count with their original usage."""
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
