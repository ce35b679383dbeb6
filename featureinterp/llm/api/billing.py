"""Usage and cost of an answer from a server's JSON; missing values are bounded from above.

A number counts as reported only if it is finite, not negative and plausible. Unreported tokens are the most that
the text can have, one per byte, and the answer is marked as estimated; an unreported cost is unpriced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from featureinterp.chat import ChatRequest, PromptRequest, Usage
from featureinterp.llm.api.providers import Endpoint
from featureinterp.llm.api.spending import Most, Price

MOST_TOKENS = 10**8
"""Maximum tokens of one request or answer; a larger number counts as unreported."""
MOST_COST = 10_000.0
"""Maximum US dollars of one answer; a larger number counts as unreported."""

_TOKENS_PER_MESSAGE = 16
_TOKENS_OF_TEMPLATE = 64
"""Maximum tokens that a chat template adds per message, and before all messages."""


class _Body(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True)
class Bill:
    """Usage and cost reported by a server; None if not reported."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    tries_to_price: bool = False
    """Whether a cost is present, readable or not."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is reported."""
        return self == Bill()

    def usage(self, endpoint: Endpoint, most: Most, received: int) -> Usage:
        """Return the usage, with an upper bound for unreported tokens.

        Args:
            endpoint: endpoint of the answer; an unreported cost of a free one is 0.
            most: maximum usage of the request.
            received: size of the answer in bytes.
        """
        read = most.input_tokens if self.input_tokens is None else self.input_tokens
        written = min(most.output_tokens, received) if self.output_tokens is None else self.output_tokens
        estimated = int(self.input_tokens is None or self.output_tokens is None)
        if self.cost is not None:
            return Usage(1, read, written, self.cost, estimated=estimated)
        if most.price is not None:
            return Usage(1, read, written, most.price.of(read, written), estimated=estimated)
        unpriced = int(self.tries_to_price or not endpoint.provider.is_free)
        return Usage(1, read, written, unpriced=unpriced, estimated=estimated)


def most_of(request: ChatRequest | PromptRequest, price: Price | None = None) -> Most:
    """Return the maximum usage of a request: a token per byte of its text, and the longest allowed answer.

    >>> most_of(PromptRequest("zwölf"))
    Most(input_tokens=86, output_tokens=1, price=None)
    """
    if isinstance(request, PromptRequest):
        texts, longest = [request.prompt], 1
    else:
        texts, longest = [message.content for message in request.messages], request.max_tokens
    sent = sum(len(text.encode(errors="replace")) + _TOKENS_PER_MESSAGE for text in texts)
    return Most(sent + _TOKENS_OF_TEMPLATE, longest, price)


def read_bill(text: str) -> Bill:
    """Read the bill in a server's JSON; an empty bill for invalid JSON."""
    try:
        usage = msgspec.json.decode(msgspec.json.decode(text, type=_Body).usage)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Bill()
    if not isinstance(usage, dict):
        return Bill()
    return Bill(*_tokens(usage), _cost(usage), usage.get("cost") is not None)


def _tokens(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the tokens of a request and its answer; 0 request tokens count as unreported."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    numbers = (_number(usage.get(name), MOST_TOKENS) for name in names)
    read, written, total = (None if number is None or number % 1 else int(number) for number in numbers)
    if total is not None and read and total > read + (written or 0):
        written = total - read  # some omit reasoning from an answer's tokens, and charge for it
    elif total is not None and not read and written and total > written:
        read = total - written
    return (read, written) if read else (None, written or None)


def _cost(usage: Mapping[str, Any]) -> float | None:
    """Return the total cost: the router's, plus the provider's with a user-supplied provider key.

    Without such a key OpenRouter repeats its own charge as the provider's.
    """
    charged, details = _number(usage.get("cost"), MOST_COST), usage.get("cost_details")
    if charged is None:
        return None
    own_key = usage.get("is_byok")
    told = details.get("upstream_inference_cost") if isinstance(details, dict) else details
    if told is None:
        return charged if own_key is not True else None
    upstream = _number(told, MOST_COST)
    if upstream is None:
        return None
    if own_key is False or (own_key is not True and upstream == charged):
        return max(charged, upstream)
    return charged + upstream


def _number(value: object, most: float) -> float | None:
    """Return a number from 0 to `most`, also one written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number <= most else None
