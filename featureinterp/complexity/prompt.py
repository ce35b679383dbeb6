"""Prompt of the complexity models: worked examples, then the rule; the answer is a digit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from featureinterp import llm
from featureinterp.chat import Message
from featureinterp.formatting import one_line

_PROMPT = Path(llm.__file__).parent / "prompts" / "complexity.json"


@cache
def _prompt() -> Mapping[str, Any]:
    return json.loads(_PROMPT.read_text(encoding="utf-8"))


def prompt_version() -> int:
    """Return the version of the prompt."""
    return _prompt()["version"]


def messages(words: str) -> tuple[Message, ...]:
    """Return the conversation about a rule's words, up to the answer."""
    prompt = _prompt()
    made: list[Message] = []
    opening = prompt["instruction"] + "\n\n"
    for example in prompt["examples"]:
        made.append(Message("user", opening + prompt["question"] + example["words"]))
        made.append(Message("assistant", str(example["level"])))
        opening = ""
    return (*made, Message("user", opening + prompt["question"] + one_line(words)))
