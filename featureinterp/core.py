"""Data types: explanations, simulations, scores and search attempts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featureinterp.display import ERRORS, folded_html, rules_html, section_html, table_html, tokens_html, tree_html
from featureinterp.errors import ExplanationError
from featureinterp.record import MAX_LEVEL, ActivationRecord


@dataclass(frozen=True)
class Rule:
    """One rule of an explanation: what the feature activates on, and how strongly."""

    activates_on: str
    strength: int
    """Level from 0 (not at all) to 5 (the feature's maximum)."""

    def __post_init__(self) -> None:
        if not self.activates_on.strip():
            raise ExplanationError("a rule is empty: activates_on has no text")
        if type(self.strength) is not int or not 0 <= self.strength <= MAX_LEVEL:
            raise ExplanationError(f"strength is {self.strength!r}; expected a whole number from 0 to {MAX_LEVEL}")

    def _repr_html_(self) -> str:
        return rules_html([(self.strength, self.activates_on)])


@dataclass(frozen=True)
class StructuredExplanation:
    """A short list of rules; the prediction is that of the strongest applicable rule."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        if not self.rules:
            raise ExplanationError("an explanation needs at least one rule")

    @classmethod
    def from_text(cls, text: str) -> StructuredExplanation:
        """Create a plain-sentence explanation: one rule of full strength."""
        return cls((Rule(text, MAX_LEVEL),))

    @classmethod
    def from_json(cls, rules: Sequence[Mapping[str, object]]) -> StructuredExplanation:
        """Parse the original's form, a list of `{"activates_on": str, "strength": int}`.

        Raises:
            ExplanationError: if a key is missing or a value is invalid.
        """
        made: list[Rule] = []
        for position, rule in enumerate(rules):
            words, strength = rule.get("activates_on"), rule.get("strength")
            if not isinstance(words, str) or not isinstance(strength, int):
                raise ExplanationError(f"rule {position} is {dict(rule)!r}", "it needs activates_on and strength")
            made.append(Rule(words, strength))
        return cls(tuple(made))

    def to_json(self) -> list[dict[str, str | int]]:
        """Return the original's form, a list of `{"activates_on": str, "strength": int}`."""
        return [{"activates_on": rule.activates_on, "strength": rule.strength} for rule in self.rules]

    def __str__(self) -> str:
        return "\n".join(f"[{rule.strength}] {rule.activates_on}" for rule in self.rules)

    def to_html(self) -> str:
        """Return it as HTML for a notebook."""
        return rules_html((rule.strength, rule.activates_on) for rule in self.rules)

    _repr_html_ = to_html


class CorpusTokens(NamedTuple):
    """Windows of a corpus as numbers of token strings."""

    ids: NDArray[np.integer]
    """Position of each token's string in `strings` [windows, tokens]."""
    strings: Sequence[str]
    """Distinct token strings."""

    @classmethod
    def of(
        cls, token_ids: NDArray[np.integer], token_strings: Callable[[Sequence[int]], Sequence[str]]
    ) -> CorpusTokens:
        """Number the strings of the tokens that occur; ids with the same string get the same number.

        Args:
            token_ids: of a model's vocabulary [windows, tokens], without BOS, which is part of no record.
            token_strings: gives the text of each token id.
        """
        distinct, where = np.unique(token_ids, return_inverse=True)
        numbers: dict[str, int] = {}
        of_distinct = [numbers.setdefault(string, len(numbers)) for string in token_strings(distinct.tolist())]
        ids = np.array(of_distinct, dtype=np.int32)[where]
        return cls(np.reshape(ids, token_ids.shape), tuple(numbers))


CLAIMED_ABOVE = 1.0
"""A token that a rule's words expect above this level is claimed, whatever the rule's strength above 0."""


@dataclass(frozen=True)
class SequenceSimulation:
    """Expected activations on one window, and the tokens that are claimed."""

    tokens: tuple[str, ...]
    expected_activations: tuple[float, ...]
    """Expected level per token, 0..5."""
    claimed: tuple[bool, ...] | None = None
    """Per token, whether the words of any rule of a strength above 0 expect it above level 1 before the strength is
    applied; None of a simulator without rules, and in runs made before claims were stored."""

    @classmethod
    def of_levels(
        cls, tokens: tuple[str, ...], levels: NDArray[np.float64], claimed: tuple[bool, ...] | None
    ) -> SequenceSimulation:
        """Make it from the array of its levels [tokens], which it keeps."""
        simulation = cls(tokens, tuple(levels.tolist()), claimed)
        simulation.__dict__["levels"] = levels
        return simulation

    @cached_property
    def levels(self) -> NDArray[np.float64]:
        """The expected activations as an array [tokens]."""
        return np.array(self.expected_activations, dtype=np.float64)

    @property
    def claims(self) -> tuple[bool, ...]:
        """Claimed tokens; those expected above level 1 where `claimed` is None.

        >>> SequenceSimulation(("a", " b"), (1.0, 2.0)).claims
        (False, True)
        >>> SequenceSimulation(("a", " b"), (1.0, 2.0), claimed=(True, True)).claims
        (True, True)
        """
        if self.claimed is not None:
            return self.claimed
        return tuple((self.levels > CLAIMED_ABOVE).tolist())


@dataclass(frozen=True)
class Score:
    """A number with its 95% interval, or the reason why it is undefined."""

    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    reason: str = ""
    """Why the value is None; empty otherwise."""

    @classmethod
    def undefined(cls, reason: str) -> Score:
        """Make a score without a value."""
        return cls(None, reason=reason)

    def __float__(self) -> float:
        return math.nan if self.value is None else self.value

    def __str__(self) -> str:
        if self.value is None:
            return f"undefined: {self.reason}"
        if self.ci_low is None or self.ci_high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.ci_low:.3f}, {self.ci_high:.3f}]"


BEFORE_CLAIMS = Score.undefined(
    "made before claims were stored: its false positives, precision, recall and F1 are of tokens expected above level 1"
)
"""Of a result whose scores do not go by claims."""

NOT_MEASURED = Score.undefined("it was not measured")
"""A score that came after the run was made."""


@dataclass(frozen=True)
class Scores:
    """Agreement of expected and true activations, pooled over all tokens of a set of windows."""

    correlation: Score
    """Pearson correlation; the preferred score."""
    r_squared: Score
    """1 − MSE / variance of the truth."""
    absolute_deviation_explained: Score
    """1 − MAE / mean |truth|."""
    auroc: Score
    """AUROC of the expected level as a classifier of "active"."""
    precision: Score
    """Precision, and with it recall and F1, of "claimed" as a prediction of "active"."""
    recall: Score
    f1: Score
    false_positives_per_sentence: Score
    """Claimed tokens of complementary windows where the feature is silent, per window."""
    n_sentences: int
    n_complementary: int
    false_positives_expected_per_sentence: Score = BEFORE_CLAIMS
    """The same of tokens expected above level 1: the original's count, which does not see rules of strength 1."""
    average_precision: Score = NOT_MEASURED
    """Mean over active tokens of the precision at their own threshold."""
    iou: Score = NOT_MEASURED
    """Intersection over union of the claimed tokens and the active ones."""

    @property
    def by_claims(self) -> bool:
        """Whether false positives, precision, recall and F1 go by claims: not in runs made before they were stored."""
        return self.false_positives_expected_per_sentence != BEFORE_CLAIMS

    @classmethod
    def undefined(cls, reason: str) -> Scores:
        """Make scores without any value, of no sentences."""
        names = [field.name for field in fields(cls) if field.name not in ("n_sentences", "n_complementary")]
        return cls(**dict.fromkeys(names, Score.undefined(reason)), n_sentences=0, n_complementary=0)

    def to_html(self) -> str:
        """Return it as HTML for a notebook."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        rows = [(name.replace("_", " "), str(value)) for name, value in values]
        return table_html(("score", "value, 95% interval"), rows)

    _repr_html_ = to_html


@dataclass(frozen=True)
class ScoredSequence:
    """A window with true and expected activations."""

    record: ActivationRecord
    simulation: SequenceSimulation

    def squared_error(self) -> float:
        """Return the sum over tokens of (expected − true)², both on the scale 0..5."""
        error = self.simulation.levels - self.record.scaled_activations()
        return float(error @ error)

    def to_html(self) -> str:
        """Return it as HTML for a notebook."""
        truth = self.record.scaled_activations().tolist()
        simulation = self.simulation
        return tokens_html(self.record.tokens, truth, simulation.expected_activations, simulation.claims)

    _repr_html_ = to_html


def worst_first(sequences: Iterable[ScoredSequence]) -> list[ScoredSequence]:
    """Return windows by squared error, largest first, each window once; equal ones keep their order."""
    unique: dict[int, ScoredSequence] = {}
    for sequence in sequences:
        unique.setdefault(sequence.record.dataset_index, sequence)
    return sorted(unique.values(), key=ScoredSequence.squared_error, reverse=True)


@dataclass(frozen=True)
class ScoredSimulation:
    """An explanation's simulation on a set of records, with its scores."""

    sequences: tuple[ScoredSequence, ...]
    scores: Scores

    def get_preferred_score(self) -> float:
        """Return the correlation of expected and true activations; NaN where it is undefined."""
        return float(self.scores.correlation)

    def _repr_html_(self) -> str:
        worst = [sequence.to_html() for sequence in worst_first(self.sequences)[:5]]
        note = f"{self.scores.n_sentences} sentences; the worst first; {ERRORS}"
        folded = folded_html("all scores", self.scores.to_html())
        return section_html(f"correlation {self.scores.correlation}", *worst, folded, note=note)


@dataclass(frozen=True)
class Proposal:
    """A proposed explanation, or the reason why there is none: a failure, or convergence."""

    explanation: StructuredExplanation | None
    improvement: str = ""
    """For a revision: the change and its reason in words."""
    failure: str = ""
    converged: str = ""
    """Why there is nothing better to propose: a search that ends here has not failed."""


@dataclass(frozen=True)
class WorstRecord:
    """A train record whose removal would raise the score, with its errors by token."""

    record: ActivationRecord
    expected_activations: tuple[float, ...]
    score_without: float
    """Train score over all other records."""
    errors: tuple[str, ...] = ()
    """Largest token errors in words, worst first."""
    claimed: tuple[bool, ...] | None = None
    """Claimed tokens; None in runs made before claims were stored."""

    @property
    def simulation(self) -> SequenceSimulation:
        """Expected activations and claims of the record."""
        return SequenceSimulation(self.record.tokens, self.expected_activations, self.claimed)


@dataclass(frozen=True)
class Feedback:
    """Feedback on an attempt for its revision."""

    train_score: float
    worst_records: tuple[WorstRecord, ...]


@dataclass(frozen=True)
class Attempt:
    """One node of an explainer's search. One that failed or converged has no explanation and is never chosen."""

    number: int
    """Position in the search; 0 is the first."""
    parent: int | None
    depth: int
    proposal: Proposal
    train_score: float | None = None
    valid_score: float | None = None
    feedback: Feedback | None = None
    """Feedback to its children; None without children."""
    test_score: float | None = None
    """Correlation on all test windows, computed after the search; None if undefined or not requested."""
    complexity: float | None = None
    """Complexity of its explanation, 0..5; None without one or if not requested."""
    unscored: str = ""
    """Why its valid score is undefined; empty if it has one, or was not simulated."""

    @property
    def explanation(self) -> StructuredExplanation | None:
        """The proposed explanation, if there is one."""
        return self.proposal.explanation

    @property
    def has_failed(self) -> bool:
        """Whether it has no explanation although the search could go on."""
        return self.explanation is None and not self.proposal.converged


def simulated(attempts: Iterable[Attempt]) -> set[StructuredExplanation]:
    """Return the explanations that attempts had simulated; what several attempts propose is simulated once."""
    return {attempt.explanation for attempt in attempts if attempt.explanation is not None}


@dataclass(frozen=True)
class ExplainerResult:
    """Explanations, best first, and every attempt behind them.

    Unpacks as `explanations, trace = await explainer.generate_explanations(...)`.
    """

    explanations: tuple[StructuredExplanation, ...]
    trace: tuple[Attempt, ...]
    chosen: tuple[int, ...] = ()
    """Number of the attempt behind each explanation."""

    @classmethod
    def of(cls, trace: Sequence[Attempt], chosen: Sequence[Attempt]) -> ExplainerResult:
        """Make the result from all attempts and the chosen ones, best first."""
        explanations = tuple(attempt.explanation for attempt in chosen if attempt.explanation is not None)
        return cls(explanations, tuple(trace), tuple(attempt.number for attempt in chosen))

    def __iter__(self) -> Iterator[tuple[StructuredExplanation, ...] | tuple[Attempt, ...]]:
        """Yield the explanations, then the attempts."""
        yield self.explanations
        yield self.trace

    def _repr_html_(self) -> str:
        best = self.chosen[0] if self.chosen else None
        first = self.explanations[0].to_html() if self.explanations else ""
        note = f"{len(self.trace)} attempts; ▸ leads to the best, ★"
        return section_html(
            "the best explanation" if first else "no explanation", first, attempts_html(self.trace, best), note=note
        )


def attempts_html(attempts: Sequence[Attempt], best: int | None) -> str:
    """Return a search as a tree: every attempt's scores and words, the path to the best one marked."""
    return tree_html(
        {attempt.number: attempt.parent for attempt in attempts},
        {attempt.number: _attempt_words(attempt) for attempt in attempts},
        best,
    )


def _attempt_words(attempt: Attempt) -> tuple[str, str]:
    if attempt.explanation is None:
        outcome = "failed" if attempt.has_failed else "converged"
        return f"{attempt.number}: {outcome}: ", attempt.proposal.failure or attempt.proposal.converged
    found = (("train", attempt.train_score), ("valid", attempt.valid_score), ("test", attempt.test_score))
    scores = ", ".join(f"{name} {value:.3f}" for name, value in found if value is not None)
    return f"{attempt.number}: {scores or 'not scored'}: ", "; ".join(str(attempt.explanation).splitlines())
