"""The numbers behind every score: formulas, the bootstrap over sequences, and paired comparisons. Pure numpy.

Every score here is a function of sums over tokens, and the sums of a resample are its counts times the sums of
each sequence. So a thousand resamples cost one matrix product, and leaving one sequence out costs a subtraction.
AUROC is no sum over tokens but one over pairs of sequences, which resampling counts weigh just as well.

A number that does not exist (a correlation with a constant) is NaN; who shows it says why.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featureinterp.errors import InputError
from featureinterp.record import MAX_LEVEL

Floats = NDArray[np.float64]

_CANCELLED = 1e-12
"""A variance this small next to its own mean square is what rounding leaves of zero."""


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random generator of one purpose; equal seed and names give equal draws, on any machine.

    >>> int(generator(0, "blocks.1", 7, "bootstrap").integers(1000)) == int(
    ...     generator(0, "blocks.1", 7, "bootstrap").integers(1000)
    ... )
    True
    """
    return np.random.default_rng(derived_seed(seed, *names))


def derived_seed(seed: int, *names: str | int) -> int:
    """Return a 64-bit seed that depends on the seed and on every name, their order and their type."""
    words = [name if isinstance(name, str) else operator.index(name) for name in names]
    digest = hashlib.blake2b(json.dumps([operator.index(seed), *words]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class TokenSums(NamedTuple):
    """Sums over tokens, from which all scores but AUROC follow; every field is float64 of one shape.

    The shape is [sequences] as made by `token_sums`, [resamples] after `weighted`.
    """

    tokens: Floats
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
        """Return the sums of resamples, given how often each holds each sequence [..., sequences]."""
        table = np.asarray(weights, dtype=np.float64) @ np.stack(self, axis=-1)
        return TokenSums(*np.moveaxis(table, -1, 0))

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
) -> TokenSums:
    """Sum up tokens by sequence.

    Args:
        truth: true activation of every token, at least 0 [tokens].
        expected: expected activation, on the same scale [tokens].
        owner: which sequence each token belongs to, 0..n-1 [tokens]; None for one sequence.
        n: how many sequences there are.
        claimed: whether each token is claimed to be active [tokens]; None makes `claimed` and `hits` NaN, and so the
            scores that go by them.
    """
    t, e = np.asarray(truth, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    index = np.zeros(len(t), dtype=np.int64) if owner is None else np.asarray(owner)
    error, active = t - e, t > 0
    claims = np.full(len(t), np.nan) if claimed is None else np.asarray(claimed, dtype=np.float64)
    tc, ec = (t - t.mean(), e - e.mean()) if len(t) else (t, e)
    columns = (np.ones_like(t), tc, ec, tc * tc, ec * ec, tc * ec, error * error)
    columns += (np.abs(error), np.abs(t), active, claims, active * claims)
    return TokenSums(*(np.bincount(index, weights=column, minlength=n).astype(np.float64) for column in columns))


def correlation(sums: TokenSums) -> Floats:
    """Pearson's correlation of truth and expectation, -1..1; NaN where either is constant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = sums.product / sums.tokens - (sums.truth / sums.tokens) * (sums.expected / sums.tokens)
        spread = np.sqrt(_variance(sums.truth, sums.truth_squared, sums.tokens))
        spread = spread * np.sqrt(_variance(sums.expected, sums.expected_squared, sums.tokens))
        return (covariance / np.where(spread > 0, spread, np.nan)).clip(-1.0, 1.0)


def r_squared(sums: TokenSums) -> Floats:
    """1 − mean squared error / variance of the truth, at most 1; NaN where the truth is constant."""
    variance = _variance(sums.truth, sums.truth_squared, sums.tokens)
    return 1.0 - _ratio(sums.squared_error, sums.tokens * variance)


def absolute_deviation_explained(sums: TokenSums) -> Floats:
    """1 − mean |error| / mean |truth|, at most 1; NaN where the truth is 0 everywhere."""
    return 1.0 - _ratio(sums.absolute_error, sums.absolute_truth)


def precision(sums: TokenSums) -> Floats:
    """Share of the claimed tokens that are active; NaN where none is claimed."""
    return _ratio(sums.hits, sums.claimed)


def recall(sums: TokenSums) -> Floats:
    """Share of the active tokens that are claimed; NaN where none is active."""
    return _ratio(sums.hits, sums.active)


def f1(sums: TokenSums) -> Floats:
    """2·hits / (claimed + active), 0..1; NaN where no token is claimed or active."""
    return _ratio(2.0 * sums.hits, sums.claimed + sums.active)


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of two vectors; NaN where either is constant.

    >>> pearson([0, 1, 2], [1, 3, 5])
    1.0
    """
    return float(correlation(token_sums(x, y)).item())


class RankedPairs(NamedTuple):
    """How the active tokens of each sequence rank against the silent ones of each, for AUROC."""

    wins: Floats
    """[i, j]: pairs of an active token of i expected above a silent one of j; a tie is half a win."""
    active: Floats
    """Active tokens of each sequence [sequences]."""
    silent: Floats


def ranked_pairs(active: ArrayLike, expected: ArrayLike, owner: ArrayLike | None = None, n: int = 1) -> RankedPairs:
    """Count for every two sequences the token pairs that are ranked right; arguments as in `token_sums`."""
    is_active, e = np.asarray(active, dtype=bool), np.asarray(expected, dtype=np.float64)
    index = np.zeros(len(e), dtype=np.int64) if owner is None else np.asarray(owner)
    rows, silent_rows = index[is_active], index[~is_active]
    values, column = np.unique(e[is_active], return_inverse=True)
    width = len(values) + 1  # the last column is for silent tokens above every active one
    actives = np.reshape(np.bincount(rows * width + column, minlength=n * width), (n, width))
    # A silent token counts half from the first value not below it, and half from the first value above it:
    # wholly for the values above, by half for its equal.
    below = np.zeros(n * width)
    for side in ("left", "right"):
        place = np.searchsorted(values, e[~is_active], side=side)
        below += 0.5 * np.bincount(silent_rows * width + place, minlength=n * width)
    wins = actives.astype(np.float64) @ np.transpose(np.cumsum(np.reshape(below, (n, width)), axis=1))
    return RankedPairs(
        wins, actives.sum(axis=1).astype(np.float64), np.bincount(silent_rows, minlength=n).astype(float)
    )


def auroc(pairs: RankedPairs, weights: ArrayLike | None = None) -> Floats:
    """Chance that an active token is expected above a silent one, ties half; NaN without one of either.

    Args:
        pairs: as made by `ranked_pairs`.
        weights: how often each resample holds each sequence [..., sequences]; None for each once.
    """
    w = np.ones(len(pairs.active)) if weights is None else np.asarray(weights, dtype=np.float64)
    return _ratio(((w @ pairs.wins) * w).sum(axis=-1), (w @ pairs.active) * (w @ pairs.silent))


def resampling_counts(strata: ArrayLike, n_bootstrap: int, rng: np.random.Generator) -> Floats:
    """Draw sequences with replacement, within each stratum as many as it has.

    Args:
        strata: which list each sequence was sampled for, any integers [sequences].
        n_bootstrap: how many resamples.
        rng: source of randomness.

    Returns:
        How often each resample holds each sequence, float64 [n_bootstrap, sequences].
    """
    labels = np.asarray(strata)
    drawn = np.empty((n_bootstrap, len(labels)), dtype=np.int64)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        drawn[:, members] = members[rng.integers(len(members), size=(n_bootstrap, len(members)))]
    drawn += np.arange(n_bootstrap)[:, None] * len(labels)
    return np.reshape(np.bincount(drawn.ravel(), minlength=drawn.size), drawn.shape).astype(np.float64)


def percentile_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrapped values, leaving out undefined ones.

    NaN twice where fewer than half of the resamples are defined: such an interval would speak of a selection.
    """
    resampled = np.asarray(values, dtype=np.float64)
    defined = resampled[~np.isnan(resampled)]
    if len(defined) == 0 or 2 * len(defined) < len(resampled):
        return np.nan, np.nan
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedDifference:
    """How much better one method does than another on the same units (features)."""

    mean: float
    """Mean of a − b over the pairs in which both are defined; NaN without any."""
    ci_low: float
    ci_high: float
    """Bootstrap 95% interval that resamples pairs; NaN with fewer than two."""
    effect_size: float
    """Mean over standard deviation of the differences (Cohen's d for pairs); NaN where they do not vary."""
    n_pairs: int
    n_undefined: int
    """Pairs left out because a side of them is NaN."""

    def __str__(self) -> str:
        left_out = f", {self.n_undefined} undefined" if self.n_undefined else ""
        return f"{self.mean:+.3f} [{self.ci_low:+.3f}, {self.ci_high:+.3f}] (n = {self.n_pairs}{left_out})"


def paired_difference(
    a: Sequence[float], b: Sequence[float], rng: np.random.Generator, n_bootstrap: int = 2000
) -> PairedDifference:
    """Compare two methods unit by unit; `a[i]` and `b[i]` are their scores on the same unit, NaN if undefined.

    Raises:
        InputError: if there are not as many of one as of the other.
    """
    if len(a) != len(b):
        raise InputError(f"{len(a)} scores cannot be paired with {len(b)}", "give both methods the same features")
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    pairs = difference[~np.isnan(difference)]
    n = len(pairs)
    if n == 0:
        return PairedDifference(np.nan, np.nan, np.nan, np.nan, 0, len(difference))
    low = high = effect = np.nan
    if n > 1:
        low, high = percentile_interval([pairs[rng.integers(n, size=n)].mean() for _ in range(n_bootstrap)])
        spread = pairs.std(ddof=1)
        effect = float(pairs.mean() / spread) if spread > _CANCELLED * np.abs(pairs).max() else np.nan
    return PairedDifference(float(pairs.mean()), low, high, effect, n, len(difference) - n)


def sign_flip_p_value(differences: ArrayLike, rng: np.random.Generator, n_flips: int = 9999) -> float:
    """Return how likely a mean at least as far from 0 is if every paired difference could as well be its opposite.

    Two-sided. Exact, over all 2ⁿ sign patterns, where there are not more of them than `n_flips`; else over so many
    random ones and the observed one, so that it is never 0. NaN without differences; undefined ones are left out.

    >>> sign_flip_p_value([1.0, 2.0, 3.0], np.random.default_rng(0))
    0.25
    """
    values = np.asarray(differences, dtype=np.float64)
    values = np.sort(values[~np.isnan(values)])
    n = len(values)
    if n == 0:
        return np.nan
    exact = 2**n <= n_flips
    patterns = np.arange(1 << n)[:, None] >> np.arange(n) & 1 if exact else rng.integers(0, 2, size=(n_flips, n))
    sums = np.abs((1.0 - 2.0 * patterns) @ values)
    # Sums that differ by rounding alone are equal.
    as_far = int((sums >= np.abs(values.sum()) - _CANCELLED * np.abs(values).sum()).sum())
    return as_far / 2**n if exact else (as_far + 1) / (n_flips + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, so that the chance of any false discovery stays below the level.

    Undefined ones stay so and are not counted (Holm, 1979).

    >>> holm([0.01, 0.04, float("nan"), 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    corrected, largest = [np.nan] * len(p_values), 0.0
    order = sorted((p, i) for i, p in enumerate(p_values) if not np.isnan(p))
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[i] = largest
    return corrected


def expectation_over_levels(logits: ArrayLike) -> Floats:
    """Return the expected level under a softmax over six logits or log probabilities [..., 6] -> [...].

    Adding a constant to the six changes nothing, so log probabilities over a whole vocabulary serve as well.

    Raises:
        InputError: if the last axis is not of length 6.

    >>> float(expectation_over_levels([0.0] * 6))
    2.5
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.shape[-1:] != (MAX_LEVEL + 1,):
        raise InputError(f"logits have shape {values.shape}", f"the last axis is the levels 0..{MAX_LEVEL}")
    with np.errstate(invalid="ignore"):
        odds = np.exp(values - values.max(axis=-1, keepdims=True))
    return (odds @ np.arange(MAX_LEVEL + 1.0)) / odds.sum(axis=-1)


def _variance(total: Floats, squares: Floats, n: Floats) -> Floats:
    mean_square = _ratio(squares, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = mean_square - (total / n) ** 2
        return np.where(variance > _CANCELLED * mean_square, variance, 0.0)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Divide, with NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(numerator) / np.where(np.asarray(denominator) == 0, np.nan, denominator)
