"""Variance components against simulated runs whose components are known, and against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from featureinterp.stats import VarianceComponents, mean_ranks, spearman, variance_components

KNOWN = VarianceComponents(0.04, 0.01, 0.0025, 0.0016, 0.0036, 0.0009)


def runs(rng: np.random.Generator, a: int, b: int, c: int, d: int) -> np.ndarray:
    """Draw scores with the known components."""

    def term(variance: float, *shape: int) -> np.ndarray:
        return rng.normal(0, np.sqrt(variance), shape)

    made = 0.5 + term(KNOWN.features, a, 1, 1, 1) + term(KNOWN.records, a, b, 1, 1)
    made = made + term(KNOWN.proposals, a, b, c, 1) + term(KNOWN.simulators, 1, 1, 1, d)
    return made + term(KNOWN.features_by_simulator, a, 1, 1, d) + term(KNOWN.residual, a, b, c, d)


def test_known_components_are_found() -> None:
    rng = np.random.default_rng(0)
    found = [variance_components(runs(rng, 60, 4, 3, 5)) for _ in range(200)]
    for name, truth in vars(KNOWN).items():
        estimates = np.array([getattr(each, name) for each in found])
        error = estimates.std(ddof=1) / np.sqrt(len(estimates))
        assert abs(estimates.mean() - truth) < 3.5 * error, name
        assert error < 0.1 * truth, name


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ((3, 1, 1), {"features": 0.04 + 0.0036, "records": 0.01 + 0.0025 + 0.0009}),
        ((3, 2, 1), {"features": 0.04 + 0.0036, "records": 0.01, "proposals": 0.0025 + 0.0009}),
        ((3, 1, 2), {"features": 0.04, "records": 0.01 + 0.0025, "residual": 0.0009, "features_by_simulator": 0.0036}),
        ((1, 1, 1), {"features": KNOWN.total - 0.0016}),
    ],
)
def test_what_is_not_varied_is_part_of_the_next_component(sizes: tuple[int, int, int], wanted) -> None:
    rng = np.random.default_rng(1)
    found = [variance_components(runs(rng, 100, *sizes)) for _ in range(200)]
    for name in vars(KNOWN):
        estimates = np.array([getattr(each, name) for each in found])
        if name in wanted:
            error = estimates.std(ddof=1) / np.sqrt(len(estimates))
            assert abs(estimates.mean() - wanted[name]) < 3.5 * error, name
        elif name != "simulators" or sizes[2] == 1:
            assert np.isnan(estimates).all(), name


def test_components_of_a_table_done_by_hand() -> None:
    """Two features, two draws: MS of features 2·(0.5 + 0.5) = 2, MS of draws (0.02 + 0) / 2 = 0.01."""
    found = variance_components(np.array([[0.9, 1.1], [2.0, 2.0]])[..., None, None])
    assert (found.features, found.records) == (pytest.approx((1.0 - 0.01) / 2), pytest.approx(0.01))
    assert found.total == pytest.approx(found.features + found.records)
    same = variance_components(np.full((2, 2, 2, 2), 0.3))
    assert set(vars(same).values()) == {0.0}


def test_a_negative_estimate_is_0() -> None:
    found = variance_components(np.array([[0.0, 1.0], [1.0, 0.0]])[..., None, None])
    assert (found.features, found.records) == (0.0, pytest.approx(0.5))


def test_ranks_with_ties() -> None:
    assert mean_ranks([3, 1, 3, 3, 0]).tolist() == [4, 2, 4, 4, 1]
    assert spearman([1, 2, 3, 4], [2, 4, 8, 16]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [3, 2, 1, 0]) == pytest.approx(-1)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))
    # By the formula for no ties, 1 − 6·Σd² / n(n² − 1), with d² = 0, 1, 1.
    assert spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(1 - 6 * 2 / 24)
