"""A scripted language model for tests and dry runs."""

from __future__ import annotations

from collections.abc import Callable

from featureinterp.chat import ChatAnswer, ChatRequest, Usage
from featureinterp.errors import FeatureInterpError

Script = Callable[[ChatRequest, int], "str | ChatAnswer | FeatureInterpError"]
"""Function from a request and the number of a sample to its answer (or its text), or to an error to raise."""


class ScriptedChatModel:
    """A chat model with scripted answers that records its requests.

    >>> import asyncio
    >>> from featureinterp.chat import Message
    >>> model = ScriptedChatModel(lambda request, number: f"{request.messages[-1].content} {number}")
    >>> [a.text for a in asyncio.run(model.answer(ChatRequest((Message("user", "sample"),)), n=2, first=4))]
    ['sample 4', 'sample 5']
    """

    def __init__(self, script: Script, name: str = "scripted:model") -> None:
        self.name = name
        self.asked: list[tuple[ChatRequest, int]] = []
        """Every request with the number of the sample, in order of arrival."""
        self._script = script

    async def answer(self, request: ChatRequest, n: int = 1, first: int = 0) -> list[ChatAnswer]:
        """Return `n` samples, numbered from `first`; words count as tokens, and nothing costs anything."""
        return [self._sample(request, number) for number in range(first, first + n)]

    def _sample(self, request: ChatRequest, number: int) -> ChatAnswer:
        self.asked.append((request, number))
        told = self._script(request, number)
        if isinstance(told, FeatureInterpError):
            raise told
        if isinstance(told, ChatAnswer):
            return told
        words = sum(len(message.content.split()) for message in request.messages)
        return ChatAnswer(told, usage=Usage(1, words, len(told.split())), model=self.name)
