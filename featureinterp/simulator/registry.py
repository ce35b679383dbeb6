"""Names of simulators, and how a name becomes a factory.

A name is a kind, or `kind:model` if the kind needs a model:

    lexical                            no language model
    hf:google/gemma-2-9b-it@4bit       a Hugging Face model, by name or folder; @4bit and @8bit quantize it
    echo:local:google/gemma-2-9b       a server that rates the tokens of a prompt (vLLM)
    chat:openrouter:openai/gpt-4.1     an endpoint that writes the levels
    my_module:my_simulator             a function or class of another package
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from featureinterp.knobs import unknown_option, with_options
from featureinterp.registry import Registry, load, make, params_of
from featureinterp.simulator.alignment import simulation_prompt
from featureinterp.simulator.lexical import EmbeddingMemory
from featureinterp.simulator.rules import RuleSimulatorFactory

SIMULATORS = Registry(
    "simulator",
    {
        "lexical": "featureinterp.simulator.lexical:make_lexical_simulator_factory",
        "hf": "featureinterp.simulator.llm:make_local_simulator_factory",
        "echo": "featureinterp.simulator.server:make_echo_simulator_factory",
        "chat": "featureinterp.simulator.server:make_chat_simulator_factory",
    },
    group="featureinterp.simulators",
)
"""Kinds, called as `f(argument, device, open_model)`, where the argument is what stands behind the colon; of `params`
and `embeddings`, those that they name are passed too."""

SERVED = frozenset({"echo", "chat"})
"""Kinds with a language model behind an endpoint."""


def is_served(name: str) -> bool:
    """Return whether the simulator of that name uses a language model behind an endpoint."""
    return name.partition(":")[0] in SERVED


def kind_and_model(name: str) -> tuple[str, str]:
    """Return the registered kind in a name, and the argument after its colon.

    Raises:
        InputError: if no simulator of that kind is registered.
    """
    kind, _, what = name.partition(":")
    if kind in SIMULATORS or (":" in name and kind in SIMULATORS.choices()):
        return kind, what
    return SIMULATORS.check(name), ""


def check_simulator_name(name: str) -> None:
    """Check a name without loading anything.

    Raises:
        InputError: if no simulator of that kind is registered.
    """
    kind_and_model(name)


def simulator_params(name: str, options: Mapping[str, object]) -> Any:  # noqa: ANN401 - any dataclass
    """Return the parameters of the simulator of that name; None if it has none.

    Raises:
        InputError: if no simulator of that kind is registered, or it lacks an option.
    """
    params = params_of(SIMULATORS.load(kind_and_model(name)[0]))
    if params is not None:
        return with_options(params(), options, f"simulator {name}")
    for option in options:
        raise unknown_option(option, f"simulator {name}", ())
    return None


def make_simulator_factory(
    name: str,
    *,
    device: str = "auto",
    open_model: Callable[[str], Any] | None = None,
    options: Mapping[str, object] | None = None,
    embeddings: EmbeddingMemory | None = None,
) -> RuleSimulatorFactory:
    """Create the simulator factory of that name; its `fresh()` shares the model and has an empty cache.

    Args:
        name: a registered kind, with its argument after a colon.
        device: device of a local model: a torch device, or `auto` for a GPU if there is one.
        open_model: opens an endpoint's model by name and closes it; `open_chat_model` by default.
        options: values of the simulator's own knobs, typed or as text.
        embeddings: shared embeddings; new ones by default.

    Raises:
        InputError: if no simulator of that kind is registered, its argument is invalid, or it
            lacks an option.
        SubjectError: if a local model cannot be loaded, or cannot simulate.
    """
    kind, what = kind_and_model(name)
    params = simulator_params(name, options or {})
    offered = {"embeddings": embeddings or EmbeddingMemory(), **({} if params is None else {"params": params})}
    return make(SIMULATORS.load(kind), what, device, open_model or _open_model, **offered)


PROMPTED = frozenset({"hf", "echo", "chat"})
"""Kinds with the packaged simulation prompt."""


def prompt_version(name: str) -> int | None:
    """Return the prompt version of the simulator of that name; None if it has no prompt."""
    return simulation_prompt().version if name.partition(":")[0] in PROMPTED else None


def prompt_hash(name: str) -> str | None:
    """Return a hash of the prompt before every text of the simulator of that name; None if it has no prompt.

    For a local model the hash covers the token ids, so it changes with the chat template and the tokenizer.

    Raises:
        InputError: if no simulator of that kind is registered, or no model is named.
        SubjectError: if the tokenizer of a local model cannot be loaded, or cannot render the prompt.
    """
    kind, what = kind_and_model(name)
    if kind not in PROMPTED:
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
