"""P-values of paired differences and their correction, against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from featureinterp.stats import holm, sign_flip_p_value


def hall(a, b, axis):
    """The mean over the deviation, corrected for three times the sample's skewness (Hall, 1992), 0 where all are 0."""
    d = np.asarray(a, dtype=float) - b
    n, mean, deviation = d.shape[axis], d.mean(axis=axis), d.std(axis=axis)
    deviation = np.maximum(deviation, 1e-6 * np.sqrt((d**2).mean(axis=axis)))
    third = ((d - np.expand_dims(mean, axis)) ** 3).mean(axis=axis)
    with np.errstate(invalid="ignore"):
        w = np.nan_to_num(mean / deviation)
        skewness = np.clip(3.0 * np.nan_to_num(third / deviation**3), -np.sqrt(n), np.sqrt(n))
    return np.round(w + skewness * w**2 / 3 + skewness**2 * w**3 / 27 + skewness / (6 * n), 6)


numbers = st.lists(st.integers(-20, 20), min_size=2, max_size=10)


@settings(deadline=None)
@given(numbers)
def test_few_differences_have_the_exact_p_value_of_scipy(values):
    wanted = scipy_stats.permutation_test(
        (values, [0] * len(values)), hall,
        permutation_type="samples", vectorized=True, n_resamples=np.inf, alternative="two-sided",
    ).pvalue  # fmt: skip
    # scipy swaps the two samples of a pair, which flips the sign of their difference.
    assert sign_flip_p_value(values, np.random.default_rng(0)) == pytest.approx(min(1.0, wanted))


def test_many_differences_come_near_the_exact_p_value():
    values = np.random.default_rng(3).normal(0.35, 1.0, size=18)
    exact = sign_flip_p_value(values, np.random.default_rng(0), n_flips=2**18)
    random = sign_flip_p_value(values, np.random.default_rng(0))
    assert 0.05 < exact < 0.9
    assert random == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9999))


def test_a_p_value_of_random_flips_is_never_zero():
    assert sign_flip_p_value(np.ones(100), np.random.default_rng(0)) == pytest.approx(1 / 10_000)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.integers(0, 100))
def test_order_sign_and_scale_of_the_differences_change_no_p_value(values, seed):
    def p(differences):
        return sign_flip_p_value(differences, np.random.default_rng(1), n_flips=500)

    assert p(list(np.random.default_rng(seed).permutation(values))) == p(values)
    assert p([8 * value for value in values]) == p(values)
    if len(values) < 9:  # few: exact
        assert p([-value for value in values]) == p(values)


def test_undefined_differences_are_left_out_and_none_have_no_p_value():
    assert sign_flip_p_value([1.0, math.nan, 2.0, 3.0], np.random.default_rng(0)) == 0.25
    assert math.isnan(sign_flip_p_value([math.nan], np.random.default_rng(0)))


def test_the_false_positive_rate_is_the_level():
    rng = np.random.default_rng(4)
    p_values = [sign_flip_p_value(rng.normal(size=8), rng) for _ in range(800)]
    assert np.mean(np.asarray(p_values) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=8), st.floats(0.01, 0.2))
def test_holm_rejects_what_its_step_down_rule_rejects(p_values, level):
    defined = [p for p in p_values if not math.isnan(p)]
    rejected, remaining = set(), sorted(defined)
    while remaining and remaining[0] * len(remaining) < level:
        rejected.add(remaining.pop(0))
    corrected = holm(p_values)
    for p, c in zip(p_values, corrected, strict=True):
        assert math.isnan(p) == math.isnan(c)
        if not math.isnan(p):
            assert c >= p
            if all(q not in remaining for q in rejected):  # ties across the border are rejected together or not at all
                assert (c < level) == (p in rejected)
