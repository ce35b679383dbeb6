"""Simulation prompts and the slots of token levels in them.

A text is laid out one token per line, `token<TAB>unknown`. A model's next-token distribution after a line's tab is its
prediction for that token; worked examples, whose lines change from `unknown` to digits, make it expect a digit. All
slots of a text are thus read from one forward pass ("all at once").

Positions are counted while the prompt is assembled, never searched in its text: a token that is itself
`unknown`, a tab or a piece of a character is like any other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

from featureinterp import llm
from featureinterp.chat import Message
from featureinterp.formatting import escape, format_record, one_line
from featureinterp.llm.local.encoding import PromptEncoder, Turn

WITHHELD = "unknown"
"""Placeholder of an unknown level."""

_PROMPT = Path(llm.__file__).parent / "prompts" / "simulate.json"


@dataclass(frozen=True)
class _Example:
    words: str
    tokens: tuple[str, ...]
    levels: tuple[int, ...]
    known_from: int

    def pieces(self, withheld: str) -> tuple[str, ...]:
        values = [withheld if i < self.known_from else str(level) for i, level in enumerate(self.levels)]
        return tuple(chain.from_iterable(map(line, self.tokens, values)))


@dataclass(frozen=True)
class SimulationPrompt:
    """Fixed part of the simulation prompt."""

    version: int
    instruction: str
    chat_instruction: str
    """Instruction for a model that writes the levels itself."""
    question: str
    examples: tuple[_Example, ...]

    def turns(self, words: str, withheld: str = WITHHELD) -> list[Turn]:
        """Return the conversation up to the lines of the simulated text.

        Args:
            words: text of a rule; line breaks become spaces.
            withheld: placeholder of an unknown level.
        """
        opening = self.instruction.replace("{withheld}", withheld) + "\n\n"
        turns: list[Turn] = []
        for example in self.examples:
            turns.append(Turn("user", (opening + self.question, example.words, "\n")))
            turns.append(Turn("assistant", example.pieces(withheld)))
            opening = ""
        return [*turns, Turn("user", (opening + self.question, one_line(words), "\n")), Turn("assistant", ())]

    def messages(self, words: str, tokens: Sequence[str]) -> tuple[Message, ...]:
        """Return the conversation for a model that writes the lines `token<TAB>level`.

        Args:
            words: text of a rule; line breaks become spaces.
            tokens: tokens of the text to simulate.
        """
        messages = []
        opening = self.chat_instruction + "\n\n"
        for example in self.examples:
            messages.append(Message("user", opening + self._task(example.words, example.tokens)))
            messages.append(Message("assistant", format_record(example.tokens, example.levels)))
            opening = ""
        return (*messages, Message("user", opening + self._task(words, tokens)))

    def _task(self, words: str, tokens: Sequence[str]) -> str:
        return "\n".join((self.question + one_line(words), "", "The text:", *map(escape, tokens)))


@cache
def simulation_prompt() -> SimulationPrompt:
    """Return the packaged simulation prompt."""
    data = json.loads(_PROMPT.read_text(encoding="utf-8"))
    examples = [_Example(e["words"], tuple(e["tokens"]), tuple(e["levels"]), e["known_from"]) for e in data["examples"]]
    texts = (data["instruction"], data["chat_instruction"], data["question"])
    return SimulationPrompt(data["version"], *texts, tuple(examples))


def line(token: str, value: str) -> tuple[str, str, str, str]:
    """Return the pieces of one line, with the token escaped."""
    return (escape(token), "\t", value, "\n")


@dataclass(frozen=True)
class Slots:
    """Encoded text and its slots."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    """For each token, the index in `ids` whose next token is its level."""


def window_slots(encoder: PromptEncoder, tokens: Sequence[str]) -> Slots:
    """Encode a window's tokens without levels, up to the last slot."""
    ids: list[int] = []
    positions: list[int] = []
    before = "\n"
    for token in tokens:
        head, tab, *rest = encoder.pieces(line(token, WITHHELD), before)
        ids += (*head, *tab)
        positions.append(len(ids) - 1)
        ids += chain.from_iterable(rest)
    end = positions[-1] + 1 if positions else 0
    return Slots(tuple(ids[:end]), tuple(positions))


@dataclass(frozen=True)
class TextSlots:
    """A prompt as text, and its slots."""

    text: str
    offsets: tuple[int, ...]
    """For each token, the character index of its withheld level."""


def text_slots(words: str, tokens: Sequence[str], withheld: str) -> TextSlots:
    """Render the whole prompt as text in the plain layout: turns separated by an empty line."""
    text = "\n\n".join("".join(turn.pieces) for turn in simulation_prompt().turns(words, withheld))
    offsets: list[int] = []
    for token in tokens:
        head, tab, mark, end = line(token, withheld)
        offsets.append(len(text) + len(head) + len(tab))
        text += head + tab + mark + end
    return TextSlots(text, tuple(offsets))
