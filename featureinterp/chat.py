"""Chat data: messages, requests, answers and usage.

Knows nothing of networks. A request holds all that decides an answer, so that its hash can stand for it. Beside
conversations there is the reading of a prompt: how likely a model holds each of the prompt's own tokens.
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
    """None: none is sent, and the model takes its own."""
    max_tokens: int = 1024
    """Tokens of the answer at most."""
    top_logprobs: int = 0
    """For every token of the answer, so many alternatives with their log probabilities; 0 for none."""
    purpose: str = ""
    """What it is for and by which version of the prompts, such as `propose/1`; part of what identifies it."""
    any_temperature: bool = False
    """Whether a model that refuses the temperature may take its own; no part of what identifies it."""


@dataclass(frozen=True)
class Usage:
    """Usage of answers, new or cached; additive."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """US dollars, as far as the endpoint or a price says."""
    unpriced: int = 0
    """Requests whose cost nobody said; `cost` leaves them out."""
    estimated: int = 0
    """Requests of which the endpoint did not say all tokens: the rest is the most that their text can have."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
            self.unpriced + other.unpriced,
            self.estimated + other.estimated,
        )


@dataclass(frozen=True)
class ChatAnswer:
    """One sample of an answer."""

    text: str
    finish_reason: str = "stop"
    """`stop`; `length` where it was cut short; `content_filter` and others as the endpoint says."""
    usage: Usage = Usage()
    """What it took when it was asked for, also where it is stored."""
    logprobs: tuple[Mapping[str, float], ...] = field(default=())
    """For every token of the answer, log probabilities by token; empty unless asked for."""
    model: str = ""
    """Which model answered, as the endpoint calls it."""
    stored: bool = False
    """Whether it was found in the ledger instead of being asked for now."""


@dataclass(frozen=True)
class PromptRequest:
    """Request for the log probabilities of a prompt's tokens."""

    prompt: str
    """The whole text, a chat template's marks included."""
    top_logprobs: int = 5
    """For every token, so many alternatives; servers allow 5 or more."""
    purpose: str = ""
    """As in `ChatRequest`."""


@dataclass(frozen=True)
class PromptToken:
    """One token of a prompt, with the model's log probabilities at its position."""

    text: str
    offset: int
    """Where it begins in the prompt, in characters."""
    logprobs: Mapping[str, float]
    """Log probabilities by token: the likeliest, and the token itself; empty for the first, which nothing precedes."""


@dataclass(frozen=True)
class PromptReading:
    """A prompt's tokens with log probabilities."""

    tokens: tuple[PromptToken, ...]
    usage: Usage = Usage()
    model: str = ""
    stored: bool = False
