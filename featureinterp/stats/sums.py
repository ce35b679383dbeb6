"""Scores that are functions of sums over tokens: correlation, R², absolute deviation, precision, recall, F1, IoU.

The sums of a reweighted sample are its weights times the sums of each sequence, so every leave-one-out sample of a
jackknife comes from one matrix product. A number that does not exist (a correlation with a constant) is NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CANCELLED = 1e-12
"""A variance this small next to its own mean square is what rounding leaves of zero."""


class TokenSums(NamedTuple):
    """Weighted sums over tokens; every field is float64 of one shape.

    The shape is [sequences] as made by `token_sums`, [samples] after `weighted`.
    """

    tokens: Floats
    """Sum of the weights; the number of tokens where all weigh 1."""
    truth: Floats
    """Of truth minus its mean over all tokens, so that little is lost to rounding; `expected` likewise."""
    expected: Floats
    truth_squared: Floats
    expected_squared: Floats
    product: Floats
    squared_error: Floats
    absolute_error: Floats
    absolute_truth: Floats
    active: Floats
    """Tokens with truth > 0."""
    claimed: Floats
    hits: Floats
    """Tokens that are both."""

    def weighted(self, weights: ArrayLike) -> TokenSums:
        """Return the sums of samples, given the weight of each sequence in each of them [..., sequences]."""
        table = np.asarray(weights, dtype=np.float64) @ np.stack(self, axis=-1)
        return TokenSums(*np.moveaxis(table, -1, 0))

    def correlations(self, weights: ArrayLike) -> Floats:
        """Return `correlation(self.weighted(weights))`, from the sums that it needs."""
        table = np.asarray(weights, dtype=np.float64) @ np.stack(self[:6], axis=-1)
        return _correlation(*np.moveaxis(table, -1, 0))

    def take(self, rows: NDArray[np.int64]) -> TokenSums:
        """Return the sums of some sequences, in order; one may come several times."""
        return TokenSums(*(field[rows] for field in self))

    def total(self) -> TokenSums:
        """Return the sums over all sequences."""
        return TokenSums(*(field.sum(axis=-1) for field in self))

    def without_each(self) -> TokenSums:
        """Return, for every sequence, the sums over all others."""
        return TokenSums(*(field.sum() - field for field in self))


def token_sums(
    truth: ArrayLike,
    expected: ArrayLike,
    owner: ArrayLike | None = None,
    n: int = 1,
    *,
    claimed: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> TokenSums:
    """Sum up tokens by sequence.

    Args:
        truth: true activation of every token, at least 0 [tokens].
        expected: expected activation, on the same scale [tokens].
        owner: which sequence each token belongs to, 0..n-1 [tokens]; None for one sequence.
        n: how many sequences there are.
        claimed: whether each token is claimed to be active [tokens]; None makes `claimed` and `hits` NaN, and so the
            scores that go by them.
        weights: how many tokens each one stands for, at least 0 [tokens]; None for one each. Scores equal those of
            the tokens repeated that often.
    """
    t, e = np.asarray(truth, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    index = np.zeros(len(t), dtype=np.int64) if owner is None else np.asarray(owner)
    w = np.ones_like(t) if weights is None else np.asarray(weights, dtype=np.float64)
    error, active = t - e, (t > 0).astype(np.float64)
    claims = np.full(len(t), np.nan) if claimed is None else np.asarray(claimed, dtype=np.float64)
    tc, ec = (t - np.average(t, weights=w), e - np.average(e, weights=w)) if w.sum() > 0 else (t, e)
    columns = (np.ones_like(t), tc, ec, tc * tc, ec * ec, tc * ec, error * error)
    columns += (np.abs(error), np.abs(t), active, claims, active * claims)
    return TokenSums(*(_summed(column if weights is None else w * column, index, n) for column in columns))


def _summed(values: Floats, index: NDArray[np.int64], n: int) -> Floats:
    return np.bincount(index, weights=values, minlength=n).astype(np.float64, copy=False)


def correlation(sums: TokenSums) -> Floats:
    """Pearson's correlation of truth and expectation, -1..1; NaN where either is constant."""
    return _correlation(sums.tokens, sums.truth, sums.expected, sums.truth_squared, sums.expected_squared, sums.product)


def _correlation(n: Floats, x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = xy / n - (x / n) * (y / n)
        spread = np.sqrt(_variance(x, xx, n)) * np.sqrt(_variance(y, yy, n))
        return (covariance / np.where(spread > 0, spread, np.nan)).clip(-1.0, 1.0)


def r_squared(sums: TokenSums) -> Floats:
    """1 − mean squared error / variance of the truth, at most 1; NaN where the truth is constant."""
    variance = _variance(sums.truth, sums.truth_squared, sums.tokens)
    return 1.0 - ratio(sums.squared_error, sums.tokens * variance)


def absolute_deviation_explained(sums: TokenSums) -> Floats:
    """1 − mean |error| / mean |truth|, at most 1; NaN where the truth is 0 everywhere."""
    return 1.0 - ratio(sums.absolute_error, sums.absolute_truth)


def precision(sums: TokenSums) -> Floats:
    """Share of the claimed tokens that are active; NaN where none is claimed."""
    return ratio(sums.hits, sums.claimed)


def recall(sums: TokenSums) -> Floats:
    """Share of the active tokens that are claimed; NaN where none is active."""
    return ratio(sums.hits, sums.active)


def f1(sums: TokenSums) -> Floats:
    """2·hits / (claimed + active), 0..1; NaN where no token is claimed or active."""
    return ratio(2.0 * sums.hits, sums.claimed + sums.active)


def iou(sums: TokenSums) -> Floats:
    """Intersection over union, hits / (claimed + active − hits), 0..1; NaN where no token is claimed or active.

    Jaccard, "Étude comparative de la distribution florale", 1901. It is F1 / (2 − F1).
    """
    return ratio(sums.hits, sums.claimed + sums.active - sums.hits)


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of two vectors; NaN where either is constant.

    >>> pearson([0, 1, 2], [1, 3, 5])
    1.0
    """
    t, e = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = np.float64(len(t))
    tc, ec = (t - t.sum() / n, e - e.sum() / n) if n > 0 else (t, e)
    every = np.zeros(len(t), dtype=np.int64)
    moments = (_summed(column, every, 1) for column in (tc, ec, tc * tc, ec * ec, tc * ec))
    return float(_correlation(np.full(1, n), *moments).item())


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Divide, with NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator, dtype=np.float64) / np.where(np.asarray(denominator) == 0, np.nan, denominator)


def _variance(total: Floats, squares: Floats, n: Floats) -> Floats:
    mean_square = ratio(squares, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = mean_square - (total / n) ** 2
        return np.where(variance > CANCELLED * mean_square, variance, 0.0)
