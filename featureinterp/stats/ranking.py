"""Scores of the order of expectations: AUROC and average precision, with ties.

Both are functions of how many active and how many silent tokens of each sequence have each expected value, which the
weights of sequences multiply like sums.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featureinterp.stats.sums import Floats, ratio


class RankedTokens(NamedTuple):
    """Weighted number of tokens by sequence and by distinct expected value, ascending [sequences, values]."""

    active: Floats
    silent: Floats

    def take(self, rows: NDArray[np.int64]) -> RankedTokens:
        """Return some sequences, in order, with the values that their tokens have."""
        active, silent = self.active[rows], self.silent[rows]
        there = active.any(axis=0) | silent.any(axis=0)
        return RankedTokens(active[:, there], silent[:, there])


def ranked_tokens(
    active: ArrayLike,
    expected: ArrayLike,
    owner: ArrayLike | None = None,
    n: int = 1,
    *,
    weights: ArrayLike | None = None,
) -> RankedTokens:
    """Count tokens by sequence and expected value; arguments as in `token_sums`, `active` is boolean."""
    is_active = np.asarray(active, dtype=bool)
    values, column = np.unique(np.asarray(expected, dtype=np.float64), return_inverse=True)
    index = np.zeros(len(column), dtype=np.int64) if owner is None else np.asarray(owner)
    w = np.ones(len(column)) if weights is None else np.asarray(weights, dtype=np.float64)
    cell, size = index * len(values) + column, n * len(values)
    counts = (np.bincount(cell, weights=w * side, minlength=size) for side in (is_active, ~is_active))
    return RankedTokens(*(np.reshape(count, (n, len(values))).astype(np.float64) for count in counts))


def auroc(ranked: RankedTokens, weights: ArrayLike | None = None) -> Floats:
    """Chance that an active token is expected above a silent one, ties half; NaN without one of either.

    Hanley & McNeil, "The meaning and use of the area under a receiver operating characteristic curve", 1982.

    Args:
        ranked: as made by `ranked_tokens`.
        weights: of each sequence in each sample [..., sequences]; None for 1 each.
    """
    active, silent = _of_samples(ranked, weights)
    below = np.cumsum(silent, axis=-1) - 0.5 * silent
    return ratio((active * below).sum(axis=-1), active.sum(axis=-1) * silent.sum(axis=-1))


def average_precision(ranked: RankedTokens, weights: ArrayLike | None = None) -> Floats:
    """Mean over active tokens of the precision at their own threshold, 0..1; NaN without an active token.

    Σ (R[k] − R[k−1])·P[k] over the distinct expected values from high to low, without interpolation; tokens of one
    value are taken together. Manning, Raghavan & Schütze, "Introduction to Information Retrieval", 2008, section 8.4.
    Arguments as in `auroc`.
    """
    active, silent = (counts[..., ::-1] for counts in _of_samples(ranked, weights))
    hits = np.cumsum(active, axis=-1)
    called = hits + np.cumsum(silent, axis=-1)
    at = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
    return ratio((active * at).sum(axis=-1), active.sum(axis=-1))


def _of_samples(ranked: RankedTokens, weights: ArrayLike | None) -> tuple[Floats, Floats]:
    w = np.ones(len(ranked.active)) if weights is None else np.asarray(weights, dtype=np.float64)
    return w @ ranked.active, w @ ranked.silent
