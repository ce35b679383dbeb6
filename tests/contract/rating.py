"""A model behind an endpoint that rates texts: a token's level is decided by the rule's words and the token alone."""

from __future__ import annotations

import zlib

from featureinterp.chat import ChatAnswer, ChatRequest, PromptReading, PromptRequest, PromptToken
from featureinterp.simulator.alignment import simulation_prompt


def level(words: str, token: str) -> int:
    return zlib.crc32(f"{words}\0{token.strip()}".encode()) % 6


class RatingModel:
    """Reads prompts character by character, and answers conversations; a `PromptModel` and a `ChatModel`."""

    name = "local:rating"

    async def read_prompt(self, request: PromptRequest) -> PromptReading:
        words, gap, text = request.prompt.rpartition(simulation_prompt().question)[2].partition("\n\n\n")
        assert gap
        expected, offset = {}, len(request.prompt) - len(text)
        for line in text.splitlines(keepends=True):
            token, end, rest = line.rpartition("\t?\n")
            assert end and not rest
            expected[offset + len(token) + 1] = {str(level(words, token)): -0.5, "?": -1.0}
            offset += len(line)
        tokens = (PromptToken(c, i, expected.get(i, {c: -0.1})) for i, c in enumerate(request.prompt))
        return PromptReading(tuple(tokens))

    async def answer(self, request: ChatRequest, n: int = 1, first: int = 0) -> list[ChatAnswer]:
        asked = request.messages[-1].content.rpartition(simulation_prompt().question)[2]
        words, _, text = asked.partition("\n\nThe text:\n")
        return [ChatAnswer("\n".join(f"{token}\t{level(words, token)}" for token in text.split("\n")))] * n
