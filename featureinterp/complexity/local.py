"""Complexity by a local model: the expected digit of its next token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from featureinterp.complexity.prompt import messages
from featureinterp.complexity.registry import HINT
from featureinterp.errors import InputError
from featureinterp.llm.local.encoding import Turn, open_encoder
from featureinterp.record import MAX_LEVEL
from featureinterp.stats import expectation_over_levels

if TYPE_CHECKING:
    from featureinterp.llm.local.model import LocalModel


class LocalJudge:
    """Expected digit on a local model."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self._digits = model.encoder.digits(MAX_LEVEL + 1, "\n")

    async def judge(self, words: str) -> float:
        """Return the mean of the digits under the softmax over their six logits."""
        return await asyncio.to_thread(self._compute, words)

    def prompt(self, words: str) -> list[int]:
        """Return the ids of the whole prompt, before the digit."""
        parts = self._model.encoder.conversation(_turns(words))
        return [number for part in parts for number in part]

    def _compute(self, words: str) -> float:
        ids = self.prompt(words)
        if self._model.max_length is not None and len(ids) > self._model.max_length:
            raise InputError(
                f"a rule of {len(words)} characters needs {len(ids)} tokens with its prompt, "
                f"the context of {self._model.name!r} is {self._model.max_length}"
            )
        [logits] = self._model.logits([ids], [[len(ids) - 1]], self._digits)
        return float(expectation_over_levels(logits[0]))


def make_local_judge(model: str, device: str) -> LocalJudge:
    """Load a local model as judge.

    Args:
        model: its folder, or its name on the Hugging Face hub.
        device: a torch device, or `auto` for a GPU if there is one.

    Raises:
        SubjectError: if it cannot be loaded, or does not fit the task.
    """
    from featureinterp.llm.local.model import LocalModel, LocalModelParams

    return LocalJudge(LocalModel.load(model, LocalModelParams(device=device)))


def local_prompt_hash(model: str) -> str:
    """Return a hash of the token ids of the prompt before a rule; it changes with the chat template and the tokenizer.

    Raises:
        SubjectError: if the tokenizer cannot be loaded, or does not fit the task.
    """
    return open_encoder(model, HINT).digest(_turns("x"))


def _turns(words: str) -> list[Turn]:
    """Return the conversation with an open last turn."""
    return [*(Turn(message.role, (message.content,)) for message in messages(words)), Turn("assistant", ())]
