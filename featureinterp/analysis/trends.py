"""Trends of features over layers, and the family of tests that they form with an experiment's comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from featureinterp.analysis.comparisons import SIGNIFICANCE, Comparison, compare, side_values
from featureinterp.analysis.means import least_caps
from featureinterp.analysis.rounds import selections
from featureinterp.experiment.paper.declaration import Experiment
from featureinterp.experiment.paper.questions import Frame, Trend
from featureinterp.stats import generator, holm, rank_correlation_interval, spearman, trend_p_value


@dataclass(frozen=True)
class DepthTrend:
    """A trend of one subject over its layers, with its test."""

    subject: str
    trend: Trend
    rank_correlation: float
    """Spearman's, of the layer and the value, over features; NaN where either is constant."""
    ci_low: float
    ci_high: float
    """95% interval; NaN with fewer than four features."""
    n: int
    """Features with a value."""
    n_undefined: int
    """Explained features without one."""
    n_failed: int
    """Features without an explanation although they fire often enough."""
    p: float
    """p-value of a two-sided permutation test."""
    corrected_p: float = np.nan
    """p-value corrected by Holm's method over the family."""

    @property
    def verdict(self) -> str:
        """Return whether the value significantly `rises` or `falls` with depth; empty if neither."""
        if not self.corrected_p < SIGNIFICANCE:
            return ""
        return "rises" if self.rank_correlation > 0 else "falls"


@dataclass(frozen=True)
class Family:
    """Tests of an experiment over all its subjects, their p-values corrected for their number."""

    comparisons: tuple[Comparison, ...]
    trends: tuple[DepthTrend, ...]


def depth_trends(frame: pd.DataFrame, trends: Iterable[Trend]) -> list[DepthTrend]:
    """Return the trends of every subject of a frame that has features in two layers or more.

    Args:
        frame: at most one row for each feature on a trend's side.
        trends: what may change; a trend without rows is left out.
    """
    found = []
    for subject, rows in frame.groupby("subject"):
        for trend in trends:
            values = side_values(trend.side, rows)
            if values["layer"].nunique() > 1:
                found.append(_trend(str(subject), trend, values))
    return found


def experiment_family(experiment: Experiment, scores: pd.DataFrame, attempts: pd.DataFrame) -> Family:
    """Return the comparisons and trends of an experiment.

    Args:
        experiment: its questions and trends.
        scores: rows of its runs.
        attempts: of the same runs.
    """
    variants = list(dict.fromkeys(scores["variant"]))
    questions, trends = experiment.questions(variants), experiment.trends(variants)
    frames = _frames({each.frame for each in (*questions, *trends)}, scores, attempts)
    comparisons = [c for name in frames for c in compare(frames[name], [q for q in questions if q.frame == name])]
    over_layers = [t for name in frames for t in depth_trends(frames[name], [t for t in trends if t.frame == name])]
    corrected = iter(holm([each.p for each in (*comparisons, *over_layers)]))
    return Family(
        tuple(replace(each, corrected_p=next(corrected)) for each in comparisons),
        tuple(replace(each, corrected_p=next(corrected)) for each in over_layers),
    )


def _frames(wanted: set[Frame], scores: pd.DataFrame, attempts: pd.DataFrame) -> Mapping[Frame, pd.DataFrame]:
    """Return the frames that are asked about."""
    frames: dict[Frame, pd.DataFrame] = {}
    if "scores" in wanted:
        frames["scores"] = scores
    if "selections" in wanted:
        frames["selections"] = selections(attempts)
    if "least_caps" in wanted:
        frames["least_caps"] = least_caps(scores)
    return frames


def _trend(subject: str, trend: Trend, values: pd.DataFrame) -> DepthTrend:
    explained = values.loc[values["status"] == "explained"]
    defined = explained.loc[explained["value"].notna()].sort_values(["layer", "value"])
    layers, scores = defined["layer"].to_numpy(np.float64), defined["value"].to_numpy(np.float64)
    value = spearman(layers, scores)
    low, high = rank_correlation_interval(value, len(defined))
    return DepthTrend(
        subject=subject,
        trend=trend,
        rank_correlation=value,
        ci_low=low,
        ci_high=high,
        n=len(defined),
        n_undefined=len(explained) - len(defined),
        n_failed=int((values["status"] == "failed").sum()),
        p=trend_p_value(layers, scores, generator(0, "permutations")),
    )
