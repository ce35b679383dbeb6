"""Connections to one endpoint through the `openai` package, with a circuit breaker.

Neither this module nor the package retries: an attempt returns a body or a fault, whatever is raised meanwhile. The
key is known to this module alone, and is redacted from all server messages.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from featureinterp.errors import (
    BudgetExceededError,
    EndpointConfigError,
    EndpointUnavailableError,
    FeatureInterpError,
    InputError,
)
from featureinterp.llm.api.faults import REMEDIES, Fault, FaultKind, fault_of_status
from featureinterp.llm.api.providers import Endpoint
from featureinterp.llm.api.spending import Price
from featureinterp.secrets import cut_out

if TYPE_CHECKING:
    from openai import AsyncOpenAI

POOL_SIZE = 16
"""Concurrent requests per connection pool: for every request, a pool scans all its connections."""

SILENCES = 4
"""Consecutive timeouts, over at least two timeout periods, after which the endpoint counts as down."""


@dataclass(frozen=True)
class ChatParams:
    """Request parameters of a client."""

    concurrency: int = 16
    """Maximum concurrent requests."""
    attempts: int = 6
    """Maximum attempts of one request."""
    connect_seconds: float = 10.0
    total_seconds: float = 300.0
    """Seconds of one attempt, from its beginning to the last byte."""
    backoff_seconds: float = 1.0
    """Seconds of the first wait between attempts; doubles after each."""
    longest_wait: float = 120.0
    """Maximum wait in seconds; a longer requested wait ends the run."""
    failures: int = 10
    """Consecutive failed attempts, over all requests, after which the endpoint counts as down."""
    offline: bool = False
    """Whether to use cached answers only."""
    price: Price | None = None
    """Price of tokens, for endpoints that do not report costs."""

    def __post_init__(self) -> None:
        for what in ("concurrency", "attempts", "failures", "connect_seconds", "total_seconds"):
            if not 0 < getattr(self, what) < math.inf:
                raise InputError(f"{what} is {getattr(self, what)}", "expected a number above 0")


class Connection:
    """Connection pool of one endpoint."""

    def __init__(self, endpoint: Endpoint, key: str, params: ChatParams) -> None:
        """Create the pool in the running event loop; sends nothing."""
        self.places = asyncio.Semaphore(params.concurrency)
        """One slot per concurrent request."""
        self._failures = 0  # consecutive attempts that failed by the endpoint's fault
        self._silences = 0  # consecutive timeouts
        self._silent_since = 0.0
        self._name = endpoint.name
        self._params = params
        self._key = key
        self._ended: asyncio.Future[FeatureInterpError] = asyncio.get_running_loop().create_future()
        self._pools = [_open_pool(endpoint, key, params) for _ in range(-(-params.concurrency // POOL_SIZE))]
        self._turns = cycle(self._pools)

    def end(self, error: FeatureInterpError) -> None:
        """Stop all further requests and end waiting ones with this error."""
        if not self._ended.done():
            self._ended.set_result(error)

    def check(self) -> None:
        """Raise the error that ended the connection, if any."""
        if self._ended.done():
            error = self._ended.result()
            raise type(error)(error.problem, error.hint)

    def answered(self) -> None:
        """Record an answer; resets the failure count."""
        self._failures = self._silences = 0

    def check_fault(self, fault: Fault, attempt: int, alike: int = 0) -> None:
        """Raise if a request must not be retried.

        Args:
            fault: fault of the attempt.
            attempt: number of the attempt, from 1.
            alike: number of faults of this kind of the request, including this one.

        Raises:
            ChatError: if only this request is at fault.
            RequestFailedError: if this was the last attempt.
            EndpointConfigError: if every request would fail.
            EndpointUnavailableError: if the endpoint is down or too busy; every waiting request raises it too.
            BudgetExceededError: if the account has no credit; likewise.
        """
        remedy, limit = REMEDIES[fault.kind], self._params.longest_wait
        self._failures += remedy.of_endpoint
        self._check_silence(fault)
        if fault.retry_after is not None and fault.retry_after > limit and remedy.retry:
            hint = "repeat the command later: cached answers are kept"
            self.end(EndpointUnavailableError(f"{self._name} asks to wait {fault.retry_after:.0f} seconds", hint))
        if remedy.retry and attempt < self._params.attempts and alike < (remedy.attempts or self._params.attempts):
            self.check()
            return
        error = fault.error(self._name, attempt)
        if remedy.of_endpoint and self._failures >= self._params.failures:
            error = EndpointUnavailableError(
                f"{error.problem}; it is down: the last {self._failures} attempts failed", remedy.hint
            )
        if isinstance(error, BudgetExceededError | EndpointUnavailableError):
            self.end(error)
            self.check()
        raise error

    async def wait(self, seconds: float) -> None:
        """Wait; raise if the connection ends meanwhile."""
        await asyncio.wait([self._ended], timeout=seconds)
        self.check()

    async def attempt(self, body: dict[str, Any]) -> str | Fault:
        """Send one request and return the answer's body, or the fault, with the key redacted.

        Args:
            body: JSON of a chat completion; of a completion if there is no `messages`.
        """
        import openai

        try:
            return await asyncio.wait_for(self._send(body), self._params.total_seconds)
        except openai.APIStatusError as error:
            headers = {name.lower(): self.without_key(value) for name, value in error.response.headers.items()}
            return fault_of_status(error.status_code, self.without_key(error.response.text), headers)
        except (asyncio.TimeoutError, openai.APIConnectionError) as error:
            cause = type(error.__cause__).__name__
            if cause in ("ConnectError", "ConnectTimeout"):
                return Fault(FaultKind.UNREACHABLE, self.without_key(str(error.__cause__)))
            if isinstance(error, asyncio.TimeoutError | openai.APITimeoutError):
                return Fault(FaultKind.SILENT, f"nothing whole within {self._params.total_seconds:g} seconds")
            told = str(error.__cause__ or error) or f"the connection was lost ({cause})"
            return Fault(FaultKind.FAILING, self.without_key(told))

    def without_key(self, text: str) -> str:
        """Redact the key from a text."""
        return cut_out(text, self._key)

    async def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            await pool.close()

    async def _send(self, body: dict[str, Any]) -> str:
        pool = next(self._turns)
        # `extra_body` takes precedence and is sent unchanged; the package would validate all messages again. The answer
        # is not decoded by the package either: `wire` decodes it for all servers.
        if "messages" in body:
            chat = pool.chat.completions.with_raw_response
            response = await chat.create(model=body["model"], messages=(), extra_body=body)
        else:
            completions = pool.completions.with_raw_response
            response = await completions.create(model=body["model"], prompt="", extra_body=body)
        return self.without_key(response.text)

    def _check_silence(self, fault: Fault) -> None:
        """End the connection after several timeouts in a row over two timeout periods.

        Raises:
            EndpointUnavailableError: after that many timeouts.
        """
        if fault.kind is not FaultKind.SILENT:
            self._silences = 0
            return
        now, patience = time.monotonic(), self._params.total_seconds
        if not self._silences:
            self._silent_since = now - patience
        self._silences += 1
        if self._silences >= SILENCES and now - self._silent_since >= 2 * patience:
            told = f"{self._name} is down: no data arrived within {patience:g} seconds, {self._silences} times in a row"
            self.end(EndpointUnavailableError(told, REMEDIES[FaultKind.SILENT].hint))
            self.check()


def _open_pool(endpoint: Endpoint, key: str, params: ChatParams) -> AsyncOpenAI:
    """Create a connection pool; sends nothing.

    Raises:
        EndpointConfigError: if the environment names an unusable proxy.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

    timeout = Timeout(params.total_seconds, connect=params.connect_seconds)
    try:
        for name, address in getproxies().items():
            if name != "no" and urlsplit(address).port == 0:
                raise ValueError(f"{name}_proxy has port 0")
        # Redirects are not followed: another server would get the prompt.
        client = DefaultAsyncHttpxClient(timeout=timeout, follow_redirects=False)
        pool = AsyncOpenAI(
            api_key=key or "none", base_url=endpoint.base_url, timeout=timeout, max_retries=0, http_client=client
        )
    except (ValueError, ImportError) as error:
        told = f"the proxy for {endpoint.base_url} cannot be used: {error}"
        raise EndpointConfigError(told, "fix HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or unset them") from None
    if endpoint.provider.key_name != "OPENAI_API_KEY":  # the package takes these from the environment
        pool.organization = pool.project = None
    return pool
