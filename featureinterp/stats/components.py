"""Variance components of a score over repeated runs, and rank correlation.

Records are drawn for each feature, and proposals are sampled from the records, so both are nested in the feature; every
explainer is run with every simulator, which is crossed with the rest:

    y[f,r,p,s] = mean + F[f] + R[f,r] + P[f,r,p] + S[s] + FS[f,s] + e[f,r,p,s]

The components are the variances of these terms. They are estimated by equating the mean squares of a balanced analysis
of variance with their expectations (Searle, Casella & McCulloch, "Variance Components", 1992, chapter 4):

    E MS_F  = e + d·P + cd·R + bc·FS + bcd·F        E MS_S  = e + bc·FS + abc·S
    E MS_R  = e + d·P + cd·R                        E MS_FS = e + bc·FS
    E MS_P  = e + d·P                               E MS_e  = e

with a features, b draws of records, c of proposals and d simulators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featureinterp.stats.sums import Floats, pearson

_OVER_RECORDS = (1, 2, 3)


@dataclass(frozen=True)
class VarianceComponents:
    """Variance of a score by its cause; NaN for a cause that was not varied.

    What was not varied is part of the next component that was: proposals of records, the residual of proposals.
    """

    features: float
    """Between features."""
    records: float
    """Records drawn again."""
    proposals: float
    """Proposals sampled again from the same records."""
    simulators: float
    """Another simulator, in the same direction for every feature."""
    features_by_simulator: float
    """Another simulator, differently for each feature."""
    residual: float
    """What is left: draws and simulators together."""

    @property
    def total(self) -> float:
        """Variance of one score of one feature: the sum of the components."""
        return float(np.nansum(list(vars(self).values())))


NOTHING_VARIED = VarianceComponents(*[np.nan] * 6)
"""Of no scores."""


def variance_components(values: ArrayLike) -> VarianceComponents:
    """Return the variance components of a balanced set of runs; a negative estimate is set to 0.

    Args:
        values: defined scores, at least one [features, draws of records, draws of proposals, simulators].

    >>> variance_components([[[[1.0]], [[1.0]]], [[[3.0]], [[3.0]]]]).features
    2.0
    """
    y = np.asarray(values, dtype=np.float64)
    a, b, c, d = y.shape
    by_feature, by_record = y.mean(axis=_OVER_RECORDS), y.mean(axis=(2, 3))
    by_proposal, by_simulator = y.mean(axis=3), y.mean(axis=(0, 1, 2))
    by_both = y.mean(axis=(1, 2))
    feature = _mean_square(b * c * d, by_feature - y.mean(), a - 1)
    record = _mean_square(c * d, by_record - by_feature[:, None], a * (b - 1))
    proposal = _mean_square(d, by_proposal - by_record[..., None], a * b * (c - 1))
    simulator = _mean_square(a * b * c, by_simulator - y.mean(), d - 1)
    both = _mean_square(b * c, by_both - by_feature[:, None] - by_simulator + y.mean(), (a - 1) * (d - 1))
    left = y - by_proposal[..., None] - by_both[:, None, None] + by_feature[:, None, None, None]
    residual = _mean_square(1, left, a * (b * c - 1) * (d - 1))

    # Without a level its mean square is that of the next one below.
    no_both, no_proposal = _either(both, residual), _either(proposal, residual)
    no_record = _either(record, no_proposal)
    return VarianceComponents(
        features=_component(feature, no_record + no_both - _either(residual), b * c * d),
        records=_component(record, no_proposal, c * d),
        proposals=_component(proposal, _either(residual), d),
        simulators=_component(simulator, no_both, a * b * c),
        features_by_simulator=_component(both, _either(residual), b * c),
        residual=residual,
    )


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation of two vectors, tied values at their mean rank; NaN where either is constant.

    Spearman, "The proof and measurement of association between two things", 1904.

    >>> spearman([1.0, 2.0, 3.0], [10.0, 1000.0, 500.0])
    0.5
    """
    return pearson(mean_ranks(a), mean_ranks(b))


def mean_ranks(values: ArrayLike) -> Floats:
    """Return the rank of each value, from 1; tied values have the mean of their ranks.

    >>> mean_ranks([7.0, 5.0, 7.0]).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _mean_square(weight: int, deviations: NDArray[np.float64], degrees: int) -> float:
    return weight * float((deviations**2).sum()) / degrees if degrees > 0 else np.nan


def _either(*mean_squares: float) -> float:
    """Return the first mean square that exists; 0 if none does."""
    return next((each for each in mean_squares if not np.isnan(each)), 0.0)


def _component(mean_square: float, below: float, times: int) -> float:
    return max(0.0, (mean_square - below) / times) if not np.isnan(mean_square) else np.nan
