"""Models that methods share, and the methods made from a specification: a fresh one for each feature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType

from featureinterp.chat import Usage
from featureinterp.complexity import ChatJudge, ComplexityAnalyzer
from featureinterp.complexity.registry import is_local
from featureinterp.experiment.method.access import ModelAccess
from featureinterp.experiment.method.spec import MethodSpec
from featureinterp.experiment.run import Method
from featureinterp.explainer import EXPLAINERS
from featureinterp.explainer.params import ANSWER_TOKENS
from featureinterp.explainer.registry import make_proposer
from featureinterp.llm.api.client import ChatClient, open_chat_model
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.spending import Budget, Meter, MeteredModel
from featureinterp.registry import make
from featureinterp.simulator.lexical import EmbeddingMemory
from featureinterp.simulator.registry import is_served, make_simulator_factory
from featureinterp.simulator.rules import RuleSimulatorFactory


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
        return Method(spec.name, explainer, simulator_factory, meter, complexity, spec.simulator_name)
