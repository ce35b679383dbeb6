"""Stratified delete-one jackknife: variance of a score over its leave-one-out values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from featureinterp.stats.sums import Floats


def leave_one_out_weights(strata: ArrayLike) -> Floats:
    """Return the weight of every sequence in every leave-one-out sample, float64 [sequences, sequences].

    Sample i lacks sequence i, and the n − 1 others of its stratum weigh n/(n − 1), so that the stratum keeps its size
    (Wolter, "Introduction to Variance Estimation", 2007, section 4.5).

    Args:
        strata: which list each sequence was sampled for, any integers, at least two sequences of each [sequences].
    """
    labels = np.asarray(strata)
    together = labels[:, None] == labels[None, :]
    size = together.sum(axis=1, keepdims=True)
    weights = np.where(together, size / (size - 1.0), 1.0)
    np.fill_diagonal(weights, 0.0)
    return weights


def jackknife_variance(replicates: ArrayLike, strata: ArrayLike) -> float:
    """Return the variance of a score: Σ over strata of (n − 1)/n · Σ (replicate − mean of the stratum's)².

    Wolter, 2007, equation 4.5.3, after Jones, "Jackknife estimation of functions of stratum means", 1974.

    Args:
        replicates: the score without each sequence [sequences].
        strata: as in `leave_one_out_weights`.
    """
    values, labels = np.asarray(replicates, dtype=np.float64), np.asarray(strata)
    total = 0.0
    for label in np.unique(labels):
        own = values[labels == label]
        total += (len(own) - 1) / len(own) * float(((own - own.mean()) ** 2).sum())
    return total
