"""Names of simulators, and how a name becomes a factory.

A name is a kind, or `kind:model` where the kind needs a model:

    lexical                            no language model
    hf:google/gemma-2-9b-it@4bit       a Hugging Face model, by name or folder; @4bit and @8bit quantize it
    echo:local:google/gemma-2-9b       a server that rates the tokens of a prompt (vLLM)
    chat:openrouter:openai/gpt-4.1     an endpoint that writes the levels
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from typing import Any

from featureinterp.errors import InputError
from featureinterp.simulator.alignment import simulation_prompt
from featureinterp.simulator.rules import RuleSimulatorFactory

SIMULATORS = {
    "lexical": "featureinterp.simulator.lexical:make_lexical_simulator_factory",
    "hf": "featureinterp.simulator.llm:make_local_simulator_factory",
    "echo": "featureinterp.simulator.server:make_echo_simulator_factory",
    "chat": "featureinterp.simulator.server:make_chat_simulator_factory",
}
"""Kind to the place of a function from what stands behind the colon, a device, and what opens chat models."""


SERVED = frozenset({"echo", "chat"})
"""Kinds that ask a language model behind an endpoint."""


def is_served(name: str) -> bool:
    """Return whether the simulator of that name asks a language model behind an endpoint."""
    return name.partition(":")[0] in SERVED


def load(place: str) -> Callable[..., Any]:
    """Import what stands at a `module:name` place."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def check_simulator_name(name: str) -> None:
    """Check a name without loading anything.

    Raises:
        InputError: if no simulator of that kind is registered.
    """
    if name.partition(":")[0] not in SIMULATORS:
        raise InputError(f"there is no simulator {name!r}", f"use one of: {', '.join(sorted(SIMULATORS))}")


def make_simulator_factory(
    name: str, *, device: str = "auto", open_model: Callable[[str], Any] | None = None
) -> RuleSimulatorFactory:
    """Make the simulator factory of that name; its `fresh()` shares the model and remembers nothing.

    Args:
        name: a registered kind, with what it needs behind a colon.
        device: where a local model computes: a torch device, or `auto` for the GPU where there is one.
        open_model: opens the model of a name at an endpoint, and sees to its end; `open_chat_model` by default.

    Raises:
        InputError: if no simulator of that kind is registered, or it does not know what stands behind the colon.
        SubjectError: if a local model cannot be loaded, or does not fit the task.
    """
    check_simulator_name(name)
    kind, _, what = name.partition(":")
    return load(SIMULATORS[kind])(what, device, open_model or _open_model)


def prompt_hash(name: str) -> str | None:
    """Return a hash of what the simulator of that name puts before every text; None where it has no prompt.

    Of a local model it is of the token ids, so it changes with its chat template and its tokenizer.

    Raises:
        InputError: if no simulator of that kind is registered, or no model is named.
        SubjectError: if the tokenizer of a local model cannot be loaded, or does not fit the task.
    """
    check_simulator_name(name)
    kind, _, what = name.partition(":")
    if kind == "lexical":
        return None
    if kind == "hf":
        return load("featureinterp.simulator.llm:local_prompt_hash")(what)
    prompt = simulation_prompt()
    if kind == "echo":
        said = [f"{turn.role}\n{''.join(turn.pieces)}" for turn in prompt.turns("x")]
    else:
        said = [f"{message.role}\n{message.content}" for message in prompt.messages("x", ["x"])]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def _open_model(name: str) -> Any:  # noqa: ANN401 - a ChatModel and a PromptModel
    return load("featureinterp.llm.api.client:open_chat_model")(name)
