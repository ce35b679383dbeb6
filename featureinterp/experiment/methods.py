"""How a run explains: the settings of explainer, proposer and simulator, and the objects made from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from featureinterp.errors import InputError
from featureinterp.experiment.run import Method
from featureinterp.explainer import EXPLAINERS, PROPOSERS, OneShotExplainerParams, TreeExplainerParams
from featureinterp.explainer.lexical import LexicalProposer, LexicalProposerParams
from featureinterp.simulator.lexical import EmbeddingMemory, LexicalSimulatorFactory
from featureinterp.simulator.registry import load


@dataclass(frozen=True)
class MethodSpec:
    """What explains the features of a run, by registered names."""

    explainer: str = "tree"
    proposer: str = "lexical"
    rule_cap: int = 5
    """Most rules in an explanation."""
    depth: int = 3
    """Rounds of revision (tree)."""
    width: int = 3
    """Attempts kept after each round (tree)."""

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("explainer", self.explainer, EXPLAINERS),
            ("proposer", self.proposer, PROPOSERS),
        ):
            if name not in known:
                raise InputError(f"there is no {kind} {name!r}", f"use one of: {', '.join(sorted(known))}")
        for what in ("rule_cap", "depth", "width"):
            if getattr(self, what) < 1:
                raise InputError(f"{what} is {getattr(self, what)}", "at least 1 is wanted")

    @property
    def name(self) -> str:
        """Explainer and proposer, as `tree/lexical`."""
        return f"{self.explainer}/{self.proposer}"

    def explainer_params(self) -> OneShotExplainerParams:
        """Return the explainer's own parameters."""
        if self.explainer == "tree":
            return TreeExplainerParams(rule_cap=self.rule_cap, depth=self.depth, width=self.width)
        return OneShotExplainerParams(rule_cap=self.rule_cap)


def method_maker(spec: MethodSpec, embeddings: EmbeddingMemory | None = None) -> Callable[[], Method]:
    """Return a function that makes a fresh method for each feature.

    What the simulator remembers of a feature is let go of with it; word embeddings are shared by all.
    """
    shared = embeddings or EmbeddingMemory()

    def make() -> Method:
        simulator_factory = LexicalSimulatorFactory(shared)
        proposer = None
        if spec.proposer == "lexical":
            proposer = LexicalProposer(LexicalProposerParams(rule_cap=spec.rule_cap), shared)
        explainer = load(EXPLAINERS[spec.explainer])(
            spec.proposer, params=spec.explainer_params(), simulator_factory=simulator_factory, proposer=proposer
        )
        return Method(spec.name, explainer, simulator_factory)

    return make
