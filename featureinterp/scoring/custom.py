"""Custom scores with bootstrap intervals."""

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


def score_with(
    statistic: Statistic | str, sequences: Sequence[ScoredSequence], *, seed: int = 0, n_bootstrap: int = 1000
) -> Score:
    """Return a statistic of windows with its bootstrap 95% interval.

    Args:
        statistic: function from windows to a number, also called for every resample. Or its name: an entry point of
            `featureinterp.scorers`, or `module:function`.
        sequences: simulated windows; their order matters only if the statistic depends on it.
        seed: seed of the resamples.
        n_bootstrap: number of resamples; positives and complementary windows are resampled separately. 0 for no
            interval.

    Returns:
        The statistic; undefined if it is NaN or infinite. There is no interval if the statistic is
        undefined on most resamples, or there are fewer than two positives or complementary windows.

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
    complementary = np.array([pair.record.source is not None for pair in sequences])
    if not n_bootstrap or min(np.unique(complementary, return_counts=True)[1]) < 2:
        return Score(value)
    counts = stats.resampling_counts(complementary, n_bootstrap, stats.generator(seed, "bootstrap"))
    taken = (np.repeat(np.arange(len(sequences)), row.astype(int)).tolist() for row in counts)
    values = np.array([statistic([sequences[i] for i in map(int, rows)]) for rows in taken], dtype=np.float64)
    low, high = stats.percentile_interval(np.where(np.isfinite(values), values, np.nan))
    return Score(value) if math.isnan(low) else Score(value, low, high)
