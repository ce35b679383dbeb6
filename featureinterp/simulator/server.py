"""Simulators on a language model behind an endpoint.

`echo`: the endpoint rates the tokens of a prompt (vLLM's completions with `echo`). The prompt is that of the local
simulator in the plain layout, with `?` for an unknown level: a tokenizer may merge a tab with a
following word, but not with a question mark. EV is the mean of the digits among the likeliest tokens in its place.

`chat`: the model writes all levels of a text in one answer, which is parsed strictly: a line for each token, the token
itself, a tab, a digit. Any other answer is requested again, and is an error after `ATTEMPTS`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featureinterp.chat import ChatRequest, PromptRequest
from featureinterp.errors import (
    ChatError,
    ExplanationError,
    InputError,
    RequestFailedError,
    SimulationError,
    check_numbers,
)
from featureinterp.formatting import escape
from featureinterp.llm.api.endings import Ending, ending_of
from featureinterp.llm.api.thoughts import without_thoughts
from featureinterp.protocols import ChatModel, PromptModel
from featureinterp.record import MAX_LEVEL
from featureinterp.registry import with_params
from featureinterp.simulator.alignment import simulation_prompt, text_slots
from featureinterp.simulator.rules import Outcome, RuleOnWindow, RuleSimulatorFactory
from featureinterp.stats import expectation_over_levels

WITHHELD = "?"
ATTEMPTS = 3
"""Maximum answers before a text counts as failed."""

THOUGHT_TOKENS = 8192
"""Additional tokens of an answer after a truncated one."""

TOP_LOGPROBS = 20
"""Likeliest tokens requested per position; vLLM's default limit."""

_DIGITS = [str(level) for level in range(MAX_LEVEL + 1)]


class EchoRuleLevels:
    """EV of rules from the log probabilities of prompts."""

    def __init__(self, model: PromptModel, top_logprobs: int = TOP_LOGPROBS) -> None:
        self._model = model
        self._top_logprobs = top_logprobs
        self._purpose = f"simulate-echo/{simulation_prompt().version}"

    async def expected_levels(self, wanted: Sequence[RuleOnWindow]) -> list[Outcome]:
        """Return EV of each, float64 [tokens]; an error for one rejected by the endpoint."""
        return await _each(self._of, wanted)

    async def _of(self, each: RuleOnWindow) -> NDArray[np.float64]:
        slots = text_slots(each.words, each.tokens, WITHHELD)
        request = PromptRequest(slots.text, self._top_logprobs, self._purpose)
        reading = await self._model.read_prompt(request)
        expected_at = {token.offset: token.logprobs for token in reading.tokens}
        pairs = zip(slots.offsets, each.tokens, strict=True)
        return np.array([self._level(expected_at.get(offset), token) for offset, token in pairs])

    def _level(self, logprobs: Mapping[str, float] | None, token: str) -> float:
        if logprobs is None:
            raise SimulationError(
                f"{self._model.name} merges the level of token {token!r} with the text before it",
                "simulate with hf:MODEL or chat:MODEL instead",
            )
        digits = [logprobs.get(digit, -math.inf) for digit in _DIGITS]
        if max(digits) == -math.inf:
            raise SimulationError(
                f"no digit is among the {len(logprobs)} likeliest tokens of {self._model.name} after token {token!r}",
                "let the server list more of them (vLLM: --max-logprobs), or use another model",
            )
        return float(expectation_over_levels(digits))


class ChatRuleLevels:
    """EV of rules as written by a chat model: integers."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model
        self._purpose = f"simulate-chat/{simulation_prompt().version}"

    async def expected_levels(self, wanted: Sequence[RuleOnWindow]) -> list[Outcome]:
        """Return EV of each, float64 [tokens]; an error for an unparsable answer."""
        return await _each(self._of, wanted)

    async def _of(self, each: RuleOnWindow) -> NDArray[np.float64]:
        messages = simulation_prompt().messages(each.words, each.tokens)
        most = 64 + 16 * len(each.tokens)
        room = 0
        problem = ""
        for attempt in range(ATTEMPTS):
            # The likeliest answer first; a repeated request would return it again.
            temperature = 0.0 if attempt == 0 else 1.0
            request = ChatRequest(messages, temperature, most + room, purpose=self._purpose, any_temperature=True)
            [answer] = await self._model.answer(request, first=attempt)
            if ending_of(answer.finish_reason) is Ending.CUT:
                room = THOUGHT_TOKENS  # it may reason first
            try:
                return np.array(_levels(answer.text, each.tokens), dtype=np.float64)
            except (SimulationError, ExplanationError) as error:
                problem = error.problem
        raise SimulationError(f"{self._model.name} gave no levels in {ATTEMPTS} answers: {problem}")


def _levels(text: str, tokens: Sequence[str]) -> list[int]:
    """Parse an answer, retrying without its reasoning."""
    try:
        return read_levels(text, tokens)
    except SimulationError:
        return read_levels(without_thoughts(text), tokens)


def read_levels(text: str, tokens: Sequence[str]) -> list[int]:
    r"""Parse an answer with one line `token<TAB>level` per token; spaces around a token are ignored.

    Raises:
        SimulationError: if the answer has another form.

    >>> read_levels(" The\t0\n cat\t5\n", (" The", " cat"))
    [0, 5]
    """
    lines = text.strip().split("\n")
    if len(lines) != len(tokens):
        raise SimulationError(f"the answer has {len(lines)} lines for {len(tokens)} tokens")
    levels = []
    for line, token in zip(lines, tokens, strict=True):
        head, _, level = line.rpartition("\t")
        if head.strip() != escape(token).strip() or level.strip() not in _DIGITS:
            raise SimulationError(f"the answer has the line {line!r} for token {token!r}")
        levels.append(int(level))
    return levels


async def _each(
    of: Callable[[RuleOnWindow], Coroutine[Any, Any, NDArray[np.float64]]], wanted: Sequence[RuleOnWindow]
) -> list[Outcome]:
    """Compute all concurrently; an error of one item takes its place."""

    async def outcome(each: RuleOnWindow) -> Outcome:
        if not each.tokens:
            return np.empty(0)
        try:
            return await of(each)
        except (ChatError, SimulationError, RequestFailedError) as error:
            return error

    return list(await asyncio.gather(*map(outcome, wanted)))


@dataclass(frozen=True)
class EchoSimulatorParams:
    """Knobs of the simulator on a server that rates the tokens of a prompt."""

    top_logprobs: int = TOP_LOGPROBS
    """Likeliest tokens requested per position."""

    def __post_init__(self) -> None:
        check_numbers(self, top_logprobs=(1, math.inf))


@with_params(EchoSimulatorParams)
def make_echo_simulator_factory(
    what: str,
    device: str,
    open_model: Callable[[str], PromptModel],
    *,
    params: EchoSimulatorParams | None = None,
) -> RuleSimulatorFactory:
    """Create the factory registered as `echo`; `what` names a model as `provider:model`.

    Raises:
        InputError: if no model is named, or its provider is unknown.
    """
    del device
    params = params or EchoSimulatorParams()
    return RuleSimulatorFactory(EchoRuleLevels(open_model(_named(what, "echo")), params.top_logprobs))


def make_chat_simulator_factory(what: str, device: str, open_model: Callable[[str], ChatModel]) -> RuleSimulatorFactory:
    """Create the factory registered as `chat`; `what` names a model as `provider:model`.

    Raises:
        InputError: if no model is named, or its provider is unknown.
    """
    del device
    return RuleSimulatorFactory(ChatRuleLevels(open_model(_named(what, "chat"))))


def _named(what: str, kind: str) -> str:
    if not what:
        raise InputError(f"the simulator {kind!r} names no model", f"write {kind}:PROVIDER:MODEL")
    return what
