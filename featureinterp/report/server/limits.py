"""Request limits (sizes, lengths, rate) and their errors."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of the server, named in its errors."""

    body_bytes: int = 65_536
    """Of a request's body."""
    body_seconds: float = 10.0
    """In which a body must have come whole."""
    burst: int = 120
    """Requests to the API that one client may make at once."""
    per_second: float = 20.0
    """Requests to the API that it may make in the long run."""
    waiting: int = 32
    """Requests that may wait for the model, all clients together."""
    model_seconds: float = 300.0
    """For which the model may work on one request."""
    head_seconds: float = 10.0
    """In which a connection must have sent the whole head of a request."""
    connections: int = 512
    """Open at once, all clients together: fewer than the 1,024 files that a process may commonly open."""
    connections_of_one: int = 256
    """Open at once from one address, or from one IPv6 network of 64 bits."""


TEXT_CHARACTERS = 20_000
"""Of a typed sentence."""
MOST_RULES = 20
RULE_CHARACTERS = 1_000
MOST_TOP = 100
"""Features in an answer to "which fire most strongly"."""


class RefusalError(Exception):
    """A request that is not served, with the status, the sentence and what to do."""

    def __init__(self, status: int, problem: str, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.hint = hint
        self.retry_after = retry_after
        """Seconds after which the same request may fare better; None where it will not."""


class RateLimiter:
    """A bucket of requests for each client, filled at a steady rate; the clients not seen for longest are forgotten."""

    def __init__(self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Take one request out of a client's bucket.

        Raises:
            RefusalError: 429, if it is empty.
        """
        now = self._clock()
        left, seen = self._buckets.pop(client, (float(self._burst), now))
        left = min(self._burst, left + (now - seen) * self._per_second)
        refused = left < 1
        self._buckets[client] = (left if refused else left - 1, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if refused:
            seconds = max(1, math.ceil((1 - left) / self._per_second))
            raise RefusalError(
                429,
                f"too many requests: {self._per_second:g} a second are served, {self._burst} at once",
                f"wait {seconds} second{'' if seconds == 1 else 's'}",
                retry_after=seconds,
            )


_MOST_CLIENTS = 1024
