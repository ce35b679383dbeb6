"""Comparisons paired by feature: an experiment's questions and their answers.

The comparisons of one experiment are a family: their p-values are corrected for how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import Literal

import numpy as np
import pandas as pd

from featureinterp.analysis.means import UNIT
from featureinterp.analysis.rounds import selections
from featureinterp.core import Score
from featureinterp.record import MAIN_SOURCE
from featureinterp.stats import PairedDifference, generator, holm, paired_difference, sign_flip_p_value

SIGNIFICANCE = 0.05
"""A corrected p-value below it is called a difference."""

Direction = Literal["lower", "higher", ""]

SCORE, ALARMS = "correlation", "false_positives_per_sentence"
_MEASURES: tuple[tuple[str, str, Direction], ...] = (
    ("score", SCORE, "lower"),
    ("false positives per sentence", ALARMS, "higher"),
)
"""Name, column, and what the paper says of similar sentences against random ones."""

_SILENT, _ANY = ("similar_negative", "random_negative"), ("similar", "random")
_TREE, _ONE_SHOT = "tree-", "one-shot-"
_BASELINE = "one-shot-structured"


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a column of a frame, in the rows that have these values."""

    name: str
    """In words."""
    column: str
    where: Mapping[str, str] = field(default_factory=dict)

    def values(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the values by feature: a frame with index `UNIT`, `value`, and optionally `status`."""
        rows = frame
        for column, wanted in self.where.items():
            rows = rows.loc[rows[column] == wanted]
        rows = rows.assign(value=rows[self.column].astype(np.float64), status=rows.get("status", "explained"))
        return rows.set_index(UNIT).loc[:, ["value", "status"]]


@dataclass(frozen=True)
class Question:
    """Whether the first side is lower or higher than the second, feature by feature."""

    measure: str
    """What is compared, in words."""
    a: Side
    b: Side
    claim: Direction = ""
    """What the paper says of `a`; empty where it says nothing."""


@dataclass(frozen=True)
class Comparison:
    """A question about one subject, with its answer."""

    subject: str
    question: Question
    mean_a: float
    mean_b: float
    """Means over the pairs that have both."""
    difference: PairedDifference
    """Of a − b, with the pairs left out because a side is undefined."""
    p: float
    """Of a sign-flip permutation test, two-sided."""
    n_failed: int
    """Pairs left out because a side has no explanation."""
    n_unpaired: int
    """Features that only one side holds."""
    corrected_p: float = np.nan
    """By Holm over the family."""

    @property
    def verdict(self) -> Direction:
        """Return whether `a` is significantly lower or higher than `b`; empty if neither."""
        if not self.corrected_p < SIGNIFICANCE:
            return ""
        return "higher" if self.difference.mean > 0 else "lower"


def feature_differences(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    """Return the mean of a − b over features with a bootstrap interval; NaN is an undefined score.

    The order of the features changes nothing.
    """
    values = np.array([a, b], dtype=np.float64)
    first, second = values[:, np.lexsort((values[0], values[0] - values[1]))]
    return paired_difference(first.tolist(), second.tolist(), generator(0, "difference"))


def difference_score(a: Sequence[float], b: Sequence[float]) -> Score:
    """Return `feature_differences` as a score; undefined if no feature has both."""
    found = feature_differences(a, b)
    if found.n_pairs == 0:
        return Score.undefined("no feature has it")
    return Score(found.mean) if np.isnan(found.ci_low) else Score(found.mean, found.ci_low, found.ci_high)


def compare(frame: pd.DataFrame, questions: Iterable[Question]) -> list[Comparison]:
    """Answer questions about every subject of a frame, as one family.

    A question is asked of the subjects that have rows for both of its sides.

    Args:
        frame: at most one row for each feature on each side of a question.
        questions: the family.
    """
    found = []
    for subject, rows in frame.groupby("subject"):
        for question in questions:
            a, b = question.a.values(rows), question.b.values(rows)
            if len(a) and len(b):
                found.append(_answer(str(subject), question, a, b))
    return with_correction(found)


def with_correction(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with p-values corrected for all of them."""
    corrected = holm([comparison.p for comparison in comparisons])
    return [replace(c, corrected_p=p) for c, p in zip(comparisons, corrected, strict=True)]


def experiment_comparisons(scores: pd.DataFrame, attempts: pd.DataFrame) -> list[Comparison]:
    """Return the comparisons of an experiment, over all its subjects, as one family.

    Args:
        scores: rows of one experiment, or of runs that are part of none.
        attempts: of the same runs.
    """
    names = list(scores["experiment"].unique())
    variants = list(dict.fromkeys(scores["variant"]))
    found = compare(scores, questions_of(names[0] if len(names) == 1 else "", variants))
    if names == ["layers"]:
        found = with_correction([*found, *compare(selections(attempts), search_questions(variants))])
    return found


def questions_of(experiment: str, variants: Sequence[str]) -> list[Question]:
    """Return an experiment's questions about the test scores of its variants.

    Args:
        experiment: its name; of any other, it is asked what a single run can tell.
        variants: those there are.
    """
    if experiment == "complementary":
        return [*_sources(variants, _SILENT, _ANY), *_searches(variants)]
    if experiment == "explainers":
        return _explainers(variants)
    if experiment == "polysemanticity":
        return _caps(variants)
    return [*_sources(variants, _SILENT), *_floors(variants)]


def search_questions(variants: Sequence[str]) -> list[Question]:
    """Return the questions about `selections`: overfitting of a search to its feedback."""
    asked = []
    for variant in variants:
        where = {"variant": variant}
        chosen = Side(f"{variant}, chosen by valid", "test_of_chosen", where)
        train = Side(f"{variant}, the same on train", "train_of_chosen", where)
        asked += [
            Question("score on test and on train", replace(chosen, name=f"{variant} on test"), train),
            Question("test score", chosen, Side(f"{variant}, chosen by train", "test_of_best_train", where)),
        ]
    return asked


def method_question(
    measure: str, column: str, a: str, b: str, claim: Direction = "", source: str = MAIN_SOURCE
) -> Question:
    """Return the question about the difference of two variants in a column, on one complementary source."""
    first, second = (Side(variant, column, {"variant": variant, "source": source}) for variant in (a, b))
    return Question(measure, first, second, claim)


def _sources(variants: Sequence[str], *pairs: tuple[str, str]) -> list[Question]:
    asked = []
    for variant, (measure, column, claim), sources in product(variants, _MEASURES, pairs):
        a, b = (
            Side(f"{variant} on {source.replace('_', ' ')}", column, {"variant": variant, "source": source})
            for source in sources
        )
        asked.append(Question(measure, a, b, claim))
    return asked


def _searches(variants: Sequence[str]) -> list[Question]:
    if not {"tree", "one-shot"} <= set(variants):
        return []
    return [
        method_question("score", SCORE, "tree", "one-shot", "higher"),
        method_question("complexity", "complexity", "tree", "one-shot"),
        method_question("number of rules", "n_rules", "tree", "one-shot"),
    ]


def _explainers(variants: Sequence[str]) -> list[Question]:
    searches = [(variant, _ONE_SHOT + variant.removeprefix(_TREE)) for variant in variants if variant.startswith(_TREE)]
    baseline = [(variant, _BASELINE) for variant in variants if variant != _BASELINE]
    asked = [(a, b) for a, b in dict.fromkeys([*baseline, *searches]) if b in variants]
    return [method_question("score", SCORE, a, b, _claim_of(a, (a, b) in searches)) for a, b in asked]


def _claim_of(a: str, is_search: bool) -> Direction:
    if is_search:
        return "higher"
    return "lower" if a == "one-shot-unstructured" else ""


def _caps(variants: Sequence[str]) -> list[Question]:
    caps = sorted(int(found[1]) for variant in variants if (found := re.fullmatch(r"cap-(\d+)", variant)))
    return [method_question("score", SCORE, f"cap-{b}", f"cap-{a}") for a, b in pairwise(caps)]


def _floors(variants: Sequence[str]) -> list[Question]:
    floors = {"floor_token_lookup": "token lookup", "floor_shuffled": "another feature's explanation"}
    asked = []
    for variant in variants:
        where = {"variant": variant, "source": MAIN_SOURCE}
        asked += [Question("score", Side(variant, SCORE, where), Side(floors[name], name, where)) for name in floors]
    return asked


def _answer(subject: str, question: Question, a: pd.DataFrame, b: pd.DataFrame) -> Comparison:
    pairs = a.add_suffix("_a").join(b.add_suffix("_b"), how="inner")
    states = pairs[["status_a", "status_b"]]
    n_tried = int(np.isin(states, ("explained", "failed")).any(axis=1).sum())
    both = pairs.loc[(np.asarray(states) == "explained").all(axis=1)]
    both = both.assign(difference=both["value_a"] - both["value_b"]).sort_values(["difference", "value_a"])
    defined = both.loc[both["difference"].notna()]
    difference = feature_differences(both["value_a"].tolist(), both["value_b"].tolist())
    return Comparison(
        subject=subject,
        question=question,
        mean_a=float(defined["value_a"].mean()),
        mean_b=float(defined["value_b"].mean()),
        difference=difference,
        p=sign_flip_p_value(defined["difference"], generator(0, "sign flips")),
        n_failed=n_tried - len(both),
        n_unpaired=len(a.index.symmetric_difference(b.index)),
    )
