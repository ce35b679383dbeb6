"""What the contract suites run over: for every registered part, how a test makes one.

A new part is one line here; a suite fails while a registered name is missing from its table. Parts that need a
language model get one that answers from a script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from featureinterp.explainer import OneShotExplainerParams
from featureinterp.explainer.llm.proposer import LLMProposer
from featureinterp.explainer.registry import EXPLAINERS, make_proposer
from featureinterp.llm.embedding import MiniLMEmbedder
from featureinterp.protocols import ChatModel, Explainer, Proposer, SimulatorFactory, TextEmbedder
from featureinterp.record import ActivationRecord
from featureinterp.scoring import TokenLookupSimulator
from featureinterp.simulator import LexicalSimulatorFactory, LLMSimulatorFactory, make_simulator_factory
from tests.contract.rating import RatingModel
from tests.contract.reader import reading_model
from tests.invented import invented_record
from tests.models.tiny_llms import local_model

TRAIN: tuple[ActivationRecord, ...] = tuple(invented_record(i) for i in range(30))
VALID: tuple[ActivationRecord, ...] = tuple(invented_record(i) for i in range(30, 60))

MakeProposer = Callable[[OneShotExplainerParams], Proposer]

PROPOSERS: Mapping[str, MakeProposer] = {
    "lexical": lambda params: make_proposer("lexical", params),
    "lexical, a sentence": lambda params: make_proposer("lexical", replace(params, structured_explanations=False)),
    "a language model": lambda params: LLMProposer(reading_model(), params),
}
"""Registered name, or what it is, to a function from an explainer's parameters to a fresh proposer."""

SIMULATORS: Mapping[str, Callable[[], SimulatorFactory]] = {
    "lexical": lambda: make_simulator_factory("lexical", device="cpu"),
    "hf": lambda: LLMSimulatorFactory(model=local_model("llama3", length=65_536)),
    "echo": lambda: make_simulator_factory("echo:local:rating", open_model=lambda name: RatingModel()),
    "chat": lambda: make_simulator_factory("chat:local:rating", open_model=lambda name: RatingModel()),
}
"""Registered kind to a function that makes a fresh factory of simulators, which read an explanation's words."""

WORDLESS: Mapping[str, Callable[[], SimulatorFactory]] = {
    "token lookup": lambda: lambda explanation: TokenLookupSimulator(TRAIN),
}
"""Simulators that the words of an explanation do not concern."""

CHAT_MODELS: Mapping[str, Callable[[], ChatModel]] = {
    "scripted": reading_model,
}

EMBEDDERS: Mapping[str, Callable[[], TextEmbedder]] = {
    "all-MiniLM-L6-v2": lambda: MiniLMEmbedder(device="cpu"),
}


def make_explainer(name: str, proposer: Proposer, simulator_factory: SimulatorFactory | None = None) -> Explainer:
    """Make a registered explainer, with the lexical simulator unless another is given."""
    return EXPLAINERS.load(name)(proposer=proposer, simulator_factory=simulator_factory or LexicalSimulatorFactory())
