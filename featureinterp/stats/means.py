"""Means over features and paired differences, with intervals and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from featureinterp.errors import InputError
from featureinterp.stats.intervals import LEVEL, Interval, t_quantile
from featureinterp.stats.sums import CANCELLED, Floats

SYMMETRIC = 1e-6
"""A skewness below it moves no interval."""


def mean_interval(sums: ArrayLike, counts: ArrayLike | None = None, level: float = LEVEL) -> Interval:
    """Return the interval of Σ sums / Σ counts over features: mean ± t(n − 1)·standard error, longer on a skewed side.

    Student, "The probable error of a mean", 1908; with unequal counts the standard error of a ratio (Cochran, "Sampling
    Techniques", 1977, equation 6.13), √( n/(n − 1) · Σ (sum − mean·count)² ) / Σ counts. It is extended to Hall's
    interval, the means at which `skew_corrected_t` is ± t(n − 1)/√(n − 1) (Hall, "On the removal of skewness by
    transformation", 1992).

    Args:
        sums: sum of the values of each feature [features].
        counts: how many values each feature has, at least 1 [features]; None for one each.
        level: of the interval, 0..1.

    Returns:
        Lower and upper end; NaN with fewer than two features.

    >>> low, high = mean_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    totals = np.asarray(sums, dtype=np.float64)
    numbers = np.ones(len(totals)) if counts is None else np.asarray(counts, dtype=np.float64)
    n = len(totals)
    if n < 2:
        return np.nan, np.nan
    mean = float(totals.sum() / numbers.sum())
    residuals = np.sort(totals - mean * numbers) * n / numbers.sum()
    deviation = float(residuals.std())
    if deviation <= CANCELLED * float(np.abs(totals).max(initial=0.0)):
        return mean, mean
    skewness = float((residuals**3).mean()) / deviation**3
    reach = t_quantile(n - 1, level) / np.sqrt(n - 1)
    low, high = (_without_skewness(side * reach, skewness, n) for side in (1, -1))
    return mean - deviation * float(max(reach, low)), mean - deviation * float(min(-reach, high))


def _without_skewness(statistic: float, skewness: float, n: int) -> float:
    """Return the mean in deviations that has this `skew_corrected_t`."""
    if abs(skewness) < SYMMETRIC:
        return statistic
    cube = 1 + skewness * (statistic - skewness / (6 * n))
    return 3 / skewness * (float(np.cbrt(cube)) - 1)


POWER = 0.8
"""Power of the test at `detectable_difference`."""


def detectable_difference(deviation: float, n: int, level: float = LEVEL) -> float:
    """Return the smallest mean difference that n pairs show with a power of 0.8; NaN with fewer than two.

    (t(n − 1; 1 − α/2) + t(n − 1; power)) · deviation/√n, the minimum detectable effect of a two-sided paired t test at
    α = 1 − level (Bloom, "Minimum detectable effects: a simple way to report the statistical power of experimental
    designs", 1995).

    Args:
        deviation: standard deviation of the differences.
        n: number of pairs.
        level: of the test, 0..1.

    >>> round(detectable_difference(1.0, 24), 3)
    0.597
    """
    if n < 2:
        return np.nan
    return (t_quantile(n - 1, level) + t_quantile(n - 1, 2 * POWER - 1)) * deviation / float(np.sqrt(n))


@dataclass(frozen=True)
class PairedDifference:
    """Paired difference of two methods on the same units (features)."""

    mean: float
    """Mean of a − b over the pairs in which both are defined; NaN without any."""
    ci_low: float
    ci_high: float
    """95% interval over pairs as `mean_interval`; NaN with fewer than two."""
    effect_size: float
    """Mean over standard deviation of the differences (Cohen's d for pairs); NaN where they do not vary."""
    n_pairs: int
    n_undefined: int
    """Pairs left out because a side of them is NaN."""
    detectable: float = np.nan
    """`detectable_difference` of so many pairs that vary as these do; NaN with fewer than two."""

    def __str__(self) -> str:
        left_out = f", {self.n_undefined} undefined" if self.n_undefined else ""
        return f"{self.mean:+.3f} [{self.ci_low:+.3f}, {self.ci_high:+.3f}] (n = {self.n_pairs}{left_out})"


def paired_difference(a: Sequence[float], b: Sequence[float]) -> PairedDifference:
    """Compare two methods unit by unit; `a[i]` and `b[i]` are their scores on the same unit, NaN if undefined.

    The order of the units changes nothing.

    Raises:
        InputError: if `a` and `b` differ in length.
    """
    if len(a) != len(b):
        raise InputError(f"{len(a)} scores cannot be paired with {len(b)}", "give both methods the same features")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    pairs = np.sort(difference[~np.isnan(difference)])
    n = len(pairs)
    if n == 0:
        return PairedDifference(np.nan, np.nan, np.nan, np.nan, 0, len(difference))
    low, high = mean_interval(pairs)
    spread = float(pairs.std(ddof=1)) if n > 1 else 0.0
    effect = float(pairs.mean()) / spread if spread > CANCELLED * np.abs(pairs).max() else np.nan
    detectable = detectable_difference(spread, n)
    return PairedDifference(float(pairs.mean()), low, high, effect, n, len(difference) - n, detectable)


def sign_flip_p_value(differences: ArrayLike, rng: np.random.Generator, n_flips: int = 9999) -> float:
    """Return the p-value of the sign-flip test, whose null hypothesis is that d and −d are equally likely.

    Two-sided. Exact, over all 2ⁿ sign patterns, where there are not more of them than `n_flips`; else over so many
    random ones and the observed one, so that it is never 0. NaN without differences; undefined ones are left out.

    The statistic is the studentised mean, corrected for skewness: `skew_corrected_t`. Studentised statistics keep the
    level where differences are not symmetric around a mean of 0 (Janssen, "Studentized permutation tests for
    non-i.i.d. hypotheses and the generalized Behrens-Fisher problem", 1997). Studentising alone changes no p-value of
    a sign flip, since Σ d² is the same under every pattern.

    >>> sign_flip_p_value([1.0, 2.0, 3.0], np.random.default_rng(0))
    0.25
    """
    values = np.asarray(differences, dtype=np.float64)
    values = np.sort(values[~np.isnan(values)])
    n = len(values)
    if n == 0:
        return np.nan
    values = values / (np.abs(values).max() or 1.0)
    exact = 2**n <= n_flips
    patterns = np.arange(1 << n)[:, None] >> np.arange(n) & 1 if exact else rng.integers(0, 2, size=(n_flips, n))
    flips = 1.0 - 2.0 * patterns
    factor = unseen_skewness(n)
    found = np.abs(skew_corrected_t(flips @ values, (values**2).sum(), flips @ values**3, n, factor))
    moments = values.sum(), (values**2).sum(), (values**3).sum()
    observed = np.abs(skew_corrected_t(*moments, n, factor))
    # Statistics that differ by rounding alone are equal.
    as_far = int((found >= observed * (1 - 1e-9)).sum())
    return as_far / 2**n if exact else (as_far + 1) / (n_flips + 1)


def unseen_skewness(n: int) -> float:
    """Return how many times the skewness of n values the sign-flip test takes: 3 up to 24 values, 1 + 48/n for more.

    A sample that lacks the rare large values is less skewed than what it is from, the more so the smaller it is. Under
    symmetry the test keeps its level at any factor; `benchmarks/coverage.py` measures its errors without.

    >>> unseen_skewness(12), unseen_skewness(48)
    (3.0, 2.0)
    """
    return 1.0 + min(2.0, 48 / n)


def skew_corrected_t(total: ArrayLike, squares: ArrayLike, cubes: ArrayLike, n: int, factor: float = 1.0) -> Floats:
    """Return Hall's statistic w + γ·w²/3 + γ²·w³/27 + γ/(6n), with w = mean / deviation and γ the sample's skewness.

    It increases with w, and is closer to symmetric than w where the values are skewed (Hall, "On the removal of
    skewness by transformation", 1992).

    Args:
        total: Σ of n values [samples].
        squares: Σ of their squares [samples].
        cubes: Σ of their cubes [samples].
        n: number of values.
        factor: what the skewness is multiplied by.
    """
    mean = np.asarray(total, dtype=np.float64) / n
    mean_square = np.asarray(squares, dtype=np.float64) / n
    least = CANCELLED * mean_square
    variance = np.maximum(mean_square - mean**2, least)
    deviation = np.sqrt(np.where(variance > 0, variance, 1.0))
    third = np.asarray(cubes, dtype=np.float64) / n - 3 * mean * mean_square + 2 * mean**3
    w = mean / deviation
    # Of n values none is further than √(n − 1) deviations from the mean, which bounds the skewness.
    skewness = (factor * third / deviation**3).clip(-np.sqrt(n), np.sqrt(n))
    # Where rounding alone makes values differ, it would make up the skewness too.
    skewness = np.where(variance > least, skewness, 0.0)
    return w + skewness * w**2 / 3 + skewness**2 * w**3 / 27 + skewness / (6 * n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, so that the chance of any false discovery stays below the level.

    Undefined ones stay so and are not counted (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    >>> holm([0.01, 0.04, float("nan"), 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    corrected, largest = [np.nan] * len(p_values), 0.0
    order = sorted((p, i) for i, p in enumerate(p_values) if not np.isnan(p))
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[i] = largest
    return corrected
