"""Complexity by a language model behind an endpoint: the expected digit of its answer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from featureinterp.chat import ChatAnswer, ChatRequest
from featureinterp.complexity.prompt import messages, prompt_version
from featureinterp.errors import ChatError
from featureinterp.llm.api.endings import Ending, ending_of
from featureinterp.llm.api.thoughts import has_begun, used_up, without_thoughts
from featureinterp.protocols import ChatModel
from featureinterp.record import MAX_LEVEL
from featureinterp.stats import expectation_over_levels

FIRST_TOKENS = 4
"""Maximum tokens of the answer of a model without reasoning."""


class ChatJudge:
    """Expected digit from the log probabilities of an endpoint's answer."""

    def __init__(self, model: ChatModel, top_logprobs: int = 20, answer_tokens: int = 8192) -> None:
        """Make it.

        Args:
            model: the language model.
            top_logprobs: number of most likely tokens requested at each position.
            answer_tokens: limit of an answer that begins with reasoning.
        """
        self._model = model
        self._top_logprobs = top_logprobs
        self._answer_tokens = answer_tokens
        self._purpose = f"complexity/{prompt_version()}"

    async def judge(self, words: str) -> float:
        """Return the mean digit under the probabilities of the first answer token after the reasoning.

        Raises:
            ChatError, RequestFailedError: if the endpoint does not answer, or returns no probability of a digit.
        """
        request = ChatRequest(
            messages(words), 0.0, FIRST_TOKENS, self._top_logprobs, self._purpose, any_temperature=True
        )
        [answer] = await self._model.answer(request)
        place = 0
        if (
            ending_of(answer.finish_reason) is Ending.CUT
            and not _is_digit(answer.text)
            and self._answer_tokens > FIRST_TOKENS
        ):
            longer = replace(request, max_tokens=self._answer_tokens)
            [thought] = await self._model.answer(longer)
            behind = _place_behind_thoughts(thought) if has_begun(thought) else None
            if behind is None and ending_of(thought.finish_reason) is Ending.CUT:
                raise ChatError(*used_up(longer.max_tokens))
            answer, place = (answer, 0) if behind is None else (thought, behind)
        if not answer.logprobs:
            raise ChatError(
                f"{self._model.name} returns no log probabilities",
                "complexity needs them: use another model, or lexical",
            )
        logits = digit_logits(answer.logprobs[place])
        if max(logits) == -math.inf:
            raise ChatError(f"{self._model.name} answers {answer.text[:40]!r}; expected a digit from 0 to {MAX_LEVEL}")
        return float(expectation_over_levels(logits))


def _is_digit(text: str) -> bool:
    return text.strip()[:1] in tuple(map(str, range(MAX_LEVEL + 1)))


def _place_behind_thoughts(answer: ChatAnswer) -> int | None:
    """Return the position of the digit in an answer with reasoning; None if there is none."""
    text = without_thoughts(answer.text)
    if not _is_digit(text):
        return None
    tail = ""
    for place in range(len(answer.logprobs) - 1, -1, -1):
        tail = next(iter(answer.logprobs[place]), "") + tail
        if tail.strip().startswith(text):
            return place
    return None


def digit_logits(logprobs: Mapping[str, float]) -> list[float]:
    """Return the log probabilities of the digits 0..5; tokens that differ by spaces around are added up."""
    digits = [-math.inf] * (MAX_LEVEL + 1)
    for token, logprob in logprobs.items():
        if token.strip() in map(str, range(MAX_LEVEL + 1)):
            level = int(token)
            digits[level] = float(np.logaddexp(digits[level], logprob))
    return digits


def make_chat_judge(model: str, device: str) -> ChatJudge:  # noqa: ARG001 - every kind is called so
    """Return the judge of an endpoint's model by its name; it needs no device.

    Raises:
        InputError: if the name cannot be used.
    """
    from featureinterp.llm.api.client import open_chat_model

    return ChatJudge(open_chat_model(model))


def chat_prompt_hash(model: str) -> str:  # noqa: ARG001 - every kind is called so
    """Return a hash of the messages before a rule; it is the same for every model."""
    texts = "\n".join(f"{message.role}\n{message.content}" for message in messages("x"))
    return hashlib.sha256(texts.encode()).hexdigest()
