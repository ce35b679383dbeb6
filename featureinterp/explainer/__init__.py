"""Explainers: from train records to explanations in words, in one shot or by a tree search.

`PROPOSERS` and `EXPLAINERS` are the registries: a name for the command line and the place of the class.
"""

from featureinterp.explainer.one_shot import OneShotExplainer
from featureinterp.explainer.params import OneShotExplainerParams, TreeExplainerParams
from featureinterp.explainer.registry import EXPLAINERS, PROPOSERS
from featureinterp.explainer.tree import TreeExplainer

__all__ = [
    "EXPLAINERS",
    "PROPOSERS",
    "OneShotExplainer",
    "OneShotExplainerParams",
    "TreeExplainer",
    "TreeExplainerParams",
]
