"""How a run explains: the settings of explainer, proposer and simulator, and the objects made from them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from featureinterp.chat import Usage
from featureinterp.complexity import ChatJudge, ComplexityAnalyzer
from featureinterp.complexity.registry import check_complexity_name, is_local
from featureinterp.complexity.registry import prompt_version_of as complexity_prompt_version
from featureinterp.errors import InputError, check_numbers
from featureinterp.experiment.run import Method
from featureinterp.explainer import EXPLAINERS, PROPOSERS, OneShotExplainerParams, TreeExplainerParams
from featureinterp.explainer.llm.prompts import PROMPT_VERSION
from featureinterp.explainer.params import ANSWER_TOKENS, MOST
from featureinterp.explainer.registry import (
    explainer_params,
    is_model_name,
    make_proposer,
    proposer_name,
    proposer_params,
    shared_params,
)
from featureinterp.knobs import knob_values, knobs
from featureinterp.llm.api.client import ChatClient, open_chat_model
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.ledger import DEFAULT_PATH
from featureinterp.llm.api.spending import Budget, Meter, MeteredModel, RunLimits
from featureinterp.registry import make
from featureinterp.simulator.lexical import EmbeddingMemory
from featureinterp.simulator.registry import (
    check_simulator_name,
    is_served,
    make_simulator_factory,
    simulator_params,
)
from featureinterp.simulator.registry import prompt_version as simulator_prompt_version
from featureinterp.simulator.rules import RuleSimulatorFactory

_ADDRESS = re.compile(r"@https?://\S+")

_NAMED = {
    "rule_cap": "rule_cap",
    "depth": "depth",
    "width": "width",
    "include_holistic_expressions": "holistic",
    "structured_explanations": "structured",
    "temperatures": "temperatures",
    "answer_tokens": "answer_tokens",
}
"""Fields of Params dataclasses that a method has names of its own for."""

_OPTIONS = ("explainer_options", "proposer_options", "simulator_options")


@dataclass(frozen=True)
class MethodSpec:
    """What explains the features of a run, by registered names or those of language models."""

    explainer: str = "tree"
    """tree, one-shot, module:Class, or MODEL (short for --explainer tree --proposer MODEL)."""
    proposer: str = "lexical"
    """lexical, module:Class, or a language model such as openrouter:meta-llama/llama-4-scout or
    local:MODEL@http://127.0.0.1:8000/v1."""
    rule_cap: int = TreeExplainerParams.rule_cap
    """Maximum number of rules in an explanation."""
    depth: int = TreeExplainerParams.depth
    """Number of revision rounds (tree)."""
    width: int = TreeExplainerParams.width
    """Number of attempts kept per round (tree)."""
    simulator: str = "lexical"
    """lexical, hf:MODEL, echo:PROVIDER:MODEL, chat:PROVIDER:MODEL, or module:function."""
    structured: bool = TreeExplainerParams.structured_explanations
    """Explain with rules and strengths (default), or with one sentence."""
    holistic: bool = TreeExplainerParams.include_holistic_expressions
    """Use holistic activations (tokens that cause activations)."""
    temperatures: tuple[float | None, ...] = TreeExplainerParams.temperatures
    """Sampling temperatures of a language model, such as 0.7,1.0, used in turn; none: omit the parameter."""
    complexity: str = "lexical"
    """Complexity judge: lexical, hf:MODEL, or a language model with log probabilities."""
    answer_tokens: int = TreeExplainerParams.answer_tokens
    """Maximum tokens of one answer of the proposer or the complexity judge, including reasoning."""
    explainer_options: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Knob of the explainer, such as -E root_nodes=5; repeatable. In Python, fields of its Params, typed or as text."""
    proposer_options: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Knob of the proposer, such as -P mining.rule_cost=8; repeatable."""
    simulator_options: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Knob of the simulator, such as -S batch_tokens=4096 (hf); repeatable."""

    def __post_init__(self) -> None:
        self._read_explainer()
        proposer_name(self.proposer)
        check_simulator_name(self.simulator)
        check_complexity_name(self.complexity)
        if not self.asks and self.temperatures != (1.0,):
            raise InputError(
                f"the {self.proposer} proposer draws nothing at random",
                "temperatures are for language models; name one",
            )
        if not self.writes and self.answer_tokens != ANSWER_TOKENS:
            raise InputError(
                "no language model behind an endpoint proposes or judges complexity, so --answer-tokens limits nothing",
                "name one, or leave the option out",
            )
        TreeExplainerParams(**self._named())  # checks what all explainers may be given
        check_numbers(self, depth=(1, MOST))
        self._read_options()

    def _read_explainer(self) -> None:
        """Replace a language model named as explainer by the tree search with that model as proposer.

        Raises:
            InputError: if there is no such explainer, or both fields name a proposer.
        """
        if EXPLAINERS.has(self.explainer):
            return
        if not is_model_name(self.explainer):
            error = EXPLAINERS.unknown(self.explainer)
            raise InputError(error.problem, f"{error.hint}, or a language model, as provider:model")
        if self.proposer != MethodSpec.proposer:
            raise InputError(
                f"--explainer {self.explainer} and --proposer {self.proposer} both name a proposer", "name one"
            )
        object.__setattr__(self, "proposer", self.explainer)
        object.__setattr__(self, "explainer", MethodSpec.explainer)

    def _read_options(self) -> None:
        """Give options the types of the knobs that they set.

        Raises:
            InputError: if a part does not have one, or does not take its value.
        """
        for options in _OPTIONS:
            given: Mapping[str, object] = getattr(self, options)
            for name in given:
                if name in _NAMED or name in _NAMED.values():
                    own = _NAMED.get(name, name)
                    raise InputError(f"{name} has an option of its own", f"give --{own.replace('_', '-')}, or {own}=")
        # Made even without options: what cannot be imported, or refuses another setting, is known before a run begins.
        made = (
            self.explainer_params(),
            proposer_params(self.proposer, self.shared_params(), self.proposer_options),
            simulator_params(self.simulator, self.simulator_options),
        )
        for options, params in zip(_OPTIONS, made, strict=True):
            object.__setattr__(self, options, knob_values(params, getattr(self, options)))

    @property
    def asks(self) -> bool:
        """Whether a language model proposes."""
        return not PROPOSERS.has(self.proposer)

    @property
    def writes(self) -> bool:
        """Whether a language model behind an endpoint writes answers that `answer_tokens` limits."""
        return self.asks or not is_local(self.complexity)

    @property
    def waits(self) -> bool:
        """Whether a language model behind an endpoint is waited for."""
        return self.writes or is_served(self.simulator)

    @property
    def name(self) -> str:
        """Explainer and proposer, as `tree/lexical`."""
        return f"{self.explainer}/{proposer_name(self.proposer)}"

    def baseline(self) -> MethodSpec:
        """Return the same search and simulator with the lexical proposer: what a language model is measured against."""
        limit = ANSWER_TOKENS if is_local(self.complexity) else self.answer_tokens
        return replace(
            self,
            proposer="lexical",
            proposer_options={},
            structured=True,
            holistic=False,
            temperatures=(1.0,),
            answer_tokens=limit,
        )

    def with_explainer(self, explainer: str) -> MethodSpec:
        """Return the same method with another explainer; knobs that it does not have are left out."""
        plain = replace(self, explainer=explainer, explainer_options={})
        known = knobs(plain.explainer_params())
        kept = {name: value for name, value in self.explainer_options.items() if name in known}
        return replace(plain, explainer_options=kept)

    def configuration(self) -> dict[str, object]:
        """Return all that decides results as JSON values: where a model is served and the keys to it do not."""
        names = {
            "proposer": proposer_name(self.proposer),
            "simulator": _ADDRESS.sub("", self.simulator),
            "complexity": check_complexity_name(self.complexity),
        }
        versions = {
            "prompt_version": PROMPT_VERSION if self.asks else None,
            "simulator_prompt_version": simulator_prompt_version(self.simulator),
            "complexity_prompt_version": complexity_prompt_version(self.complexity),
        }
        prompts = {name: version for name, version in versions.items() if version is not None}
        made = {**asdict(self), **names, **prompts, "temperatures": list(self.temperatures)}
        for options in _OPTIONS:
            if not made.pop(options):
                continue
            made[options] = msgspec.to_builtins(getattr(self, options))
        return made if self.writes else {name: value for name, value in made.items() if name != "answer_tokens"}

    def explainer_params(self) -> Any:  # noqa: ANN401 - the explainer's Params, any dataclass
        """Return the explainer's own parameters."""
        return explainer_params(self.explainer, self._named(), self.explainer_options)

    def shared_params(self) -> OneShotExplainerParams:
        """Return what every proposer gets of the method."""
        return shared_params(self._named())

    def _named(self) -> dict[str, Any]:
        return {field: getattr(self, name) for field, name in _NAMED.items()}


MOST_AT_ONCE = 1024
"""Requests on their way, processes, actors: each has files open, and a machine commonly lets 1,024 be."""


@dataclass(frozen=True)
class ModelAccess:
    """How a run reaches its language models; nothing here decides its results."""

    limits: RunLimits = field(default_factory=RunLimits)
    """Limits of the run over all its models."""
    spent: Usage = Usage()
    """Spending of earlier runs of the same command; counts towards the limits."""
    offline: bool = ChatParams.offline
    """Use cached answers only."""
    concurrency: int = ChatParams.concurrency
    """Number of concurrent requests, and of features explained concurrently."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:1 or mps."""
    request_seconds: float = ChatParams.total_seconds
    """Timeout of one request in seconds, up to the last byte; retried once."""
    ledger: Path = DEFAULT_PATH
    """Database of cached answers."""

    def __post_init__(self) -> None:
        check_numbers(self, concurrency=(1, MOST_AT_ONCE))


class Models:
    """What several methods share because it is dear: language models, what they may spend, simulators, embeddings.

    A context manager that waits for answers that are on their way, and stores them.
    """

    def __init__(self, access: ModelAccess | None = None, embeddings: EmbeddingMemory | None = None) -> None:
        self.access = access or ModelAccess()
        self.embeddings = embeddings or EmbeddingMemory()
        self._budget = Budget(self.access.limits, self.access.spent)
        self._clients: dict[str, ChatClient] = {}
        self._simulators: dict[str, RuleSimulatorFactory] = {}
        self._analyzers: dict[str, ComplexityAnalyzer] = {}

    async def __aenter__(self) -> Models:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        clients, self._clients = list(self._clients.values()), {}
        await asyncio.gather(*(client.aclose() for client in clients))

    @property
    def spent(self) -> Usage:
        """What was paid for so far, stored answers not included, earlier runs of the same command included."""
        return self._budget.spent

    def chat(self, name: str) -> ChatClient:
        """Return the client of a language model, one for all methods.

        Raises:
            InputError: if the name cannot be used, or a limit of money cannot be kept.
        """
        if name not in self._clients:
            access = self.access
            params = ChatParams(access.concurrency, total_seconds=access.request_seconds, offline=access.offline)
            client = open_chat_model(name, ledger=access.ledger, params=params, budget=self._budget)
            self._clients[name] = client.held()
        return self._clients[name]

    def simulators(self, name: str, meter: Meter, options: Mapping[str, object] | None = None) -> RuleSimulatorFactory:
        """Return a simulator factory that remembers nothing yet; a local model is loaded once for all methods.

        Args:
            name: of the simulator.
            meter: adds up what answers of a language model behind an endpoint take.
            options: the simulator's own knobs.

        Raises:
            SubjectError: if a local model cannot be loaded, or does not fit the task.
        """
        options = options or {}
        if is_served(name):
            return make_simulator_factory(name, open_model=self.metered(meter), options=options)
        key = repr((name, sorted(options.items())))
        if key not in self._simulators:
            self._simulators[key] = make_simulator_factory(
                name, device=self.access.device, options=options, embeddings=self.embeddings
            )
        return self._simulators[key].fresh()

    def metered(self, meter: Meter) -> Callable[[str], MeteredModel]:
        """Return what opens a language model by its name, so that a meter adds up what its answers take."""
        return lambda name: MeteredModel(self.chat(name), meter)

    def complexity(self, name: str, meter: Meter, answer_tokens: int = ANSWER_TOKENS) -> ComplexityAnalyzer:
        """Return the complexity analyzer; arguments and errors as for `simulators`."""
        if not is_local(name):
            judge = ChatJudge(MeteredModel(self.chat(name), meter), answer_tokens=answer_tokens)
            return ComplexityAnalyzer(name, judge=judge)
        if name not in self._analyzers:
            self._analyzers[name] = ComplexityAnalyzer(name, device=self.access.device)
        return self._analyzers[name]


class Methods:
    """Makes a fresh method for each feature, over shared models."""

    def __init__(self, spec: MethodSpec, models: Models) -> None:
        self.spec = spec
        self._models = models

    @property
    def at_once(self) -> int:
        """How many features are worth explaining at once: many while a language model is waited for."""
        return self._models.access.concurrency if self.spec.waits else 1

    def make(self) -> Method:
        """Make a method with a fresh simulator cache."""
        spec, models, meter = self.spec, self._models, Meter()
        simulator_factory = models.simulators(spec.simulator, meter, spec.simulator_options)
        proposer = make_proposer(
            spec.proposer,
            spec.shared_params(),
            spec.proposer_options,
            embeddings=models.embeddings,
            open_model=models.metered(meter),
        )
        explainer = make(
            EXPLAINERS.load(spec.explainer),
            model_name=spec.proposer,
            params=spec.explainer_params(),
            simulator_factory=simulator_factory,
            proposer=proposer,
        )
        complexity = models.complexity(spec.complexity, meter, spec.answer_tokens)
        return Method(spec.name, explainer, simulator_factory, meter, complexity)
