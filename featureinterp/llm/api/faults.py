"""Faults of requests and their remedies, in one table for all providers.

A fault is a value until it is known whether another attempt is worth it. What it becomes in the end depends on whose
fault it is: the request's own (`ChatError`: an attempt fails), or the endpoint's, which decides no result: it leaves
the feature unfinished (`RequestFailedError`), or ends the run, which goes on another day.
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
"""Characters of a server's message that are passed on."""

LONGEST_BODY = 20_000
"""Characters of a refusal that are looked through."""


class FaultKind(str, Enum):
    """Kind of fault; the value follows a model's name in messages."""

    AUTHENTICATION = "refuses the key"
    CREDIT = "says that the account has no credit"
    MODEL = "does not know the model"
    TOO_LONG = "refuses the request, which is too long for the model"
    REFUSED = "refuses the request"
    RATE_LIMITED = "has too much to do"
    FAILING = "fails"
    UNREACHABLE = "cannot be reached"
    TIMEOUT = "says that it is too slow"
    SILENT = "does not answer in time"
    MALFORMED = "sends something that is no answer"
    NO_CHOICE = "gives no choice of an answer, as for a prompt that it blocks"
    ENDING = "ends its answer in a way that is not known to be good"
    MOVED = "answers with a redirect, or serves no such requests"


@dataclass(frozen=True)
class Remedy:
    """Remedy for a kind of fault."""

    retry: bool
    """Whether the same request may succeed a little later."""
    error: type[FeatureInterpError]
    """What it becomes when there is no further attempt."""
    hint: str
    of_endpoint: bool = False
    """Whether many in a row mean that the endpoint is down."""
    attempts: int | None = None
    """Most of them that meet this fault, where each is paid for or costs a long wait; None for as many as a client
    makes."""


REMEDIES: Mapping[FaultKind, Remedy] = {
    FaultKind.AUTHENTICATION: Remedy(False, EndpointConfigError, "set another key"),
    FaultKind.CREDIT: Remedy(
        False, BudgetExceededError, "fill it up, then give the same command again: what is stored stays"
    ),
    FaultKind.MODEL: Remedy(False, EndpointConfigError, "check the model's name and the address"),
    FaultKind.TOO_LONG: Remedy(False, ChatError, "show fewer or shorter records, or take a model with more context"),
    FaultKind.REFUSED: Remedy(False, ChatError, "the server's own words say why"),
    FaultKind.RATE_LIMITED: Remedy(
        True, EndpointUnavailableError, "ask fewer at once, or go on later: what is stored stays"
    ),
    FaultKind.FAILING: Remedy(True, RequestFailedError, "try again later", of_endpoint=True),
    FaultKind.UNREACHABLE: Remedy(
        True, EndpointUnavailableError, "check the address and whether it runs", of_endpoint=True
    ),
    FaultKind.TIMEOUT: Remedy(True, RequestFailedError, "ask fewer at once, or try again later", of_endpoint=True),
    FaultKind.SILENT: Remedy(
        True, RequestFailedError, "raise --request-timeout, or try again later", of_endpoint=True, attempts=2
    ),
    FaultKind.MALFORMED: Remedy(
        True, RequestFailedError, "check the address: something else may answer", of_endpoint=True
    ),
    FaultKind.NO_CHOICE: Remedy(True, ChatError, "the prompt may be blocked by a filter of the server", attempts=3),
    FaultKind.ENDING: Remedy(True, RequestFailedError, "try again later, or take another model", True, attempts=3),
    FaultKind.MOVED: Remedy(False, EndpointConfigError, "check the address: a redirect is not followed"),
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
"""Words in a refusal (4xx) that say more than its status; the servers' own, in lower case."""


@dataclass(frozen=True)
class Fault:
    """One failed attempt."""

    kind: FaultKind
    message: str = ""
    """The server's own words, cut short."""
    retry_after: float | None = None
    """Seconds that the server asks to wait."""
    body: str = field(default="", repr=False, compare=False)
    """All that the server said, in which it may name a field that it does not take."""

    def error(self, name: str, attempts: int = 1) -> FeatureInterpError:
        """Return the error for the model `name` after the last attempt."""
        remedy = REMEDIES[self.kind]
        tried = f" after {attempts} attempts" if remedy.retry and attempts > 1 else ""
        told = f": {self.message}" if self.message else ""
        return remedy.error(f"{name} {self.kind.value}{tried}{told}", remedy.hint)


def fault_of_status(status: int, text: str, headers: Mapping[str, str]) -> Fault:
    """Return the fault of an HTTP error response.

    Args:
        status: of HTTP, 300 or more; or the number in an error that came with status 200.
        text: the body.
        headers: with names in lower case, or a mapping that ignores case.
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
        return f"{found}: {message_in(behind)}"  # a proxy's words, and those of the provider behind it
    return found if isinstance(found, str) else text


def shorten(message: str) -> str:
    """Return a message in one line of at most `LONGEST_MESSAGE` characters."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]} ..."


def wait_asked_for(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the requested wait in seconds: `Retry-After-Ms`, or `Retry-After` as seconds or HTTP date.

    What cannot be read counts as not said, and a date that has passed is no wait.
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

    The random half keeps requests that failed together from coming back together.
    """
    return min(longest, first * 2 ** min(attempt, 30)) * rng.uniform(0.5, 1.0)
