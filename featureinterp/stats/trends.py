"""Trends: interval and permutation test of a rank correlation over features."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from featureinterp.stats.components import mean_ranks, spearman
from featureinterp.stats.intervals import LEVEL, Interval, t_quantile
from featureinterp.stats.sums import CANCELLED

_AT_ONCE = 1000
"""Permutations in memory at once."""


def rank_correlation_interval(value: float, n: int, level: float = LEVEL) -> Interval:
    """Return the interval of a rank correlation of n pairs; NaN with fewer than four, or where it is undefined.

    tanh( artanh r ± 1.96·√((1 + r²/2)/(n − 3)) ) (Bonett & Wright, "Sample size requirements for estimating Pearson,
    Kendall and Spearman correlations", 2000).
    """
    if n < 4 or np.isnan(value):
        return np.nan, np.nan
    if abs(value) >= 1 - CANCELLED:
        return value, value
    reach = t_quantile(np.inf, level) * float(np.sqrt((1 + value**2 / 2) / (n - 3)))
    z = float(np.arctanh(value))
    return float(np.tanh(z - reach)), float(np.tanh(z + reach))


def trend_p_value(x: ArrayLike, y: ArrayLike, rng: np.random.Generator, n_permutations: int = 9999) -> float:
    """Return the two-sided p-value of a rank correlation, by permutation; NaN where it is undefined.

    The share of random pairings of the same values whose rank correlation is at least as far from 0, the observed one
    among them, so that it is never 0 (Pitman, "Significance tests which may be applied to samples from any
    populations. II. The correlation coefficient test", 1937). The order of the pairs changes nothing.

    Args:
        x: one value per pair [pairs].
        y: the other [pairs].
        rng: draws the permutations.
        n_permutations: how many are drawn.
    """
    if np.isnan(spearman(x, y)):
        return np.nan
    order = np.lexsort((np.asarray(y), np.asarray(x)))
    of_x, of_y = (mean_ranks(values)[order] - (len(order) + 1) / 2 for values in (x, y))
    observed = abs(float(of_x @ of_y)) * (1 - 1e-9)  # statistics that differ by rounding alone are equal
    as_far = 0
    for start in range(0, n_permutations, _AT_ONCE):
        drawn = np.tile(of_y, (min(_AT_ONCE, n_permutations - start), 1))
        as_far += int((np.abs(rng.permuted(drawn, axis=1) @ of_x) >= observed).sum())
    return (as_far + 1) / (n_permutations + 1)
