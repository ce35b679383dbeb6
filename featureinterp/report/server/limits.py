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
    """Maximum bytes of a request's body."""
    body_seconds: float = 10.0
    """Seconds for a request's body to arrive."""
    burst: int = 120
    """Burst of API requests per client."""
    per_second: float = 20.0
    """Sustained API requests per second and client."""
    waiting: int = 32
    """Requests waiting for the model, over all clients."""
    model_seconds: float = 300.0
    """Seconds of model time per request."""
    head_seconds: float = 10.0
    """Seconds for the head of a request to arrive."""
    connections: int = 512
    """Open connections over all clients: fewer than the usual limit of 1,024 open files of a process."""
    connections_of_one: int = 256
    """Open connections from one address, or from one IPv6 network of 64 bits."""


TEXT_CHARACTERS = 20_000
"""Maximum characters of a typed sentence."""
MOST_RULES = 20
RULE_CHARACTERS = 1_000
MOST_TOP = 100
"""Maximum features in an answer of `top`."""


class RefusalError(Exception):
    """A rejected request, with status, problem and hint."""

    def __init__(self, status: int, problem: str, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.hint = hint
        self.retry_after = retry_after
        """Seconds after which the same request may succeed; None if it will not."""


class RateLimiter:
    """A bucket of requests for each client, filled at a steady rate; the clients not seen for longest are forgotten."""

    def __init__(self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Take one request from a client's bucket.

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
