"""Comparisons paired by feature: questions about two sides and their answers.

Comparisons that are made together are a family: their p-values are corrected for their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from featureinterp.analysis.means import UNIT
from featureinterp.core import Score
from featureinterp.experiment.paper.questions import Direction, Question, Side
from featureinterp.stats import PairedDifference, generator, holm, paired_difference, sign_flip_p_value

SIGNIFICANCE = 0.05
"""Significance level: a corrected p-value below it is a difference."""


@dataclass(frozen=True)
class Comparison:
    """A question about one subject, with its answer."""

    subject: str
    question: Question
    mean_a: float
    mean_b: float
    """Means over the pairs with both sides."""
    difference: PairedDifference
    """Mean of a − b, and the number of pairs excluded for an undefined side."""
    p: float
    """p-value of a two-sided studentised sign-flip test."""
    n_failed: int
    """Pairs left out because a side has no explanation."""
    n_unpaired: int
    """Features that only one side holds."""
    mean_with_zeros: float
    """Mean of a − b over all pairs, a side that is undefined or without explanation scored 0."""
    mean_with_ties: float
    """The same mean, such a side scored as the other side."""
    corrected_p: float = np.nan
    """p-value corrected by Holm's method over the family."""

    @property
    def n_left_out(self) -> int:
        """Pairs left out of the difference because of a side's outcome."""
        return self.difference.n_undefined + self.n_failed

    @property
    def verdict(self) -> Direction:
        """Return whether `a` is significantly lower or higher than `b`; empty if neither."""
        if not self.corrected_p < SIGNIFICANCE:
            return ""
        return "higher" if self.difference.mean > 0 else "lower"


def feature_differences(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    """Return the mean of a − b over features with a t interval; NaN is an undefined score.

    The order of the features changes nothing.
    """
    return paired_difference(a, b)


def difference_score(a: Sequence[float], b: Sequence[float]) -> Score:
    """Return `feature_differences` as a score; undefined if no feature has both."""
    found = feature_differences(a, b)
    if found.n_pairs == 0:
        return Score.undefined("no feature has it")
    return Score(found.mean) if np.isnan(found.ci_low) else Score(found.mean, found.ci_low, found.ci_high)


def compare(frame: pd.DataFrame, questions: Iterable[Question]) -> list[Comparison]:
    """Answer questions about every subject of a frame, as one family.

    A question applies to the subjects that have rows for both of its sides.

    Args:
        frame: at most one row for each feature on each side of a question.
        questions: the family.
    """
    found = []
    for subject, rows in frame.groupby("subject"):
        for question in questions:
            a, b = side_values(question.a, rows), side_values(question.b, rows)
            if len(a) and len(b):
                found.append(_answer(str(subject), question, a, b))
    return with_correction(found)


def with_correction(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with p-values corrected for all of them."""
    corrected = holm([comparison.p for comparison in comparisons])
    return [replace(c, corrected_p=p) for c, p in zip(comparisons, corrected, strict=True)]


def side_values(side: Side, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the values of a side by feature: a frame with index `UNIT`, `value`, `status` and `layer`."""
    rows = frame
    for column, wanted in side.where.items():
        rows = rows.loc[rows[column] == wanted]
    rows = rows.assign(value=rows[side.column].astype(np.float64), status=rows.get("status", "explained"))
    return rows.set_index(UNIT).loc[:, ["value", "status", "layer"]]


def _answer(subject: str, question: Question, a: pd.DataFrame, b: pd.DataFrame) -> Comparison:
    pairs = a.add_suffix("_a").join(b.add_suffix("_b"), how="inner")
    states = pairs[["status_a", "status_b"]]
    tried = pairs.loc[np.isin(states, ("explained", "failed")).any(axis=1)]
    both = pairs.loc[(np.asarray(states) == "explained").all(axis=1)]
    both = both.assign(difference=both["value_a"] - both["value_b"]).sort_values(["difference", "value_a"])
    defined = both.loc[both["difference"].notna()]
    difference = feature_differences(both["value_a"].tolist(), both["value_b"].tolist())
    zeros = np.sort((tried["value_a"].fillna(0.0) - tried["value_b"].fillna(0.0)).to_numpy())
    return Comparison(
        subject=subject,
        question=question,
        mean_a=float(defined["value_a"].mean()),
        mean_b=float(defined["value_b"].mean()),
        difference=difference,
        p=sign_flip_p_value(defined["difference"], generator(0, "sign flips")),
        n_failed=len(tried) - len(both),
        n_unpaired=len(a.index.symmetric_difference(b.index)),
        mean_with_zeros=float(zeros.mean()) if len(tried) else np.nan,
        mean_with_ties=float(defined["difference"].sum()) / len(tried) if len(tried) else np.nan,
    )
