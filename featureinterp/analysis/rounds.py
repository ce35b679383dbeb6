"""Search rounds: best attempt by round, and overfitting to feedback.

Made from attempts that were all judged on test (`FeatureRunParams.judge_attempts`); where they were not, the numbers of
test are NaN.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from featureinterp.analysis.means import mean_by
from featureinterp.stats import pearson

MEASURES = ("train_score", "valid_score", "test_score", "complexity", "n_rules")
_METHOD = ["experiment", "subject", "variant"]
_FEATURE = [*_METHOD, "hook_name", "layer", "latent"]


def best_by_round(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return the best attempt so far by train score after each round, for each feature.

    Returns:
        `experiment`, `subject`, `variant`, `hook_name`, `layer`, `latent`, `relative_depth`, `round` (0: the first
        proposals), and of the best attempt its `number` and `MEASURES`. A search that stopped early keeps its best
        for the rounds that others of its variant went on; a feature has no row before an attempt has a train score.
    """
    last = attempts.groupby(_METHOD)["depth"].transform("max")
    ranked = _by_train_score(attempts.assign(last=last))
    parts = []
    for round_ in range(int(attempts["depth"].max()) + 1 if len(attempts) else 0):
        so_far = ranked.loc[(ranked["depth"] <= round_) & (ranked["last"] >= round_)]
        parts.append(so_far.drop_duplicates(_FEATURE).assign(round=round_))
    columns = [*_FEATURE, "relative_depth", "round", "number", *MEASURES]
    found = pd.concat(parts, ignore_index=True) if parts else ranked.assign(round=0)
    return found.loc[:, columns].sort_values([*_FEATURE, "round"], ignore_index=True)


def rounds(attempts: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return the means of `best_by_round` over features: by method, `round` and `measure`, as `mean_by`."""
    best = best_by_round(attempts)
    parts = [mean_by(best, [*_METHOD, "round"], measure, level).assign(measure=measure) for measure in MEASURES]
    return pd.concat(parts, ignore_index=True)


def selections(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return each feature's chosen attempt and alternative choices: a row per feature of each run.

    Returns:
        `experiment`, `subject`, `variant`, `hook_name`, `layer`, `latent`; `train_of_chosen`, `valid_of_chosen` and
        `test_of_chosen` of the attempt that was chosen, by valid score; `test_of_best_train` of the one with the best
        train score, and `test_of_best_test`, the most that any choice could have reached.
    """
    scores = ["train_score", "valid_score", "test_score"]
    chosen = attempts.loc[attempts["chosen"], [*_FEATURE, *scores]].set_index(_FEATURE)
    chosen.columns = ["train_of_chosen", "valid_of_chosen", "test_of_chosen"]
    by_train = _by_train_score(attempts).drop_duplicates(_FEATURE).set_index(_FEATURE)["test_score"]
    by_test = attempts.groupby(_FEATURE).agg(test_of_best_test=("test_score", "max"))
    return by_test.join(chosen).join(by_train.rename("test_of_best_train")).reset_index()


def agreement(attempts: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return the agreement of valid and test scores: by method, their mean correlation over features.

    The correlation is over a feature's attempts that have both scores. It is undefined for fewer than three, and where
    all have the same score; `n_undefined` counts these features. Columns as of `mean_by`.
    """
    judged = attempts.loc[attempts["valid_score"].notna() & attempts["test_score"].notna()]
    names, values = [], []
    for name, group in judged.groupby(_FEATURE):
        names.append(name)
        values.append(pearson(group["valid_score"], group["test_score"]) if len(group) > 2 else np.nan)
    frame = pd.DataFrame(names, columns=_FEATURE).assign(correlation=np.asarray(values, dtype=np.float64))
    return mean_by(frame, _METHOD, "correlation", level)


def _by_train_score(attempts: pd.DataFrame) -> pd.DataFrame:
    having = attempts.loc[attempts["train_score"].notna()]
    return having.sort_values(["train_score", "number"], ascending=[False, True], kind="stable")
