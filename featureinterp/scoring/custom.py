"""Custom scores with jackknife intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from featureinterp import stats
from featureinterp.core import Score, ScoredSequence
from featureinterp.protocols import Statistic
from featureinterp.registry import Registry
from featureinterp.scoring.simulation import pooled_levels

SCORERS = Registry("score", {}, group="featureinterp.scorers")
"""Registry of statistics, filled by entry points of other packages."""


def score_with(statistic: Statistic | str, sequences: Sequence[ScoredSequence], *, interval: bool = True) -> Score:
    """Return a statistic of windows with its 95% interval: value ± t(n − 1)·jackknife standard error.

    Args:
        statistic: makes a number of windows; it is called once more without each window. It should change little where
            one window of many is left out: a mean, a share, a correlation, but no maximum. Or its name: an entry point
            of `featureinterp.scorers`, or `module:function`.
        sequences: windows with what is expected on them; their order may matter to the statistic alone.
        interval: whether the score has an interval; positives and complementary windows are its strata.

    Returns:
        The number; undefined where the statistic is NaN or infinite. There is no interval where the statistic is
        undefined without some window, or positives or complementary windows are fewer than two.

    Raises:
        InputError: if there is no statistic of that name, there are no windows, or one is active although its latent's
            maximum is 0.
        ActivationError: if a true activation is NaN or infinite.
        SimulationError: if a simulation does not match its record.
    """
    statistic = SCORERS.load(statistic) if isinstance(statistic, str) else statistic
    pooled_levels(sequences)
    value = float(statistic(sequences))
    if not math.isfinite(value):
        return Score.undefined("the statistic is not defined on these sentences")
    strata = np.array([pair.record.source is not None for pair in sequences])
    if not interval or np.unique(strata, return_counts=True)[1].min() < 2:
        return Score(value)
    without = [float(statistic([*sequences[:i], *sequences[i + 1 :]])) for i in range(len(sequences))]
    if not all(map(math.isfinite, without)):
        return Score(value)
    return Score(value, *stats.jackknife_interval(value, without, strata))
