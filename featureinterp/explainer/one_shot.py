"""The one-shot explainer: a few proposals, and the one that fits best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from featureinterp.core import Attempt, ExplainerResult
from featureinterp.errors import InputError, check_numbers
from featureinterp.explainer.registry import make_proposer
from featureinterp.explainer.search import all_scored, by_valid_score, proposed
from featureinterp.protocols import Proposer, SimulatorFactory
from featureinterp.record import ActivationRecord

ANSWER_TOKENS = 8192
"""An answer of five rules takes about 300 tokens; the thoughts of a reasoning model before it some thousands."""

MOST = 100
"""Rules in an explanation, rounds of revision, and attempts in each, at most; the paper has 5 and 3."""


@dataclass(frozen=True)
class OneShotExplainerParams:
    """Knobs of the one-shot explainer."""

    rule_cap: int = 5
    """Most rules in an explanation."""
    include_holistic_expressions: bool = False
    """Whether the proposer is shown which tokens cause activations."""
    structured_explanations: bool = True
    """Rules with strengths (True) or one sentence (False)."""
    temperatures: tuple[float | None, ...] = (1.0,)
    """Of a language model that proposes; the samples of one question take them in turn. None: none is sent."""
    answer_tokens: int = ANSWER_TOKENS
    """Tokens of one answer of a language model at most, its thoughts included."""

    def __post_init__(self) -> None:
        check_numbers(self, rule_cap=(1, MOST), answer_tokens=(1, math.inf))
        if not self.temperatures or not all(each is None or 0 <= each <= 2 for each in self.temperatures):
            raise InputError(
                f"temperatures are {self.temperatures}", "at least one, each from 0 to 2 or none, is wanted"
            )


class OneShotExplainer:
    """Asks a proposer once; needs a simulator only to order several samples.

    `model_name` is the registered name of a proposer, or of a language model; `proposer` takes its place when given.
    """

    def __init__(
        self,
        model_name: str = "lexical",
        params: OneShotExplainerParams | None = None,
        *,
        simulator_factory: SimulatorFactory | None = None,
        proposer: Proposer | None = None,
    ) -> None:
        self.model_name = model_name
        self.params = params or OneShotExplainerParams()
        self._simulator_factory = simulator_factory
        self._proposer = proposer

    @property
    def proposer(self) -> Proposer:
        """The proposer, made when it is first needed.

        Raises:
            InputError: if it names neither a proposer nor a language model.
        """
        if self._proposer is None:
            self._proposer = make_proposer(self.model_name, self.params)
        return self._proposer

    async def generate_explanations(
        self,
        train_records: Sequence[ActivationRecord],
        valid_records: Sequence[ActivationRecord] = (),
        num_samples: int = 1,
    ) -> ExplainerResult:
        """Return `num_samples` explanations (fewer if proposals fail) and every attempt.

        They are in the order of their valid scores where a simulator and valid records are given, else in the
        order in which they were proposed.
        """
        proposals = await proposed(self.proposer.propose(train_records, num_samples), num_samples)
        attempts = [Attempt(i, None, 0, proposal) for i, proposal in enumerate(proposals)]
        if self._simulator_factory is None or not valid_records:
            chosen = [attempt for attempt in attempts if attempt.explanation is not None]
        else:
            attempts = await all_scored(attempts, self._simulator_factory, train_records, valid_records)
            chosen = by_valid_score(attempts)
        return ExplainerResult.of(attempts, chosen[:num_samples])
