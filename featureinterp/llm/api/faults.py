"""Faults of requests and their remedies, in one table for all providers.

A fault is a value as long as the request may be retried. The error that it becomes depends on its
cause: the request (`ChatError`: an attempt fails), or the endpoint, which never decides a result: it leaves
the feature unfinished (`RequestFailedError`), or ends the run, which can be resumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from random import Random

import msgspec

from featureinterp.errors import (
    BudgetExceededError,
    ChatError,
    EndpointConfigError,
    EndpointUnavailableError,
    FeatureInterpError,
    RequestFailedError,
)

LONGEST_MESSAGE = 300
"""Maximum characters of a quoted server message."""

LONGEST_BODY = 20_000
"""Maximum characters of an error response that are searched."""


class FaultKind(str, Enum):
    """Kind of fault; the value follows a model's name in messages."""

    AUTHENTICATION = "refuses the key"
    CREDIT = "reports that the account has no credit"
    MODEL = "does not know the model"
    TOO_LONG = "refuses the request, which is too long for the model"
    REFUSED = "refuses the request"
    RATE_LIMITED = "is rate-limited"
    FAILING = "fails"
    UNREACHABLE = "cannot be reached"
    TIMEOUT = "reports a timeout"
    SILENT = "does not answer in time"
    MALFORMED = "sends a malformed answer"
    NO_CHOICE = "returns no answer, as for a blocked prompt"
    ENDING = "ends its answer with an unknown finish reason"
    MOVED = "answers with a redirect, or does not serve such requests"


@dataclass(frozen=True)
class Remedy:
    """Remedy for a kind of fault."""

    retry: bool
    """Whether the same request may succeed later."""
    error: type[FeatureInterpError]
    """Error after the last attempt."""
    hint: str
    of_endpoint: bool = False
    """Whether many consecutive faults mean that the endpoint is down."""
    attempts: int | None = None
    """Maximum attempts with this fault, if each is paid for or takes a long wait; None for the maximum of the
    client."""


REMEDIES: Mapping[FaultKind, Remedy] = {
    FaultKind.AUTHENTICATION: Remedy(False, EndpointConfigError, "set another key"),
    FaultKind.CREDIT: Remedy(
        False, BudgetExceededError, "add credit, then repeat the command: cached answers are kept"
    ),
    FaultKind.MODEL: Remedy(False, EndpointConfigError, "check the model's name and the URL"),
    FaultKind.TOO_LONG: Remedy(False, ChatError, "show fewer or shorter records, or use a model with a longer context"),
    FaultKind.REFUSED: Remedy(False, ChatError, "see the server's message"),
    FaultKind.RATE_LIMITED: Remedy(
        True, EndpointUnavailableError, "lower --concurrency, or repeat the command later: cached answers are kept"
    ),
    FaultKind.FAILING: Remedy(True, RequestFailedError, "try again later", of_endpoint=True),
    FaultKind.UNREACHABLE: Remedy(
        True, EndpointUnavailableError, "check the URL and whether the server runs", of_endpoint=True
    ),
    FaultKind.TIMEOUT: Remedy(True, RequestFailedError, "lower --concurrency, or try again later", of_endpoint=True),
    FaultKind.SILENT: Remedy(
        True, RequestFailedError, "raise --request-timeout, or try again later", of_endpoint=True, attempts=2
    ),
    FaultKind.MALFORMED: Remedy(
        True, RequestFailedError, "check the URL: another service may answer", of_endpoint=True
    ),
    FaultKind.NO_CHOICE: Remedy(True, ChatError, "the prompt may be blocked by a filter of the server", attempts=3),
    FaultKind.ENDING: Remedy(True, RequestFailedError, "try again later, or use another model", True, attempts=3),
    FaultKind.MOVED: Remedy(False, EndpointConfigError, "check the URL: redirects are not followed"),
}

_BY_STATUS = {
    401: FaultKind.AUTHENTICATION,
    402: FaultKind.CREDIT,
    404: FaultKind.MODEL,
    405: FaultKind.MOVED,
    408: FaultKind.TIMEOUT,
    409: FaultKind.FAILING,
    410: FaultKind.MODEL,
    413: FaultKind.TOO_LONG,
    425: FaultKind.RATE_LIMITED,
    429: FaultKind.RATE_LIMITED,
    504: FaultKind.TIMEOUT,
}
_BY_WORDS = (
    ("insufficient_quota", FaultKind.CREDIT),
    ("api key not valid", FaultKind.AUTHENTICATION),
    ("api_key_invalid", FaultKind.AUTHENTICATION),
    ("context_length_exceeded", FaultKind.TOO_LONG),
    ("maximum context length", FaultKind.TOO_LONG),
    ("context size", FaultKind.TOO_LONG),
    ("maximum number of tokens", FaultKind.TOO_LONG),
    ("prompt is too long", FaultKind.TOO_LONG),
    ("max_new_tokens` must be", FaultKind.TOO_LONG),
)
"""Phrases in a 4xx response that identify the fault better than its status; in lower case."""


@dataclass(frozen=True)
class Fault:
    """One failed attempt."""

    kind: FaultKind
    message: str = ""
    """The server's message, shortened."""
    retry_after: float | None = None
    """Wait in seconds requested by the server."""
    body: str = field(default="", repr=False, compare=False)
    """Response body, which may name an unsupported field."""

    def error(self, name: str, attempts: int = 1) -> FeatureInterpError:
        """Return the error for the model `name` after the last attempt."""
        remedy = REMEDIES[self.kind]
        tried = f" after {attempts} attempts" if remedy.retry and attempts > 1 else ""
        told = f": {self.message}" if self.message else ""
        return remedy.error(f"{name} {self.kind.value}{tried}{told}", remedy.hint)


def fault_of_status(status: int, text: str, headers: Mapping[str, str]) -> Fault:
    """Return the fault of an HTTP error response.

    Args:
        status: HTTP status, 300 or more; or the code of an error sent with status 200.
        text: body of the response.
        headers: mapping with names in lower case, or one that ignores case.
    """
    others = FaultKind.FAILING if status >= 500 else FaultKind.MOVED if status < 400 else FaultKind.REFUSED
    kind = _BY_STATUS.get(status, others)
    if status < 500:
        lowered = text.lower()
        kind = next((meant for words, meant in _BY_WORDS if words in lowered), kind)
    told = f"to {headers['location']}" if 300 <= status < 400 and "location" in headers else message_in(text)
    return Fault(kind, f"status {status}, {shorten(told)}", wait_asked_for(headers), text[:LONGEST_BODY])


def message_in(text: str) -> str:
    """Extract the message of a server error (JSON in several forms, or plain text)."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    behind = ""
    for name in ("error", "message", "detail"):
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict):
            metadata = found.get("metadata")
            behind = metadata.get("raw", "") if isinstance(metadata, dict) else behind
            found = found.get(name, found)
    if isinstance(found, str) and isinstance(behind, str) and behind:
        return f"{found}: {message_in(behind)}"  # the message of a proxy, and that of the provider behind it
    return found if isinstance(found, str) else text


def shorten(message: str) -> str:
    """Return a message in one line of at most `LONGEST_MESSAGE` characters."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]} ..."


def wait_asked_for(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the requested wait in seconds: `Retry-After-Ms`, or `Retry-After` as seconds or HTTP date.

    Unreadable values count as missing, and a past date as no wait.
    """
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "").strip()
    seconds = _seconds(value)
    if seconds is not None or not value:
        return seconds
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return max(0.0, (then - (now or datetime.now(timezone.utc))).total_seconds())


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def backoff(attempt: int, first: float, longest: float, rng: Random) -> float:
    """Return the wait in seconds after failed attempt `attempt` (from 0): exponential, half of it random.

    The random half keeps requests that failed together from being retried together.
    """
    return min(longest, first * 2 ** min(attempt, 30)) * rng.uniform(0.5, 1.0)
