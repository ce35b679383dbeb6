"""Names of proposers and explainers, and how a name becomes an object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from featureinterp.errors import InputError
from featureinterp.explainer.params import LLMProposerParams, OneShotExplainerParams
from featureinterp.knobs import with_options
from featureinterp.llm.api.providers import BASE_URL_NAME, PROVIDERS, parse_model_name, setting
from featureinterp.protocols import Proposer
from featureinterp.registry import Registry, load, make, params_of
from featureinterp.simulator.lexical import EmbeddingMemory

PROPOSERS = Registry(
    "proposer",
    {"lexical": "featureinterp.explainer.lexical.proposer:LexicalProposer"},
    group="featureinterp.proposers",
    other_kinds=PROVIDERS,
)
"""Proposers, called as `f(params)`, and with `embeddings` and `open_model` if they accept them."""

EXPLAINERS = Registry(
    "explainer",
    {
        "one-shot": "featureinterp.explainer.one_shot:OneShotExplainer",
        "tree": "featureinterp.explainer.tree:TreeExplainer",
        "best-of-n": "featureinterp.explainer.best_of_n:BestOfNExplainer",
    },
    group="featureinterp.explainers",
    other_kinds=PROVIDERS,
)
"""Explainers, called with those of `model_name`, `params`, `simulator_factory` and `proposer` that they accept."""


URL_OF_MODEL = re.compile(r"@https?://\S+")
"""URL behind the name of a language model."""


def is_model_name(name: str) -> bool:
    """Whether a name names a language model: `provider:model`, of any provider, or `vendor/model`."""
    return "/" in name or ":" in name


def proposer_name(model_name: str) -> str:
    """Return a proposer's name in results: the registered one, or provider and model without URL.

    Raises:
        InputError: if it names neither a proposer nor a language model.
    """
    if PROPOSERS.has(model_name):
        return model_name
    if not is_model_name(model_name):
        error = PROPOSERS.unknown(model_name)
        raise InputError(error.problem, f"{error.hint}, or a language model, as provider:model")
    try:
        return parse_model_name(model_name, setting(BASE_URL_NAME)).name
    except InputError as error:
        if "/" in model_name or model_name.partition(":")[0] in PROVIDERS:
            raise
        raise InputError(error.problem, f"{error.hint}; or module:Class of a module on PYTHONPATH") from error


def default_simulator(model_name: str) -> str:
    """Return the name of the simulator where none is named: words of a language model are read by that model.

    Args:
        model_name: name of the proposer: a registered one, or a language model, with its URL if it needs one.

    Returns:
        `chat:` and the language model, or `lexical`.

    Raises:
        InputError: if it names neither a proposer nor a language model.

    >>> default_simulator("meta-llama/llama-4-scout"), default_simulator("lexical")
    ('chat:openrouter:meta-llama/llama-4-scout', 'lexical')
    """
    name = proposer_name(model_name)
    address = URL_OF_MODEL.search(model_name)
    return "lexical" if PROPOSERS.has(model_name) else f"chat:{name}{address.group() if address else ''}"


def explainer_params(name: str, shared: Mapping[str, object], options: Mapping[str, object]) -> Any:  # noqa: ANN401
    """Return an explainer's own Params.

    Args:
        name: name of the explainer.
        shared: values by field name; those that the explainer's Params lack are ignored.
        options: values of its knobs, typed or as text.

    Raises:
        InputError: if there is no such explainer, or it lacks an option.
    """
    owner = f"explainer {name}"
    params = params_of(EXPLAINERS.load(name)) or OneShotExplainerParams
    return with_options(_filled(params, shared, owner), options, owner, shared)


def shared_params(shared: Mapping[str, object]) -> OneShotExplainerParams:
    """Return the parameters shared by all proposers, from values by field name."""
    return _filled(OneShotExplainerParams, shared, "proposer")


def proposer_params(name: str, params: Any, options: Mapping[str, object]) -> Any:  # noqa: ANN401 - any dataclass
    """Return a proposer's parameters: its own Params, filled from the explainer's, or the explainer's if it has none.

    Those of a language model are `LLMProposerParams`.

    Args:
        name: name of the proposer.
        params: the explainer's parameters.
        options: values of the proposer's own knobs, typed or as text.

    Raises:
        InputError: if it lacks an option.
    """
    owner = f"proposer {name}"
    own = params_of(PROPOSERS.load(name)) if PROPOSERS.has(name) else LLMProposerParams
    shared = {field.name: getattr(params, field.name) for field in fields(params)}
    if own is None:
        return with_options(params, options, owner, shared)
    convert: Callable[[Any], Any] | None = getattr(own, "of", None)
    filled = convert(params) if convert else _filled(own, shared, owner)
    return with_options(filled, options, owner, shared)


def make_proposer(
    model_name: str,
    params: OneShotExplainerParams,
    options: Mapping[str, object] | None = None,
    *,
    embeddings: EmbeddingMemory | None = None,
    open_model: Callable[[str], Any] | None = None,
) -> Proposer:
    """Make the proposer of that name: a registered one, or one on the language model of that name.

    Args:
        model_name: registered name, or provider and model.
        params: the explainer's parameters.
        options: values of the proposer's own knobs, typed or as text.
        embeddings: shared embeddings; new ones by default.
        open_model: opens an endpoint's model by name; `open_chat_model` by default.

    Raises:
        InputError: if it names neither a proposer nor a language model, or lacks an option.
        DataFolderError, StorageError: if the ledger of cached answers cannot be opened.
    """
    proposer_name(model_name)
    own = proposer_params(model_name, params, options or {})
    open_model = open_model or _open_model
    if PROPOSERS.has(model_name):
        embeddings = embeddings or EmbeddingMemory()
        return make(PROPOSERS.load(model_name), own, embeddings=embeddings, open_model=open_model)
    return load("featureinterp.explainer.llm.proposer:LLMProposer")(open_model(model_name), own)


def _filled(params: Any, shared: Mapping[str, object], owner: str) -> Any:  # noqa: ANN401 - any dataclass
    names = {field.name for field in fields(params) if field.init}
    try:
        return params(**{name: value for name, value in shared.items() if name in names})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the Params of the {owner} cannot be created: {error}", "every field needs a default"
        ) from error


def _open_model(name: str) -> Any:  # noqa: ANN401 - a ChatModel and a PromptModel
    return load("featureinterp.llm.api.client:open_chat_model")(name)
