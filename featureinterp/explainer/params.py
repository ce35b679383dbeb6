"""Knobs of the explainers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from featureinterp.errors import InputError, check_numbers

ANSWER_TOKENS = 8192
"""Answer tokens: five rules take about 300; a reasoning model spends some thousands before them."""

MOST = 100
"""Maximum rules of an explanation, rounds of revision, and attempts per round; the paper has 5 and 3."""


@dataclass(frozen=True)
class OneShotExplainerParams:
    """Knobs of the one-shot explainer, and of every proposer."""

    rule_cap: int = 5
    """Maximum number of rules in an explanation."""
    include_holistic_expressions: bool = False
    """Whether to show the proposer the activation-causing tokens."""
    structured_explanations: bool = True
    """Rules with strengths (True) or one sentence (False)."""
    temperatures: tuple[float | None, ...] = (1.0,)
    """Temperatures of a proposing language model, cycled over the samples of a request. None: none is sent."""
    answer_tokens: int = ANSWER_TOKENS
    """Maximum tokens of one answer of a language model, including reasoning."""

    def __post_init__(self) -> None:
        check_numbers(self, rule_cap=(1, MOST), answer_tokens=(1, math.inf))
        if not self.temperatures or not all(each is None or 0 <= each <= 2 for each in self.temperatures):
            raise InputError(f"temperatures are {self.temperatures}", "expected at least one, each from 0 to 2 or none")


@dataclass(frozen=True)
class LLMProposerParams(OneShotExplainerParams):
    """Knobs of a proposing language model."""

    first_sample: int = 0
    """Number of the first sample of each prompt; answers of other numbers are other draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, first_sample=(0, 2**31))


@dataclass(frozen=True)
class TreeExplainerParams(OneShotExplainerParams):
    """Knobs of the tree explainer, besides those of its proposer."""

    depth: int = 3
    """Rounds of revision; 0 for the first proposals alone."""
    width: int = 3
    """Attempts kept after each round."""
    root_nodes: int = 3
    """First proposals."""
    branching_factor: int = 2
    """Revisions of each kept attempt in a round."""
    stop_score: float = 0.99
    """Train score at which the search stops."""
    k_worst_feedback_records: int = 3
    """Train records that feedback shows token by token."""

    def __post_init__(self) -> None:
        super().__post_init__()
        some = (1, MOST)
        check_numbers(self, depth=(0, MOST), width=some, root_nodes=some, branching_factor=some)
        check_numbers(self, stop_score=(-1, 1), k_worst_feedback_records=(0, math.inf))
