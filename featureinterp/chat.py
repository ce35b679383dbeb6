"""Chat data: messages, requests, answers and usage.

Independent of networks. A request holds everything that determines an answer, so its hash identifies it. Besides
conversations there are prompt readings: the model's probability of each token of a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """Request to a language model."""

    messages: tuple[Message, ...]
    temperature: float | None = 1.0
    """Temperature; None: none is sent, and the model uses its default."""
    max_tokens: int = 1024
    """Maximum tokens of the answer."""
    top_logprobs: int = 0
    """Alternatives with log probabilities for every token of the answer; 0 for none."""
    purpose: str = ""
    """Purpose and prompt version, such as `propose/1`; part of the request's identity."""
    any_temperature: bool = False
    """Whether a model that rejects the temperature may use its default; not part of the request's identity."""


@dataclass(frozen=True)
class Usage:
    """Usage of answers, new or cached; additive, and the difference of two counts is the usage between them."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """US dollars, from the endpoint's report or a price."""
    unpriced: int = 0
    """Requests without a known cost; `cost` omits them."""
    estimated: int = 0
    """Requests with unreported tokens, counted as the maximum that their text can have."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
            self.unpriced + other.unpriced,
            self.estimated + other.estimated,
        )

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            self.requests - earlier.requests,
            self.input_tokens - earlier.input_tokens,
            self.output_tokens - earlier.output_tokens,
            self.cost - earlier.cost,
            self.unpriced - earlier.unpriced,
            self.estimated - earlier.estimated,
        )


@dataclass(frozen=True)
class ChatAnswer:
    """One sample of an answer."""

    text: str
    finish_reason: str = "stop"
    """Finish reason: `stop`; `length` if truncated; `content_filter` and others from the endpoint."""
    usage: Usage = Usage()
    """Usage of the original request, also for a cached answer."""
    logprobs: tuple[Mapping[str, float], ...] = field(default=())
    """For every token of the answer, log probabilities by token; empty unless requested."""
    model: str = ""
    """Name of the answering model from the endpoint."""
    stored: bool = False
    """Whether it came from the ledger instead of a new request."""


@dataclass(frozen=True)
class PromptRequest:
    """Request for the log probabilities of a prompt's tokens."""

    prompt: str
    """The whole text, including a chat template's markers."""
    top_logprobs: int = 5
    """Alternatives for every token; servers allow 5 or more."""
    purpose: str = ""
    """Purpose and prompt version, as in `ChatRequest`."""


@dataclass(frozen=True)
class PromptToken:
    """One token of a prompt, with the model's log probabilities at its position."""

    text: str
    offset: int
    """Start of the token in the prompt, in characters."""
    logprobs: Mapping[str, float]
    """Log probabilities by token: the likeliest, and the token itself; empty for the first token."""


@dataclass(frozen=True)
class PromptReading:
    """A prompt's tokens with log probabilities."""

    tokens: tuple[PromptToken, ...]
    usage: Usage = Usage()
    model: str = ""
    stored: bool = False
