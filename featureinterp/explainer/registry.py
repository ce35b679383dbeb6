"""Names of proposers and explainers, and how a name becomes an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from featureinterp.errors import InputError
from featureinterp.protocols import Proposer
from featureinterp.simulator.registry import load

if TYPE_CHECKING:
    from featureinterp.explainer.one_shot import OneShotExplainerParams

PROPOSERS = {"lexical": "featureinterp.explainer.lexical:make_lexical_proposer"}
"""Name to the place of a function from the explainer's parameters to a proposer."""

EXPLAINERS = {
    "one-shot": "featureinterp.explainer.one_shot:OneShotExplainer",
    "tree": "featureinterp.explainer.tree:TreeExplainer",
}
"""Name to the place of an explainer's class."""


def make_proposer(model_name: str, params: OneShotExplainerParams) -> Proposer:
    """Make the proposer of that name.

    Raises:
        InputError: if no proposer of that name is registered.
    """
    if model_name not in PROPOSERS:
        known = ", ".join(sorted(PROPOSERS))
        raise InputError(f"there is no proposer {model_name!r}", f"use one of: {known}; or pass your own as proposer=")
    return load(PROPOSERS[model_name])(params)
