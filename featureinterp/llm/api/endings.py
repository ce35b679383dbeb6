"""Finish reasons of all providers: complete, truncated, or content filter.

Only known good finish reasons make a complete answer. An unknown one is not an answer: half a sentence must not
be scored as the model's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Ending(str, Enum):
    """Finish reason of an answer; values of the OpenAI protocol."""

    WHOLE = "stop"
    CUT = "length"
    BLOCKED = "content_filter"


_WORDS: Mapping[Ending, frozenset[str]] = {
    Ending.WHOLE: frozenset({
        "stop", "stopped", "end_turn", "stop_sequence", "eos", "eos_token", "end_of_text", "end_of_sequence",
        "complete", "completed", "finish", "finished",
    }),
    Ending.CUT: frozenset({
        "length", "max_tokens", "max_length", "max_output_tokens", "max_new_tokens", "max_completion_tokens",
        "max_tokens_reached", "token_limit", "model_length", "model_context_window_exceeded", "context_length",
        "context_length_exceeded", "truncated", "incomplete",
    }),
    Ending.BLOCKED: frozenset({
        "content_filter", "content_filtered", "filtered", "safety", "recitation", "language", "blocklist",
        "prohibited_content", "spii", "image_safety", "refusal", "guardrail_intervened", "guardrails", "moderation",
        "flagged", "sensitive", "error_toxic",
    }),
}  # fmt: skip
_BY_WORD = {word: ending for ending, words in _WORDS.items() for word in words}


def ending_of(word: str | None, behind: str | None = None) -> Ending | None:
    """Normalise a finish reason; None if unknown.

    Args:
        word: the server's finish reason; None and an empty one count as complete, since some servers omit it.
        behind: finish reason of the provider behind a proxy; a known bad one takes precedence over the proxy's.

    >>> ending_of("STOP"), ending_of("stop", "MAX_TOKENS"), ending_of(None), ending_of("insufficient_system_resource")
    (<Ending.WHOLE: 'stop'>, <Ending.CUT: 'length'>, <Ending.WHOLE: 'stop'>, None)
    """
    told, of_provider = _plain(word), _plain(behind)
    found = _BY_WORD.get(told or of_provider) if told or of_provider else Ending.WHOLE
    return _BY_WORD[of_provider] if found is Ending.WHOLE and of_provider in _BY_WORD else found


def _plain(word: str | None) -> str:
    plain = "_".join((word or "").lower().replace("-", " ").replace("_", " ").split())
    return plain.removeprefix("finish_reason_").removeprefix("finishreason.")
