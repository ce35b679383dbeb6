"""Compared run: its explanations next to those of a report, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from featureinterp.analysis.comparisons import difference_score
from featureinterp.analysis.means import mean_score
from featureinterp.core import Score
from featureinterp.errors import InputError
from featureinterp.experiment.result import FeatureKey, FeatureResult
from featureinterp.report.feature_row import FeatureRow
from featureinterp.report.views import SOURCE_WORDS
from featureinterp.scoring import differences_by_source


@dataclass(frozen=True)
class ComparedRun:
    """The compared run of a report."""

    title: str
    find: Callable[[FeatureKey], FeatureResult | None]
    """Function from a feature to its result; None if it has none."""


@dataclass(frozen=True)
class FeatureComparison:
    """The compared run's result of one feature."""

    title: str
    """Result of the other run."""
    other: FeatureResult
    differences: Mapping[str, Score] = field(default_factory=dict)
    """Correlation of the report's explanation minus that of the other run's, by complementary source."""
    reason: str = ""
    """Reason for missing differences."""

    def names(self, result: FeatureResult) -> tuple[str, str]:
        """Return the names of the report's method, which made the result, and of the other one.

        Names of the explainers, with those of the simulators if these differ; if the methods are equal or unknown, the
        names of the runs.
        """
        ours, theirs = result.explainer, self.other.explainer
        if result.simulator != self.other.simulator:
            ours, theirs = result.made_by, self.other.made_by
        return ("this run", self.title) if ours == theirs else (ours or "this run", theirs or self.title)


@dataclass(frozen=True)
class PairedMeans:
    """Means over the features that both runs explain, against one complementary source."""

    name: str
    ours: Score
    theirs: Score
    difference: Score
    """Mean over features of the difference, ours minus theirs."""
    n: int
    left_out: int
    """Features explained in both, with an undefined score or different test sentences."""


@dataclass(frozen=True)
class RunComparison:
    """Comparison of two runs over their features."""

    title: str
    ours: str
    """Method of the report; `theirs` is that of the other run."""
    theirs: str
    means: tuple[PairedMeans, ...]
    one_sided: int
    """Features explained by one run only."""


def compare_feature(result: FeatureResult, beside: ComparedRun | None) -> FeatureComparison | None:
    """Return the compared result of a feature; None if the other run lacks it."""
    other = beside.find(result.key) if beside is not None else None
    if beside is None or other is None:
        return None
    if result.explanation is None or other.explanation is None:
        return FeatureComparison(beside.title, other, reason="only one of the two has an explanation")
    try:
        differences = differences_by_source(result.test_sequences, other.test_sequences)
    except InputError as error:
        return FeatureComparison(beside.title, other, reason=error.problem)
    return FeatureComparison(beside.title, other, differences)


@dataclass(frozen=True)
class RowPair:
    """The numbers of a feature in both runs."""

    ours: FeatureRow
    theirs: FeatureRow
    comparable: bool
    """Whether the test sentences are the same."""
    names: tuple[str, str]
    """Methods of the two runs."""

    @classmethod
    def of(cls, result: FeatureResult, found: FeatureComparison) -> RowPair:
        """Extract the numbers from a feature's results."""
        names = found.names(result)
        return cls(FeatureRow.of(result), FeatureRow.of(found.other), bool(found.differences), names)

    @property
    def explained(self) -> int:
        """Number of the two runs that explain it."""
        return sum(row.status == "explained" for row in (self.ours, self.theirs))


def compare_with_run(pairs: Sequence[RowPair], title: str) -> RunComparison:
    """Compare two runs feature by feature.

    Args:
        pairs: features of both runs, at least one.
        title: title of the other run.
    """
    both = [pair for pair in pairs if pair.explained == 2]
    used = {source for pair in both for source in pair.ours.scores}
    means = tuple(_means(words, both, source) for source, words in SOURCE_WORDS.items() if source in used)
    return RunComparison(title, *pairs[0].names, means, sum(pair.explained == 1 for pair in pairs))


def _means(name: str, both: Sequence[RowPair], source: str) -> PairedMeans:
    values = [(float(pair.ours.score(source)), float(pair.theirs.score(source))) for pair in both if pair.comparable]
    shared = [pair for pair in values if not any(map(math.isnan, pair))]
    ours, theirs = [pair[0] for pair in shared], [pair[1] for pair in shared]
    return PairedMeans(
        name=name,
        ours=mean_score(ours),
        theirs=mean_score(theirs),
        difference=difference_score(ours, theirs),
        n=len(shared),
        left_out=len(both) - len(shared),
    )
