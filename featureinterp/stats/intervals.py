"""Intervals of one feature's scores: from leave-one-out values, so equal data have equal intervals.

Their coverage is measured by `benchmarks/coverage.py` and stated in `docs/definitions.md`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # pyright: ignore[reportMissingTypeStubs]

from featureinterp.stats.jackknife import jackknife_variance
from featureinterp.stats.sums import Floats, ratio

Interval = tuple[float, float]

LEVEL = 0.95

_NO_BOUND = 1e-12
"""Correlations and unexplained shares are kept this far from where their transformation is infinite."""

CORRELATION_WORTH, UNEXPLAINED_WORTH, SHARE_WORTH, DIFFERENCE_WORTH = 3.0, 1.0, 10.0, 3.0
"""Independent observations that a sentence counts for at most, by kind of score.

A sample without the rare sentence that matters has too small a jackknife variance. So the variance of so many
independent observations is added. The numbers are the largest of 1, 3, 10 with which the intervals cover at least 93%
in `benchmarks/coverage.py`.
"""


def t_quantile(degrees: float, level: float = LEVEL) -> float:
    """Return the two-sided quantile of Student's t distribution.

    >>> round(t_quantile(9), 3)
    2.262
    """
    return float(special.stdtrit(degrees, 0.5 + level / 2))


def correlation_interval(value: float, replicates: ArrayLike, strata: ArrayLike) -> Interval:
    """Return the interval of a correlation: jackknife t on Fisher's z.

    tanh( z ± t(n − 1)·√(v + 1/(3·(n − 3))) ), z = artanh r (Fisher, "On the 'probable error' of a coefficient of
    correlation deduced from a small sample", 1921), with v the jackknife variance of z, n the number of sentences, and
    1/(n − 3) Fisher's variance of n observations (`CORRELATION_WORTH`).

    Args:
        value: -1..1.
        replicates: the correlation without each sentence; NaN, where what is left is constant, counts as 0 [sentences].
        strata: which list each sentence is from [sentences].
    """
    z, each = _fisher(value), _fisher(_or_zero(replicates))
    reach = _reach(each, strata, CORRELATION_WORTH)
    return min(value, float(np.tanh(z - reach))), max(value, float(np.tanh(z + reach)))


def explained_interval(value: float, replicates: ArrayLike, strata: ArrayLike) -> Interval:
    """Return the interval of a score 1 − x, x ≥ 0, such as R²: jackknife t on the logarithm of x.

    1 − exp( log x ± t(n − 1)·√(v + 1/(n − 3)) ), with v the jackknife variance of log x (`UNEXPLAINED_WORTH`).

    Args:
        value: at most 1.
        replicates: the score without each sentence; NaN counts as 0 [sentences].
        strata: which list each sentence is from [sentences].
    """
    unexplained, each = _log_unexplained(value), _log_unexplained(_or_zero(replicates))
    reach = _reach(each, strata, UNEXPLAINED_WORTH)
    return min(value, 1.0 - float(np.exp(unexplained + reach))), max(value, 1.0 - float(np.exp(unexplained - reach)))


def share_interval(value: float, replicates: ArrayLike, strata: ArrayLike, n_informative: float) -> Interval:
    """Return the interval of a score from 0 to 1 that is no plain count, such as precision or AUROC.

    Exact binomial bounds (Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", 1934) of m independent trials with the same variance v: m = p·(1 − p)/v · (1.96/t(n − 1))² (Korn &
    Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data", 1998). v is the jackknife variance plus p·(1 − p)/(10·k), with k the informative sentences (`SHARE_WORTH`).
    Where no variance can be seen, all sentences being alike, each is one trial.

    Args:
        value: 0..1.
        replicates: the score without each sentence [sentences].
        strata: which list each sentence is from [sentences].
        n_informative: sentences that the score depends on, at least 1; for precision, those with a token called active.
    """
    each = np.asarray(replicates, dtype=np.float64)
    variance = 0.0 if np.isnan(each).any() else jackknife_variance(each, strata)
    trials = n_informative
    if variance > 0 and 0 < value < 1:
        trials = 1 / (variance / (value * (1 - value)) + 1 / (SHARE_WORTH * n_informative))
        trials *= (t_quantile(np.inf) / t_quantile(len(each) - 1)) ** 2
    return binomial_interval(trials * value, trials)


def binomial_interval(hits: float, trials: float, level: float = LEVEL) -> Interval:
    """Return the exact interval of a share (Clopper & Pearson, 1934); `hits` and `trials` need not be whole numbers.

    >>> low, high = binomial_interval(0, 10)
    >>> low, round(high, 3)
    (0.0, 0.308)
    """
    tail, misses = (1 - level) / 2, max(trials - hits, 0.0)
    rounding = 1e-9 * max(trials, 1.0)
    low = float(special.betaincinv(hits, misses + 1, tail)) if hits > rounding else 0.0
    high = float(special.betaincinv(hits + 1, misses, 1 - tail)) if misses > rounding else 1.0
    return low, high


def rate_interval(counts: ArrayLike, weights: ArrayLike | None = None, level: float = LEVEL) -> Interval:
    """Return the interval of a mean count per sentence; its upper end is above 0 where nothing was counted.

    Gamma bounds (Fay & Feuer, "Confidence intervals for directly standardized rates: a method based on the gamma
    distribution", 1997) with the observed variance in place of the Poisson variance, since a sentence that errs once
    errs more often. For counts of a Poisson distribution they are the exact bounds (Garwood, 1936).

    Args:
        counts: whole numbers, at least two [sentences].
        weights: how many sentences each one stands for [sentences]; None for one each.
        level: of the interval, 0..1.

    >>> low, high = rate_interval([0] * 10)
    >>> low, round(high, 3)
    (0.0, 0.369)
    """
    seen, tail = np.asarray(counts, dtype=np.float64), (1 - level) / 2
    share = np.ones(len(seen)) if weights is None else np.asarray(weights, dtype=np.float64)
    share = share / share.sum()
    mean = float(share @ seen)
    variance = float((share**2 * (seen - mean) ** 2).sum()) * len(seen) / (len(seen) - 1)
    one_more = float((share * np.maximum(seen, 1.0)).max())
    low = variance / mean * float(special.gammaincinv(mean**2 / variance, tail)) if variance > 0 else mean
    mean, variance = mean + one_more, variance + one_more**2
    return low, variance / mean * float(special.gammaincinv(mean**2 / variance, 1 - tail))


def difference_interval(
    values: tuple[float, float], between: float, replicates: ArrayLike, strata: ArrayLike
) -> Interval:
    """Return the interval of the difference of two correlations with the same truth: jackknife t.

    difference ± t(n − 1)·√(v + s/(3·(n − 3))), with v the jackknife variance, s/n the variance of the difference of two
    dependent correlations of n observations (`DIFFERENCE_WORTH`): s = (1 − a²)² + (1 − b²)² − 2·c and c = r·(1 − a² −
    b²) − ½·a·b·(1 − a² − b² − r²), with a and b the correlations and r that between the two expectations (Pearson &
    Filon, 1898; Steiger, "Tests for comparing elements of a correlation matrix", 1980, equation 3).

    Args:
        values: the two correlations.
        between: the correlation of the two expectations with each other, -1..1.
        replicates: the difference without each sentence [sentences].
        strata: which list each sentence is from [sentences].

    Returns:
        Lower and upper end, -2..2; the difference twice where the two expectations are equal.
    """
    (a, b), r, n = values, between, np.size(replicates)
    shared = r * (1 - a * a - b * b) - 0.5 * a * b * (1 - a * a - b * b - r * r)
    spread = (1 - a * a) ** 2 + (1 - b * b) ** 2 - 2 * shared
    spread = spread if spread > _NO_BOUND else 0.0  # of equal expectations, rounding alone
    variance = jackknife_variance(replicates, strata) + spread / (DIFFERENCE_WORTH * max(n - 3, 1))
    reach = t_quantile(n - 1) * float(np.sqrt(variance))
    return max(a - b - reach, -2.0), min(a - b + reach, 2.0)


def jackknife_interval(value: float, replicates: ArrayLike, strata: ArrayLike) -> Interval:
    """Return the interval of any smooth statistic: value ± t(n − 1)·√(jackknife variance).

    Tukey, "Bias and confidence in not-quite large samples", 1958.

    Args:
        value: the statistic.
        replicates: the statistic without each sentence [sentences].
        strata: which list each sentence is from [sentences].
    """
    each = np.asarray(replicates, dtype=np.float64)
    reach = t_quantile(len(each) - 1) * float(np.sqrt(jackknife_variance(each, strata)))
    return value - reach, value + reach


def effective_number(weights: ArrayLike) -> float:
    """Return (Σ w)² / Σ w²: how many equal weights vary as much (Kish, "Survey Sampling", 1965, section 11.7).

    >>> effective_number([2.0, 2.0, 2.0])
    3.0
    """
    w = np.asarray(weights, dtype=np.float64)
    return float(ratio(w.sum() ** 2, (w**2).sum()))


def _reach(transformed: Floats, strata: ArrayLike, worth: float) -> float:
    n = len(transformed)
    variance = jackknife_variance(transformed, strata) + 1 / (worth * max(n - 3, 1))
    return t_quantile(n - 1) * float(np.sqrt(variance))


def _fisher(values: ArrayLike) -> Floats:
    return np.arctanh(np.asarray(values, dtype=np.float64).clip(-1 + _NO_BOUND, 1 - _NO_BOUND))


def _log_unexplained(values: ArrayLike) -> Floats:
    return np.log(np.maximum(1.0 - np.asarray(values, dtype=np.float64), _NO_BOUND))


def _or_zero(replicates: ArrayLike) -> Floats:
    return np.nan_to_num(np.asarray(replicates, dtype=np.float64), nan=0.0)
