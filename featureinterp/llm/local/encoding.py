"""Prompts as token ids, encoded piece by piece so that all positions are known.

A tokenizer may merge a tab with the following word, or put a space before a text's first word. So the pieces of a
prompt are encoded separately, each as in the middle of a text, and their ids are concatenated.
Only the chat template itself may contain special tokens; in the pieces `<eos>` is five characters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from featureinterp.chat import Role
from featureinterp.errors import SubjectError
from featureinterp.pretrained.hub import first_words
from featureinterp.pretrained.opening import load_tokenizer
from featureinterp.pretrained.sources import opening_language_model

_LEFT_CONTEXTS = ("\n", "a", ".")
"""Characters after which a piece is encoded if it merges with its real predecessor."""

_DATE = "26 Jul 2024"
"""Date in every prompt: many templates write the current date, and results would change with it."""

_DATE_CODES = {
    "%Y": "2024", "%y": "24", "%G": "2024", "%m": "07", "%-m": "7", "%B": "July", "%b": "Jul", "%h": "Jul",
    "%d": "26", "%-d": "26", "%e": "26", "%A": "Friday", "%a": "Fri", "%u": "5", "%w": "5", "%j": "208", "%-j": "208",
    "%U": "29", "%V": "30", "%W": "30", "%H": "00", "%-H": "0", "%I": "12", "%-I": "12", "%M": "00", "%-M": "0",
    "%S": "00", "%-S": "0", "%f": "000000", "%p": "AM", "%Z": "UTC", "%z": "+0000", "%s": "1721952000",
    "%F": "2024-07-26", "%D": "07/26/24", "%x": "07/26/24", "%T": "00:00:00", "%X": "00:00:00", "%R": "00:00",
    "%r": "12:00:00 AM", "%c": "Fri Jul 26 00:00:00 2024", "%n": " ", "%t": " ", "%%": "%",
}  # fmt: skip
"""The same date in every format of `strftime_now`, independent of the locale."""

_TEMPLATE_OPTIONS = {"date_string": _DATE, "enable_thinking": False}
"""Template options: Llama 3 would write the current date, Qwen 3 would reason; other templates ignore them."""

_BY_CHANCE = re.compile(r"\|\s*random\b|\blipsum\b")
"""Jinja's filter and function with random output."""

_TEMPLATE_FAULTS = (
    TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, ImportError
)  # fmt: skip
"""Errors of templates: their own, and those of the operations that they apply to texts."""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation, as separately encoded pieces."""

    role: Role
    pieces: tuple[str, ...]


class PromptEncoder:
    """Encodes conversations and pieces of text with a model's tokenizer.

    A tokenizer without a chat template gets the plain layout: the turns' texts separated by empty lines, after the
    BOS token if the tokenizer adds one.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        self.name = name
        self._tokenizer = tokenizer
        self._known: dict[tuple[str, str], tuple[int, ...]] = {}

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(getattr(self._tokenizer, "chat_template", None))

    def conversation(self, turns: Sequence[Turn]) -> list[tuple[int, ...]]:
        """Return the ids of a conversation; the last turn stays open.

        Returns:
            For each turn, the ids of the layout before it, and those of each of its pieces.

        Raises:
            SubjectError: if the chat template cannot render the turns.
        """
        frame = self._template_frame(turns) if self.has_chat_template else self._plain_frame(turns)
        parts: list[tuple[int, ...]] = []
        for before, turn in zip(frame, turns, strict=True):
            parts += [tuple(before), *self.pieces(turn.pieces)]
        return parts

    def pieces(self, texts: Sequence[str], before: str = "\n") -> list[tuple[int, ...]]:
        """Return the ids of each of several consecutive pieces, the first one after `before`."""
        encoded = []
        for text in texts:
            encoded.append(self._piece(text, before[-1:]))
            before = text or before
        return encoded

    def digest(self, turns: Sequence[Turn]) -> str:
        """Return a SHA-256 of the ids of a conversation; depends on template, tokenizer and text.

        Raises:
            SubjectError: as `conversation`.
        """
        return hashlib.sha256(repr(self.conversation(turns)).encode()).hexdigest()

    def digits(self, n: int, before: str) -> list[int]:
        """Return the ids of the digits 0 to n-1 after a text.

        Raises:
            SubjectError: if a digit is not a single token.
        """
        found = [self.pieces([str(digit)], before)[0] for digit in range(n)]
        for digit, ids in enumerate(found):
            if len(ids) != 1 or found.count(ids) > 1 or ids[0] == self._tokenizer.unk_token_id:
                raise SubjectError(
                    f"the tokenizer of {self.name!r} has no token of its own for the digit {digit}: it has {list(ids)}",
                    "use a model of another family: each level must be one token",
                )
        return [ids[0] for ids in found]

    def _piece(self, text: str, left: str) -> tuple[int, ...]:
        key = (left, text)
        if key not in self._known:
            self._known[key] = tuple(self._behind(text, left, plain=True))
        return self._known[key]

    def _behind(self, text: str, left: str, *, plain: bool) -> list[int]:
        """Encode a text after a character, without the character's ids."""
        for context in (left, *_LEFT_CONTEXTS) if text else ():
            alone, together = self._ids(context, plain=plain), self._ids(context + text, plain=plain)
            if together[: len(alone)] == alone and len(together) > len(alone):
                return together[len(alone) :]
        return self._ids(text, plain=plain) if text else []

    def _ids(self, text: str, *, plain: bool) -> list[int]:
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain, verbose=False)
        return list(encoded["input_ids"])

    def _template_frame(self, turns: Sequence[Turn]) -> list[list[int]]:
        """Return the template's ids before each turn's text."""
        marks = [f"featureinterp-turn-{i}-" for i in range(len(turns))]
        messages = [{"role": turn.role, "content": mark} for turn, mark in zip(turns, marks, strict=True)]
        template, text = self._template, ""
        try:
            text = self._tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, **_TEMPLATE_OPTIONS
            )
        except _TEMPLATE_FAULTS as error:
            raise SubjectError(
                f"the chat template of {self.name!r} refuses turns of user and assistant: {first_words(error)}",
                "use a model with another template, or a base model without one",
            ) from error
        frame = []
        for mark in marks:
            before, found, text = text.partition(mark)
            if not found or mark in text:
                raise SubjectError(
                    f"the chat template of {self.name!r} does not render the text of every turn exactly once"
                )
            frame.append(self._behind(before, "\n", plain=False) if frame else self._ids(before, plain=False))
        return frame

    @cached_property
    def _template(self) -> str:
        """Return the chat template with a fixed date in `strftime_now`.

        Raises:
            SubjectError: if there are several and none is the default, or it is random.
        """
        try:
            template = self._tokenizer.get_chat_template()
        except ValueError as error:
            raise SubjectError(
                f"{self.name!r} has several chat templates and none is called default", "name one of them default"
            ) from error
        if chance := _BY_CHANCE.search(template):
            raise SubjectError(
                f"the chat template of {self.name!r} is random ({chance.group()}): results would not be reproducible",
                "remove the random choice from chat_template",
            )
        return pinned_date() + template

    def _plain_frame(self, turns: Sequence[Turn]) -> list[list[int]]:
        first = list(self._tokenizer("a", verbose=False)["input_ids"])[:1]
        begin = first if first == [self._tokenizer.bos_token_id] else []
        between = list(self.pieces(["\n\n"], ".")[0])
        return [begin, *([between] * (len(turns) - 1))]


def pinned_date() -> str:
    """Return a chat template prefix that fixes the date of `strftime_now`."""
    codes = "".join(f".replace({code!r}, {text!r})" for code, text in _DATE_CODES.items())
    return "{% macro strftime_now(format) %}{{ format" + codes + " }}{% endmacro %}\n"


def open_encoder(model_name: str, hint: str) -> PromptEncoder:
    """Open the encoder of a model (folder or hub name), without loading the model.

    Raises:
        SubjectError: if its tokenizer cannot be loaded.
    """
    with opening_language_model(model_name, f"language model {model_name!r}", hint) as source:
        return PromptEncoder(model_name, load_tokenizer(source))
