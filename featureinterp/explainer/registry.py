"""Names of proposers and explainers, and how a name becomes an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featureinterp.errors import InputError
from featureinterp.llm.api.providers import BASE_URL_NAME, parse_model_name, setting
from featureinterp.protocols import Proposer
from featureinterp.simulator.registry import load

if TYPE_CHECKING:
    from featureinterp.explainer.one_shot import OneShotExplainerParams

PROPOSERS = {"lexical": "featureinterp.explainer.lexical.proposer:make_lexical_proposer"}
"""Name to the place of a function from the explainer's parameters to a proposer."""

EXPLAINERS = {
    "one-shot": "featureinterp.explainer.one_shot:OneShotExplainer",
    "tree": "featureinterp.explainer.tree:TreeExplainer",
}
"""Name to the place of an explainer's class."""


def proposer_name(model_name: str) -> str:
    """Return a proposer's name as it stands in results: the registered one, or provider and model without address.

    Raises:
        InputError: if it names neither a proposer nor a language model.
    """
    if model_name in PROPOSERS:
        return model_name
    if not {":", "/"} & set(model_name):
        known = ", ".join(sorted(PROPOSERS))
        raise InputError(
            f"there is no proposer {model_name!r}",
            f"use one of: {known}; or a language model, as provider:model; or pass your own as proposer=",
        )
    return parse_model_name(model_name, setting(BASE_URL_NAME)).name


def make_proposer(model_name: str, params: OneShotExplainerParams) -> Proposer:
    """Make the proposer of that name: a registered one, or one that asks the language model of that name.

    Raises:
        InputError: if it names neither a proposer nor a language model.
        DataFolderError, StorageError: if the ledger of its answers cannot be opened.
    """
    proposer_name(model_name)
    if model_name in PROPOSERS:
        return load(PROPOSERS[model_name])(params)
    model = load("featureinterp.llm.api.client:open_chat_model")(model_name)
    return load("featureinterp.explainer.llm.proposer:LLMProposer")(model, params)
