"""The connections to one endpoint through the `openai` package, and the circuit that opens when it is down.

Retries are not made here and not by the package: an attempt is a body or a fault, whatever is thrown on the way. The
key is known to this module alone, and is cut out of all that a server says.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from featureinterp.errors import BudgetError, FeatureInterpError, InputError
from featureinterp.llm.api.faults import REMEDIES, Fault, FaultKind, fault_of_status
from featureinterp.llm.api.providers import Endpoint
from featureinterp.llm.api.spending import Price

POOL_SIZE = 16
"""Requests on their way per pool of connections: for every request, a pool looks at all connections that it has."""


@dataclass(frozen=True)
class ChatParams:
    """How a client asks."""

    concurrency: int = 16
    """Requests on their way at once."""
    attempts: int = 6
    """Of one request, all in all."""
    connect_seconds: float = 10.0
    total_seconds: float = 300.0
    """For one attempt, from its beginning to the last byte."""
    backoff_seconds: float = 1.0
    """The first wait between attempts; it doubles."""
    longest_wait: float = 120.0
    """Seconds; an endpoint that asks for a longer one ends the run."""
    failures: int = 10
    """So many failed attempts in a row, whichever requests they belong to, and the endpoint is down."""
    offline: bool = False
    """Whether to use only what is stored."""
    price: Price | None = None
    """What tokens cost, where the endpoint does not tell."""

    def __post_init__(self) -> None:
        for what in ("concurrency", "attempts", "failures", "connect_seconds", "total_seconds"):
            if not getattr(self, what) > 0:
                raise InputError(f"{what} is {getattr(self, what)}", "a number above 0 is wanted")


class Connection:
    """The way to one endpoint."""

    def __init__(self, endpoint: Endpoint, key: str, params: ChatParams) -> None:
        """Nothing is sent yet; an event loop must run, and it serves no other."""
        from openai import AsyncOpenAI, Timeout

        self.places = asyncio.Semaphore(params.concurrency)
        """One for each request that may be on its way."""
        self.failures = 0
        """Attempts in a row that failed by the endpoint's fault; whoever gets an answer sets it to 0."""
        self._name = endpoint.name
        self._params = params
        self._key = key
        self._ended: asyncio.Future[FeatureInterpError] = asyncio.get_running_loop().create_future()
        timeout = Timeout(params.total_seconds, connect=params.connect_seconds)
        self._pools = [
            AsyncOpenAI(api_key=key or "none", base_url=endpoint.base_url, timeout=timeout, max_retries=0)
            for _ in range(-(-params.concurrency // POOL_SIZE))
        ]
        self._turns = cycle(self._pools)
        if endpoint.provider.key_name != "OPENAI_API_KEY":  # the package takes these from the environment
            for pool in self._pools:
                pool.organization = pool.project = None

    def end(self, error: FeatureInterpError) -> None:
        """Let no further request out, and let everybody who waits know why."""
        if not self._ended.done():
            self._ended.set_result(error)

    def check(self) -> None:
        """Raise what ended it, if anything has."""
        if self._ended.done():
            error = self._ended.result()
            raise type(error)(error.problem, error.hint)

    def check_fault(self, fault: Fault, attempt: int, alike: int = 0) -> None:
        """Raise where a request is not to be made again.

        Args:
            fault: what it met.
            attempt: number of the attempt that met it, from 1.
            alike: faults of this kind that it has met, this one included.

        Raises:
            ChatError: if it is the request's fault alone.
            RequestFailedError: if this was the last attempt.
            EndpointError: if no request would fare better.
            BudgetError: if the endpoint is down or too busy; everybody else is told too.
        """
        remedy, limit = REMEDIES[fault.kind], self._params.longest_wait
        self.failures += remedy.of_endpoint
        if fault.retry_after is not None and fault.retry_after > limit and remedy.retry:
            hint = "go on later: what is stored stays"
            self.end(BudgetError(f"{self._name} asks to wait {fault.retry_after:.0f} seconds", hint))
        if remedy.retry and attempt < self._params.attempts and alike < (remedy.attempts or self._params.attempts):
            self.check()
            return
        error = fault.error(self._name, attempt)
        if remedy.of_endpoint and self.failures >= self._params.failures:
            error = BudgetError(f"{error.problem}; it is down: the last {self.failures} attempts failed", remedy.hint)
        if isinstance(error, BudgetError):
            self.end(error)
            self.check()
        raise error

    async def wait(self, seconds: float) -> None:
        """Wait so long; raise where the endpoint is given up meanwhile."""
        await asyncio.wait([self._ended], timeout=seconds)
        self.check()

    async def attempt(self, path: str, body: dict[str, Any]) -> str | Fault:
        """Send one request and return the body of its answer, or the fault; neither has the key in it.

        Args:
            path: below the endpoint's address.
            body: its JSON.
        """
        import openai

        try:
            return await asyncio.wait_for(self._send(path, body), self._params.total_seconds)
        except (asyncio.TimeoutError, openai.APITimeoutError):
            return Fault(FaultKind.TIMEOUT)
        except openai.APIStatusError as error:
            return fault_of_status(error.status_code, self._without_key(error.response.text), error.response.headers)
        except openai.APIConnectionError as error:
            unreachable = type(error.__cause__).__name__ == "ConnectError"
            message = self._without_key(str(error.__cause__ or error))
            return Fault(FaultKind.UNREACHABLE if unreachable else FaultKind.FAILING, message)

    async def close(self) -> None:
        """Let go of the connections."""
        for pool in self._pools:
            await pool.close()

    async def _send(self, path: str, body: dict[str, Any]) -> str:
        from openai import HttpxBinaryResponseContent

        # The body as it came: what it should hold is decided in `wire`, for all servers, not by the package for one.
        response = await next(self._turns).post(path, body=body, cast_to=HttpxBinaryResponseContent)
        return self._without_key(response.text)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text
