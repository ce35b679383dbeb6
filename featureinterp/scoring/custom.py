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
"""Statistics that other packages register."""


def score_with(
    statistic: Statistic | str, sequences: Sequence[ScoredSequence], *, seed: int = 0, n_bootstrap: int = 1000
) -> Score:
    """Return a statistic of windows with its bootstrap 95% interval.

    Args:
        statistic: makes a number of windows; it is called once for every resample too. Or its name: an entry point of
            `featureinterp.scorers`, or `module:function`.
        sequences: windows with what is expected on them; their order may matter to the statistic alone.
        seed: decides the resamples of the interval.
        n_bootstrap: how many; windows are resampled, positives and complementary ones each among themselves. 0 for no
            interval.

    Returns:
        The number; undefined where the statistic is NaN or infinite. There is no interval where the statistic is
        undefined on most resamples, or positives or complementary windows are fewer than two.

    Raises:
        InputError: if there is no statistic of that name, there are no windows, or one is active although its latent's
            maximum is 0.
        ActivationError: if a true activation is NaN or infinite.
        SimulationError: if a simulation does not fit its record.
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
