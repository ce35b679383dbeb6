"""Client of a language model endpoint: every paid answer is stored, none is requested twice.

    request ──stored?──▶ answer
       └─ no ─▶ may it go out? ─▶ endpoint ─▶ answer ─▶ ledger ─▶ answer
                (limits, circuit)     └─ fault: wait and again, or an error

Each sample is a separate request, since many endpoints ignore `n`; its number is its seed if seeds are supported.
A request runs in a separate task: if its caller ends or is cancelled, a pending answer is still stored, and
unsent requests are dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, TypeVar

from featureinterp.chat import ChatAnswer, ChatRequest, PromptReading, PromptRequest
from featureinterp.errors import BudgetExceededError, EndpointConfigError, EndpointUnavailableError, InputError
from featureinterp.llm.api import wire
from featureinterp.llm.api.billing import most_of, read_bill
from featureinterp.llm.api.connection import ChatParams, Connection
from featureinterp.llm.api.faults import Fault, FaultKind, backoff
from featureinterp.llm.api.habits import Form, asked_otherwise, told
from featureinterp.llm.api.ledger import DEFAULT_PATH, Ledger
from featureinterp.llm.api.providers import BASE_URL_NAME, Endpoint, find_key, parse_model_name, setting
from featureinterp.llm.api.spending import Budget, Most

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer", ChatAnswer, PromptReading)


def open_chat_model(
    name: str,
    *,
    base_url: str = "",
    ledger: Path = DEFAULT_PATH,
    params: ChatParams | None = None,
    budget: Budget | None = None,
) -> ChatClient:
    """Open a language model by name; a context manager that finishes and stores pending requests.

    Nothing is sent, and no key is needed, before the first request without a cached answer.

    Args:
        name: `provider:model`, see `featureinterp.llm.api.providers`.
        base_url: base URL of `local`; by default from the environment or `.env`.
        ledger: file of the cached answers.
        params: request parameters.
        budget: limits, shared by all clients of a run; none by default.

    Raises:
        InputError: if the name or URL is invalid, or a limit of money cannot be enforced.
        DataFolderError, StorageError: if the ledger cannot be opened.
    """
    endpoint = parse_model_name(name, base_url or setting(BASE_URL_NAME))
    params, budget = params or ChatParams(), budget or Budget()
    provider = endpoint.provider
    if budget.limits.max_cost is not None and not (params.price or provider.tells_cost or provider.is_free):
        raise InputError(
            f"the limit of ${budget.limits.max_cost:g} cannot be enforced: {provider.name} reports no cost",
            "set a price per million tokens, or limit the tokens",
        )
    return ChatClient(endpoint, Ledger(ledger), params, budget)


class ChatClient:
    """A language model behind an endpoint (a `ChatModel` and a `PromptModel`); closes its ledger on exit."""

    def __init__(self, endpoint: Endpoint, ledger: Ledger, params: ChatParams, budget: Budget) -> None:
        self.endpoint = endpoint
        self.ledger = ledger
        self.budget = budget
        self._params = params
        self._asking: dict[tuple[bytes, int], asyncio.Task[Any]] = {}
        self._waiting: dict[asyncio.Task[Any], int] = {}
        """Number of callers waiting for each answer."""
        self._connection: Connection | None = None
        self._stays_open = False
        self._told: set[str] = set()
        self._form = Form.of(endpoint.provider)
        self._rng = Random()  # only spreads waits; results do not depend on it

    def __repr__(self) -> str:
        return f"ChatClient({self.name!r})"

    @property
    def name(self) -> str:
        """Provider and model."""
        return self.endpoint.name

    async def __aenter__(self) -> ChatClient:
        return self.held()

    def held(self) -> ChatClient:
        """Keep connections between requests, until `aclose`, and return the client itself."""
        self._stays_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Wait for pending answers, store them, and close the connections and the ledger.

        Requests that wait for another attempt are abandoned.
        """
        if self._connection is not None:
            self._connection.end(EndpointUnavailableError(f"{self.name} is closed", "open it again"))
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._stays_open = False
        await self._disconnect()
        self.ledger.close()

    async def answer(self, request: ChatRequest, n: int = 1, first: int = 0) -> list[ChatAnswer]:
        """Return `n` samples of an answer, numbered from `first`; as `ChatModel.answer`."""
        asked = wire.canonical(self.endpoint, request)

        def ask(sample: int) -> Coroutine[Any, Any, ChatAnswer]:
            return self._converse(request, sample)

        found: dict[int, ChatAnswer] = {}
        missing = []
        for sample in range(first, first + n):
            stored = self._stored(asked, sample, ChatAnswer)
            if stored is None:
                missing.append(sample)
            else:
                found[sample] = stored
        made = await asyncio.gather(*(self._once(asked, sample, ask) for sample in missing), return_exceptions=True)
        for sample, each in zip(missing, made, strict=True):  # all have ended: none is pending when an error is raised
            if isinstance(each, BaseException):
                raise each
            found[sample] = each
        return [found[sample] for sample in range(first, first + n)]

    async def read_prompt(self, request: PromptRequest) -> PromptReading:
        """Return the prompt's tokens with log probabilities; as `PromptModel.read_prompt`."""
        asked = wire.canonical(self.endpoint, request)

        def ask(_sample: int) -> Coroutine[Any, Any, PromptReading]:
            body = wire.prompt_body(self.endpoint, request)
            most = most_of(request, self._params.price)
            return self._ask(most, lambda: body, lambda text: wire.read_prompt(text, request))

        return self._stored(asked, 0, PromptReading) or await self._once(asked, 0, ask)

    def _stored(self, asked: bytes, sample: int, answer_type: type[Answer]) -> Answer | None:
        stored = self.ledger.get(asked, sample, answer_type)
        if stored is None and self._params.offline:
            raise EndpointConfigError(
                f"there is no cached answer of {self.name} to this request", "run it without --offline"
            )
        return None if stored is None else replace(stored, stored=True)

    async def _once(self, asked: bytes, sample: int, ask: Callable[[int], Coroutine[Any, Any, Answer]]) -> Answer:
        """Request an answer once for all concurrent callers."""

        async def ask_and_store() -> Answer:
            return self.ledger.put(asked, sample, await ask(sample))

        task = self._asking.get((asked, sample))
        if task is None or task.done():
            task = self._asking[asked, sample] = asyncio.create_task(ask_and_store())
            task.add_done_callback(lambda done: self._forget((asked, sample), done))
        self._waiting[task] = self._waiting.get(task, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            if task in self._waiting:
                self._waiting[task] -= 1
            await self._disconnect()

    def _forget(self, which: tuple[bytes, int], task: asyncio.Task[Any]) -> None:
        if self._asking.get(which) is task:
            del self._asking[which]
        self._waiting.pop(task, None)
        if not task.cancelled():
            task.exception()  # the waiting callers raise it

    async def _converse(self, request: ChatRequest, sample: int) -> ChatAnswer:
        """Request one sample, in the form accepted by the endpoint so far."""
        form = self._form

        def body() -> dict[str, Any]:
            nonlocal form
            form = replace(self._form, limit=form.limit)
            return wire.chat_body(self.endpoint, request, sample, form)

        def otherwise(fault: Fault) -> bool:
            nonlocal form
            other = asked_otherwise(form, fault, request, self.name)
            if other is None:
                return False
            known, self._form = self._form, self._form.and_of(other)
            if known != self._form:
                logger.warning("%s refuses %s", self.name, told(known, self._form))
            form = other
            return True

        most = most_of(request, self._params.price)
        return await self._ask(most, body, wire.read_chat, otherwise)

    async def _ask(
        self,
        most: Most,
        body: Callable[[], dict[str, Any]],
        read: Callable[[str], Answer | Fault],
        otherwise: Callable[[Fault], bool] | None = None,
    ) -> Answer:
        """Send one request until it is answered or no attempt is left.

        Args:
            most: maximum usage of an attempt.
            body: returns the JSON of the next attempt.
            read: parses an answer.
            otherwise: returns whether a fault changed the form of the body, in which case the attempt is not counted.
        """
        connection = self._connected()
        faults: list[FaultKind] = []
        while True:
            try:
                async with connection.places, self.budget.place(self.name, most):
                    self._check_wanted()
                    connection.check()
                    outcome = await connection.attempt(body())
                    outcome = outcome if isinstance(outcome, Fault) else self._paid(connection, outcome, most, read)
            except (BudgetExceededError, EndpointUnavailableError) as error:
                connection.end(error)
                raise
            if not isinstance(outcome, Fault):
                connection.answered()
                self._tell_other_model(outcome.model)
                return outcome
            if otherwise is not None and otherwise(outcome):
                continue
            faults.append(outcome.kind)
            await self._wait(connection, outcome, faults)

    def _paid(
        self, connection: Connection, text: str, most: Most, read: Callable[[str], Answer | Fault]
    ) -> Answer | Fault:
        """Parse an answer and record its cost, also for an unusable answer."""
        outcome, bill = read(text), read_bill(text)
        usage = bill.usage(self.endpoint, most, len(text.encode(errors="replace")))
        if not (isinstance(outcome, Fault) and bill.is_empty):
            self.budget.pay(usage, self.name)
        if isinstance(outcome, ChatAnswer):  # again, since the key may have been split over parts
            outcome = replace(outcome, text=connection.without_key(outcome.text))
        return outcome if isinstance(outcome, Fault) else replace(outcome, usage=usage)

    def _check_wanted(self) -> None:
        """Cancel an unsent request without waiting callers."""
        task = asyncio.current_task()
        if task in self._waiting and not self._waiting[task]:
            raise asyncio.CancelledError

    async def _wait(self, connection: Connection, fault: Fault, faults: Sequence[FaultKind]) -> None:
        """Wait before the next attempt, or raise the error of the last one; `faults` are those so far."""
        params, attempt = self._params, len(faults)
        connection.check_fault(fault, attempt, faults.count(fault.kind))
        delay = backoff(attempt - 1, params.backoff_seconds, params.longest_wait, self._rng)
        delay = max(delay, fault.retry_after or 0.0)
        logger.info(
            "%s %s; attempt %d of %d in %.1f s", self.name, fault.kind.value, attempt + 1, params.attempts, delay
        )
        self._check(connection)
        await connection.wait(delay)

    def _check(self, connection: Connection) -> None:
        """Raise if no further request may be sent; also ends other waiting requests."""
        connection.check()
        try:
            self.budget.check()
        except BudgetExceededError as error:
            connection.end(error)
            raise

    def _tell_other_model(self, answered: str) -> None:
        if answered not in self._told and wire.is_other_model(self.endpoint.model, answered):
            self._told.add(answered)
            logger.warning("requested %s, answered by %s", self.name, answered)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.endpoint, find_key(self.endpoint.provider), self._params)
        return self._connection

    async def _disconnect(self) -> None:
        """Close unused connections outside of a context (a notebook uses several event loops)."""
        if self._connection is not None and not self._stays_open and not self._asking:
            connection, self._connection = self._connection, None
            await connection.close()
