"""Settings of a run's explainer, proposer, simulator and complexity judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec

from featureinterp.complexity.registry import check_complexity_name, is_local
from featureinterp.complexity.registry import prompt_version_of as complexity_prompt_version
from featureinterp.errors import InputError, check_numbers
from featureinterp.explainer import EXPLAINERS, PROPOSERS, OneShotExplainerParams, TreeExplainerParams
from featureinterp.explainer.llm.prompts import PROMPT_VERSION
from featureinterp.explainer.params import ANSWER_TOKENS, MOST
from featureinterp.explainer.registry import (
    URL_OF_MODEL,
    default_simulator,
    explainer_params,
    is_model_name,
    proposer_name,
    proposer_params,
    shared_params,
)
from featureinterp.knobs import knob_values, knobs
from featureinterp.simulator.registry import check_simulator_name, is_served, simulator_params
from featureinterp.simulator.registry import prompt_version as simulator_prompt_version

LEXICAL = "lexical"
"""Name of the proposer, the simulator and the complexity judge without a language model."""

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
    """tree, one-shot, best-of-n, module:Class, or MODEL (short for --explainer tree --proposer MODEL)."""
    proposer: str = LEXICAL
    """lexical, module:Class, or a language model such as openrouter:meta-llama/llama-4-scout or
    local:MODEL@http://127.0.0.1:8000/v1."""
    rule_cap: int = TreeExplainerParams.rule_cap
    """Maximum number of rules in an explanation."""
    depth: int = TreeExplainerParams.depth
    """Number of revision rounds (tree)."""
    width: int = TreeExplainerParams.width
    """Number of attempts kept per round (tree)."""
    simulator: str = ""
    """lexical, hf:MODEL, echo:PROVIDER:MODEL, chat:PROVIDER:MODEL, or module:function (default: chat: with the language
    model that proposes; lexical where none does)."""
    structured: bool = TreeExplainerParams.structured_explanations
    """Explain with rules and strengths (default), or with one sentence."""
    holistic: bool = TreeExplainerParams.include_holistic_expressions
    """Use holistic activations (tokens that cause activations)."""
    temperatures: tuple[float | None, ...] = TreeExplainerParams.temperatures
    """Sampling temperatures of a language model, such as 0.7,1.0, used in turn; none: omit the parameter."""
    complexity: str = LEXICAL
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
        object.__setattr__(self, "simulator", self.simulator or default_simulator(self.proposer))
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

    @property
    def simulator_name(self) -> str:
        """Simulator in results: without the address of its model."""
        return URL_OF_MODEL.sub("", self.simulator)

    def baseline(self, *, own_simulator: bool = False) -> MethodSpec:
        """Return the same search with the lexical proposer: what a language model is measured against.

        Args:
            own_simulator: score with the lexical simulator, which its words are written for; else with this method's.
        """
        limit = ANSWER_TOKENS if is_local(self.complexity) else self.answer_tokens
        own = {"simulator": LEXICAL, "simulator_options": {}} if own_simulator else {}
        return replace(
            self,
            **own,
            proposer=LEXICAL,
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
            "simulator": self.simulator_name,
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
