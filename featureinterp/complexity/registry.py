"""Names of complexity judges, and how a name becomes a judge.

lexical                    no language model
hf:google/gemma-2-9b-it    a local model, by folder or name on the Hugging Face hub
openai:gpt-4.1-mini        a language model behind an endpoint that returns log probabilities
"""

from __future__ import annotations

from typing import Protocol

from featureinterp.complexity.prompt import prompt_version
from featureinterp.errors import InputError
from featureinterp.llm.api.providers import BASE_URL_NAME, parse_model_name, setting
from featureinterp.registry import Registry


class ComplexityJudge(Protocol):
    """Interface: complexity of a rule's words."""

    async def judge(self, words: str) -> float:
        """Return a number from 0 to 5."""
        ...


JUDGES = Registry(
    "complexity judge",
    {
        "lexical": "featureinterp.complexity.lexical:make_lexical_judge",
        "hf": "featureinterp.complexity.local:make_local_judge",
        "chat": "featureinterp.complexity.chat:make_chat_judge",
    },
)
"""Kinds, called as `f(model, device)`."""

PROMPT_HASHES = Registry(
    "complexity prompt",
    {
        "hf": "featureinterp.complexity.local:local_prompt_hash",
        "chat": "featureinterp.complexity.chat:chat_prompt_hash",
    },
)
"""Kinds with a prompt, called as `f(model)`."""

LOCAL = frozenset({"lexical", "hf"})
"""Kinds that use no endpoint. The kind `chat` stands in no name: its name is that of its model."""

HINT = "write hf:MODEL, a folder or a name on the hub"


def kind_and_model(name: str) -> tuple[str, str]:
    """Return the registered kind of a name, and its model: empty for `lexical`, the whole name for an endpoint's.

    Raises:
        InputError: if `hf` names no model.
    """
    kind, _, model = name.partition(":")
    if name == "lexical":
        return name, ""
    if kind not in LOCAL or kind == "lexical":
        return "chat", name
    if not model:
        raise InputError(f"the complexity judge {kind!r} names no model", HINT)
    return kind, model


def is_local(name: str) -> bool:
    """Return whether the judge of that name uses no endpoint.

    Raises:
        InputError: if `hf` names no model.
    """
    return kind_and_model(name)[0] in LOCAL


def check_complexity_name(name: str) -> str:
    """Return a judge's name as stored in results: `lexical`, `hf:MODEL`, or provider and model without URL.

    Raises:
        InputError: if it names no judge, or lacks its model.
    """
    return name if is_local(name) else parse_model_name(name, setting(BASE_URL_NAME)).name


def make_judge(name: str, device: str = "auto") -> ComplexityJudge:
    """Return the judge of that name; a local model is loaded.

    Args:
        name: name of the judge.
        device: device of a local model: a torch device, or `auto` for a GPU if there is one.

    Raises:
        InputError: if the name names no judge, or lacks its model.
        SubjectError: if a local model cannot be loaded, or does not fit the task.
    """
    kind, model = kind_and_model(name)
    return JUDGES.load(kind)(model, device)


def prompt_version_of(name: str) -> int | None:
    """Return the prompt version of the judge of that name; None if it has no prompt."""
    return prompt_version() if kind_and_model(name)[0] in PROMPT_HASHES else None


def prompt_hash(name: str) -> str | None:
    """Return a hash of the prompt before every rule of the judge of that name; None if it has no prompt.

    For a local model the hash covers the token ids, so it changes with the chat template and the tokenizer.

    Raises:
        InputError: if `hf` names no model.
        SubjectError: if the tokenizer of a local model cannot be loaded, or does not fit the task.
    """
    kind, model = kind_and_model(name)
    return PROMPT_HASHES.load(kind)(model) if kind in PROMPT_HASHES else None
