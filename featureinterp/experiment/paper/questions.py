"""Questions of an experiment: which two sides are compared, feature by feature, in which measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

from featureinterp.record import MAIN_SOURCE, SOURCE_WORDS

Direction = Literal["lower", "higher", ""]
"""Of the first side against the second; empty for neither."""

Frame = Literal["scores", "selections", "least_caps"]
"""What a question is about: test scores, the attempts that a search selects (`analysis.rounds.selections`), or the
number of rules that features need (`analysis.means.least_caps`)."""

SCORE, ALARMS = "correlation", "false_positives_per_sentence"
_MEASURES: tuple[tuple[str, str, Direction], ...] = (
    ("score", SCORE, "lower"),
    ("false positives per sentence", ALARMS, "higher"),
)
"""Name, column, and the paper's claim about similar sentences against random ones."""

SILENT, ANY = ("similar_negative", "random_negative"), ("similar", "random")
"""Pairs of complementary sources in the paper: without and with windows on which the feature fires."""

SAME_TOKEN = ("same_token_negative", "random_negative")
"""Pair of complementary sources about which the paper claims nothing."""

_FLOORS = {"floor_token_lookup": "token table", "floor_shuffled": "another feature's explanation"}


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a column of a frame, in the rows that have these values."""

    name: str
    """In words."""
    column: str
    where: Mapping[str, str] = field(default_factory=dict)
    """Values by column."""


@dataclass(frozen=True)
class Question:
    """Whether the first side is lower or higher than the second, feature by feature."""

    measure: str
    """What is compared, in words."""
    a: Side
    b: Side
    claim: Direction = ""
    """The paper's claim about `a`; empty for none."""
    frame: Frame = "scores"
    """The frame that holds both sides."""


@dataclass(frozen=True)
class Trend:
    """Whether a column rises or falls with depth, over features."""

    measure: str
    """What may change, in words."""
    side: Side
    frame: Frame = "scores"


Questions = Callable[[Sequence[str]], list[Question]]
"""From the names of an experiment's variants to its questions."""

Trends = Callable[[Sequence[str]], list[Trend]]
"""From the names of an experiment's variants to its trends over layers."""


def method_question(
    measure: str, column: str, a: str, b: str, claim: Direction = "", source: str = MAIN_SOURCE
) -> Question:
    """Return the question about the difference of two variants in a column, on one complementary source."""
    first, second = (Side(variant, column, {"variant": variant, "source": source}) for variant in (a, b))
    return Question(measure, first, second, claim)


def score_trends(variants: Sequence[str]) -> list[Trend]:
    """Return, for each variant, the trend of its score over the layers."""
    return [Trend("score", main_side(variant, SCORE)) for variant in variants]


def main_side(variant: str, column: str) -> Side:
    """Return a column of a variant on the main source."""
    return Side(variant, column, {"variant": variant, "source": MAIN_SOURCE})


def source_questions(variants: Sequence[str], *pairs: tuple[str, str]) -> list[Question]:
    """Return, for each variant and pair of complementary sources, the questions about score and false positives."""
    asked = []
    for variant, (measure, column, claim), sources in product(variants, _MEASURES, pairs):
        a, b = (
            Side(f"{variant} on {SOURCE_WORDS[source]}", column, {"variant": variant, "source": source})
            for source in sources
        )
        asked.append(Question(measure, a, b, claim if sources in (SILENT, ANY) else ""))
    return asked


def single_run_questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions of any run: similar and same-token against random negatives, and each baseline."""
    return [
        *source_questions(variants, SILENT, SAME_TOKEN),
        *(q for variant in variants for q in _baseline_questions(variant)),
    ]


def _baseline_questions(variant: str) -> list[Question]:
    explained = main_side(variant, SCORE)
    return [Question("score", explained, replace(explained, name=words, column=c)) for c, words in _FLOORS.items()]
