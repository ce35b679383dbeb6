"""Conversations with a language model as data: messages, a request, its answers and what they cost.

Knows nothing of networks. A request holds all that decides an answer, so that its hash can stand for it.
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
    """What is asked of a language model, whichever it is."""

    messages: tuple[Message, ...]
    temperature: float = 1.0
    max_tokens: int = 1024
    """Tokens of the answer at most."""
    top_logprobs: int = 0
    """For every token of the answer, so many alternatives with their log probabilities; 0 for none."""
    purpose: str = ""
    """What it is for and by which version of the prompts, such as `propose/1`; part of what identifies it."""


@dataclass(frozen=True)
class Usage:
    """What answers took; adds up."""

    requests: int = 0
    """Answers that were paid for; stored ones count nothing."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    """US dollars, as far as the endpoint or a price table says."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost + other.cost,
        )


@dataclass(frozen=True)
class ChatAnswer:
    """One sample of an answer."""

    text: str
    finish_reason: str = "stop"
    """`stop`; `length` where it was cut short; `content_filter` and others as the endpoint says."""
    usage: Usage = Usage()
    logprobs: tuple[Mapping[str, float], ...] = field(default=())
    """For every token of the answer, log probabilities by token; empty unless asked for."""
    stored: bool = False
    """Whether it was found in the ledger instead of being asked for now."""
