"""Means of an experiment with t intervals over features: by layer, by method, by number of rules.

Frames in, frames out: they are made by `featureinterp.analysis.frames`, and the order of their rows changes nothing.
A value that is undefined is left out of a mean and counted beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from featureinterp.core import Score
from featureinterp.record import MAIN_SOURCE
from featureinterp.stats import mean_interval

UNIT = ["subject", "hook_name", "latent"]
"""Columns that identify one feature of one model: the unit of intervals and of pairs."""

SHARE_OF_BEST = 0.9
"""A cap is enough where its score reaches this share of the score of the best cap."""

_METHOD = ["experiment", "subject", "variant"]
_FEATURE = ["experiment", "subject", "hook_name", "layer", "latent"]
_SHARES = {"score": "share_of_best", "best_so_far": "best_so_far_share"}
_CURVE = ("score", "best_so_far", "share_of_best", "best_so_far_share")
_MEAN = ["mean", "ci_low", "ci_high", "n", "n_undefined", "n_failed"]


def mean_by(frame: pd.DataFrame, by: Sequence[str], value: str, level: float = 0.95) -> pd.DataFrame:
    """Return the mean of a column in every group, with a t interval over features.

    Args:
        frame: rows of features; with a `status`, only explained ones have a mean.
        by: columns that make the groups; empty for one of all rows.
        value: the column.
        level: of the interval, 0..1.

    Returns:
        A row per group: `by`, `mean`, `ci_low`, `ci_high` (NaN with fewer than two features), `n` features in the
        mean, `n_undefined` explained ones without a value, and `n_failed` ones without an explanation although they
        fire often enough.
    """
    groups: Any = frame.groupby(list(by), dropna=False) if by else [((), frame)]
    rows = [{**dict(zip(by, names, strict=True)), **_mean(group, value, level)} for names, group in groups]
    found = pd.DataFrame(rows, columns=[*by, *_MEAN])
    return found.astype({name: frame.dtypes[name] for name in by} if rows else {})


def score_by_variant(frame: pd.DataFrame, source: str = MAIN_SOURCE, level: float = 0.90) -> pd.DataFrame:
    """Return the mean test correlation by method against one complementary source, as `mean_by`."""
    return mean_by(frame.loc[frame["source"] == source], _METHOD, "correlation", level)


def one_per_feature(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each feature of each run, for columns that are the same for every source."""
    return frame.loc[frame["source"] == MAIN_SOURCE]


def cap_scores(frame: pd.DataFrame, source: str = MAIN_SOURCE) -> pd.DataFrame:
    """Return each feature's test score by rule cap: a row per feature and cap, in that order.

    Which cap is best is decided by valid scores, the smaller of equal ones, so that no maximum of test scores is taken:
    of scores that differ by noise alone the maximum is above them all. Features that never fire or are rare are left
    out, and such as are not finished for every cap of their subject.

    Returns:
        `experiment`, `subject`, `hook_name`, `layer`, `latent`, `relative_depth`, `rule_cap`; `score`; `best_so_far`,
        the score of the best of this cap and the smaller ones; `best`, that of the best of all caps; `share_of_best`
        and `best_so_far_share`, `score` and `best_so_far` divided by `best`. Shares are NaN where it is undefined or
        not above 0.
    """
    rows = frame.loc[(frame["source"] == source) & frame["status"].isin(["explained", "failed"])]
    n_caps = rows.groupby("subject")["rule_cap"].nunique()
    whole = rows.groupby(_FEATURE)["rule_cap"].transform("size") == rows["subject"].map(n_caps)
    curves = rows.loc[whole, [*_FEATURE, "relative_depth", "rule_cap", "correlation", "valid_score"]]
    curves = curves.sort_values([*_FEATURE, "rule_cap"])
    curves = curves.rename(columns={"correlation": "score"}).astype({"rule_cap": "int64"}).reset_index(drop=True)
    features = [curves[name] for name in _FEATURE]
    valid = curves["valid_score"]
    before = valid.groupby(features).cummax().groupby(features).ffill().groupby(features).shift()
    leading = curves.index.to_series().where(valid.notna() & ~(valid <= before))
    row = leading.groupby(features).ffill()
    curves["best_so_far"] = curves["score"].reindex(row).to_numpy()
    curves["best"] = curves["score"].reindex(row.groupby(features).transform("last")).to_numpy()
    for name in ("score", "best_so_far"):
        curves[_SHARES[name]] = curves[name] / curves["best"].where(curves["best"] > 0)
    return curves.drop(columns="valid_score")


def polysemanticity_surface(frame: pd.DataFrame, source: str = MAIN_SOURCE) -> pd.DataFrame:
    """Return means over features by layer and rule cap, over the features with a defined value.

    Returns:
        `experiment`, `subject`, `layer`, `rule_cap`, `relative_depth`; `score`, `best_so_far`, `share_of_best`,
        `best_so_far_share` as in `cap_scores`; `n_features`, and `n_undefined` of them without a score.
    """
    curves = cap_scores(frame, source)
    found = curves.groupby(["experiment", "subject", "layer", "rule_cap"]).agg(
        relative_depth=("relative_depth", "first"),
        **{name: (name, "mean") for name in _CURVE},
        n_features=("score", "size"),
        n_undefined=("score", lambda scores: int(scores.isna().sum())),
    )
    return found.reset_index()


def least_caps(frame: pd.DataFrame, source: str = MAIN_SOURCE) -> pd.DataFrame:
    """Return each feature's polysemanticity: the least rule cap with 90% of the score of the best cap.

    Returns:
        `experiment`, `subject`, `hook_name`, `layer`, `latent`, `relative_depth`; `best`, the test score of the cap
        that is best on valid; `least_cap` and its test score `score`, NaN where `best` is undefined or not above 0.
    """
    curves = cap_scores(frame, source)
    enough = curves["share_of_best"] >= SHARE_OF_BEST
    least = curves.loc[enough].drop_duplicates(_FEATURE).rename(columns={"rule_cap": "least_cap"})
    of_feature = curves.drop_duplicates(_FEATURE).loc[:, [*_FEATURE, "relative_depth", "best"]]
    found = of_feature.merge(least.loc[:, [*_FEATURE, "least_cap", "score"]], "left", _FEATURE)
    return found.astype({"least_cap": np.float64})


def least_cap_by_depth(frame: pd.DataFrame, level: float = 0.80) -> pd.DataFrame:
    """Return the mean polysemanticity of features by layer, as `mean_by`."""
    return mean_by(least_caps(frame), ["experiment", "subject", "layer", "relative_depth"], "least_cap", level)


def mean_score(values: Iterable[float]) -> Score:
    """Return the mean of the defined values, one per feature, with its 95% interval."""
    defined = [value for value in values if not np.isnan(value)]
    mean, low, high = mean_of_features(defined, [1.0] * len(defined))
    if not defined:
        return Score.undefined("no feature has it")
    return Score(mean) if np.isnan(low) else Score(mean, low, high)


def mean_of_features(sums: Iterable[float], counts: Iterable[float], level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean over all values of all features and its interval, from each feature's sum and count.

    NaN without features, an interval of NaN with fewer than two. The order of the features changes nothing.
    """
    table = np.array(sorted(zip(sums, counts, strict=True)), dtype=np.float64).reshape(-1, 2)
    if len(table) == 0:
        return np.nan, np.nan, np.nan
    total, number = table.sum(axis=0)
    return float(total / number), *mean_interval(table[:, 0], table[:, 1], level)


def _mean(group: pd.DataFrame, value: str, level: float) -> Mapping[str, float]:
    explained, n_failed = group, 0
    if "status" in group:
        explained = group.loc[group["status"] == "explained"]
        n_failed = group.loc[group["status"] == "failed", UNIT].drop_duplicates().shape[0]
    by_feature = explained.groupby(UNIT)[value].agg(["sum", "count"]).to_numpy(dtype=np.float64)
    defined = by_feature[by_feature[:, 1] > 0]
    mean, low, high = mean_of_features(defined[:, 0], defined[:, 1], level)
    counts = {"n": len(defined), "n_undefined": len(by_feature) - len(defined), "n_failed": n_failed}
    return {"mean": mean, "ci_low": low, "ci_high": high, **counts}
