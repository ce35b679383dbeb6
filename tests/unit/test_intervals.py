"""Intervals against scipy, plain loops, theory, and populations of which the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from benchmarks import coverage as benchmark
from featureinterp import stats
from featureinterp.errors import InputError
from featureinterp.scoring.sample import SentenceSample

NAN = math.nan


def test_leave_one_out_samples_keep_the_size_of_every_stratum():
    strata = np.array([3, 1, 3, 3, 1])
    weights = stats.leave_one_out_weights(strata)
    assert (np.diag(weights) == 0).all()
    for label, size in ((3, 3), (1, 2)):
        assert weights[:, strata == label].sum(axis=1) == pytest.approx([size] * 5)


def test_the_jackknife_variance_of_a_stratified_mean_is_the_textbooks():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], [7, 12])
    values = rng.exponential(size=19) + 5 * strata
    replicates = stats.leave_one_out_weights(strata) @ values / 19
    parts = [values[strata == label] for label in (0, 1)]
    wanted = sum((len(part) / 19) ** 2 * part.var(ddof=1) / len(part) for part in parts)  # Cochran, 1977, 5.8
    assert stats.jackknife_variance(replicates, strata) == pytest.approx(wanted)


def test_the_interval_of_a_correlation_by_hand():
    replicates, strata = [0.5, 0.7, 0.6, 0.4, 0.6, NAN], [0, 0, 0, 1, 1, 1]
    z = np.arctanh([0.5, 0.7, 0.6, 0.4, 0.6, 0.0])
    variance = sum(2 / 3 * ((part - part.mean()) ** 2).sum() for part in (z[:3], z[3:]))
    reach = scipy.stats.t.ppf(0.975, 5) * math.sqrt(variance + 1 / (3 * 3))
    wanted = np.tanh(math.atanh(0.55) - reach), np.tanh(math.atanh(0.55) + reach)
    assert stats.correlation_interval(0.55, replicates, strata) == pytest.approx(wanted)
    low, high = stats.correlation_interval(1.0, [1.0] * 6, strata)
    assert (low, high) == pytest.approx((1.0, 1.0))
    assert high == 1.0


def test_the_interval_of_an_unexplained_share_by_hand():
    replicates, strata = [0.5, 0.7, 0.6, 0.4, NAN, -0.2], [0, 0, 0, 1, 1, 1]
    x = np.log([0.5, 0.3, 0.4, 0.6, 1.0, 1.2])
    variance = sum(2 / 3 * ((part - part.mean()) ** 2).sum() for part in (x[:3], x[3:]))
    reach = scipy.stats.t.ppf(0.975, 5) * math.sqrt(variance + 1 / 3)
    wanted = 1 - math.exp(math.log(0.45) + reach), 1 - math.exp(math.log(0.45) - reach)
    assert stats.explained_interval(0.55, replicates, strata) == pytest.approx(wanted)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (3, 10), (10, 10), (1, 2)])
def test_binomial_bounds_are_scipys(hits: int, trials: int):
    wanted = scipy.stats.binomtest(hits, trials).proportion_ci(method="exact")
    assert stats.binomial_interval(hits, trials) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_shares_that_are_alike_everywhere_are_one_trial_a_sentence():
    for value in (0.0, 1.0):
        wanted = scipy.stats.binomtest(round(9 * value), 9).proportion_ci(method="exact")
        found = stats.share_interval(value, [value] * 20, [0] * 10 + [1] * 10, 9)
        assert found == pytest.approx((wanted.low, wanted.high))
    low, high = stats.share_interval(1.0, [NAN] + [1.0] * 19, [0] * 10 + [1] * 10, 1)
    assert (low, high) == pytest.approx((0.025, 1.0)), "a single informative sentence leaves nearly all open"


def test_the_interval_of_a_share_has_the_trials_that_its_variance_stands_for():
    rng, strata = np.random.default_rng(1), np.repeat([0, 1], 15)
    replicates = 0.8 + 0.01 * rng.normal(size=30)
    variance = stats.jackknife_variance(replicates, strata) + 0.8 * 0.2 / (10 * 14)
    trials = 0.8 * 0.2 / variance * (1.959964 / scipy.stats.t.ppf(0.975, 29)) ** 2
    wanted = (
        scipy.stats.beta.ppf(0.025, 0.8 * trials, 0.2 * trials + 1),
        scipy.stats.beta.ppf(0.975, 0.8 * trials + 1, 0.2 * trials),
    )
    assert stats.share_interval(0.8, replicates, strata, 14) == pytest.approx(wanted, abs=1e-5)


def test_a_rate_where_nothing_was_seen_has_an_upper_end():
    for n in (2, 10, 30):
        assert stats.rate_interval([0] * n) == pytest.approx(
            (0.0, -math.log(0.025) / n)
        )  # Poisson: exp(-n·rate) = 2.5%
    assert stats.rate_interval([0, 0], [1, 3]) == pytest.approx((0.0, -math.log(0.025) * 3 / 4)), (
        "the heavier could err"
    )


def test_a_rate_of_poisson_counts_has_garwoods_bounds():
    """For one count a sentence with the variance of a Poisson distribution: mean 1, variance 1 by n − 1."""
    counts = [0, 2, 0, 2, 1, 1, 0, 2, 1, 1, 0, 2]
    n, total, variance = len(counts), sum(counts), np.var(counts, ddof=1)
    low, high = stats.rate_interval(counts)
    shape = total**2 / (n * variance)
    assert low == pytest.approx(scipy.stats.gamma.ppf(0.025, shape, scale=variance / total))
    mean, spread = total / n + 2 / n, variance / n + (2 / n) ** 2
    assert high == pytest.approx(scipy.stats.gamma.ppf(0.975, mean**2 / spread, scale=spread / mean))


def test_equal_counts_are_their_own_lower_end():
    low, high = stats.rate_interval([1, 1, 1])
    assert low == 1.0
    assert high > 1.0


def test_the_difference_of_two_correlations_by_hand_and_of_one_with_itself():
    replicates, strata = [0.1, 0.2, 0.15, 0.3, 0.2, 0.25], [0, 0, 0, 1, 1, 1]
    a, b, r = 0.8, 0.6, 0.7
    jackknife = stats.jackknife_variance(replicates, strata)
    covariance = r * (1 - a**2 - b**2) - 0.5 * a * b * (1 - a**2 - b**2 - r**2)
    spread = (1 - a**2) ** 2 + (1 - b**2) ** 2 - 2 * covariance
    reach = scipy.stats.t.ppf(0.975, 5) * math.sqrt(jackknife + spread / 9)
    assert stats.difference_interval((a, b), r, replicates, strata) == pytest.approx((a - b - reach, a - b + reach))
    assert stats.difference_interval((0.8, 0.8), 1.0, [0.0] * 6, strata) == pytest.approx((0.0, 0.0), abs=1e-7)


def test_the_variance_of_a_difference_of_correlations_is_that_of_normal_variables():
    """The second term of the interval: for 400 triples of normal variables, against 4000 draws."""
    rng, n = np.random.default_rng(2), 400
    covariance = [[1, 0.8, 0.6], [0.8, 1, 0.7], [0.6, 0.7, 1]]
    drawn = rng.multivariate_normal([0, 0, 0], covariance, size=(4000, n))
    drawn = (drawn - drawn.mean(axis=1, keepdims=True)) / drawn.std(axis=1, keepdims=True)
    found = (drawn[..., 0] * (drawn[..., 1] - drawn[..., 2])).mean(axis=1)
    low, high = stats.difference_interval((0.8, 0.6), 0.7, np.full(n, 0.2), np.zeros(n))
    reach = scipy.stats.t.ppf(0.975, n - 1) * found.std() / math.sqrt(3)
    assert (high - low) / 2 == pytest.approx(reach, rel=0.06)


def test_a_mean_of_symmetric_values_has_students_interval():
    values = [0.1, 0.3, 0.5, 0.7, 0.9]
    for level in (0.8, 0.9, 0.95):
        wanted = scipy.stats.t.interval(level, 4, np.mean(values), scipy.stats.sem(values))
        assert stats.mean_interval(values, level=level) == pytest.approx(wanted)


def test_a_mean_of_skewed_values_reaches_where_halls_statistic_is_the_quantile_of_t():
    values = np.array([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 3.0])
    low, high = stats.mean_interval(values)
    student = scipy.stats.t.interval(0.95, 7, values.mean(), scipy.stats.sem(values))
    assert low == pytest.approx(student[0])
    assert high > student[1]
    away = values - high
    moments = away.sum(), (away**2).sum(), (away**3).sum()
    assert stats.skew_corrected_t(*moments, 8) == pytest.approx(scipy.stats.t.ppf(0.025, 7) / math.sqrt(7))
    assert stats.mean_interval(-values) == pytest.approx((-high, -low))


def test_a_mean_of_features_with_several_values_has_the_interval_of_a_ratio():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 6, size=400)
    sums = counts * 0.5 + rng.normal(size=400)
    low, high = stats.mean_interval(sums, counts)
    drawn = rng.integers(0, 400, size=(4000, 400))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    assert (low + high) / 2 == pytest.approx(sums.sum() / counts.sum(), abs=2e-3)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=4e-3)
    assert stats.mean_interval(3 * sums, 3 * counts) == pytest.approx((low, high))


def test_one_value_has_no_interval_and_equal_values_a_point():
    assert all(map(math.isnan, stats.mean_interval([1.0])))
    assert stats.mean_interval([0.3, 0.3, 0.3]) == pytest.approx((0.3, 0.3))


def test_paired_difference_agrees_with_the_textbook():
    rng = np.random.default_rng(3)
    b = rng.normal(0.5, 0.3, 400)
    a = b + rng.normal(0.05, 0.1, 400)
    found = stats.paired_difference(a.tolist(), b.tolist())
    low, high = scipy.stats.t.interval(0.95, 399, np.mean(a - b), scipy.stats.sem(a - b))
    assert found.mean == pytest.approx(np.mean(a - b))
    assert (found.ci_low, found.ci_high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))
    assert found.effect_size == pytest.approx(scipy.stats.ttest_rel(a, b).statistic / math.sqrt(400))
    assert (found.n_pairs, found.n_undefined) == (400, 0)
    order = rng.permutation(400)
    assert stats.paired_difference(a[order].tolist(), b[order].tolist()) == found


@pytest.mark.parametrize("n", [4, 24, 300])
def test_a_paired_t_test_finds_the_detectable_difference_in_four_of_five_samples(n):
    deviation = 0.3
    found = stats.detectable_difference(deviation, n)
    critical, shift = scipy.stats.t.ppf(0.975, n - 1), found / deviation * math.sqrt(n)
    power = scipy.stats.nct.sf(critical, n - 1, shift) + scipy.stats.nct.cdf(-critical, n - 1, shift)
    assert power == pytest.approx(0.8, abs=0.03 if n < 10 else 0.005)  # the formula is the usual approximation
    values = np.random.default_rng(n).normal(size=n)
    paired = stats.paired_difference(values.tolist(), [0.0] * n)
    assert paired.detectable == pytest.approx(stats.detectable_difference(values.std(ddof=1), n))
    assert math.isnan(stats.detectable_difference(deviation, 1))


def test_rank_correlation_agrees_with_scipy_and_its_p_value_with_a_permutation_test():
    rng = np.random.default_rng(5)
    layers = np.repeat([0, 1, 4], 4)
    scores = 0.1 * layers + rng.normal(size=12).round(1)
    value = stats.spearman(layers, scores)
    assert value == pytest.approx(scipy.stats.spearmanr(layers, scores).statistic)
    p = stats.trend_p_value(layers, scores, np.random.default_rng(0))
    wanted = scipy.stats.permutation_test(
        (scores,), lambda x: scipy.stats.spearmanr(layers, x).statistic, permutation_type="pairings", n_resamples=2000
    )
    assert p == pytest.approx(wanted.pvalue, abs=0.03)
    order = rng.permutation(12)
    assert stats.trend_p_value(layers[order], scores[order], np.random.default_rng(0)) == p
    low, high = stats.rank_correlation_interval(value, 12)
    assert low < value < high
    assert stats.rank_correlation_interval(-value, 12) == pytest.approx((-high, -low))
    assert math.isnan(stats.trend_p_value([1, 1, 1], [1.0, 2.0, 3.0], rng))


def test_trend_p_values_are_uniform_where_there_is_no_trend():
    rng = np.random.default_rng(6)
    layers = np.repeat(range(6), 4)
    found = [stats.trend_p_value(layers, rng.exponential(size=24), rng, 199) for _ in range(400)]
    for level in (0.05, 0.2, 0.5):
        share = np.mean(np.asarray(found) <= level)
        assert share == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 400))


def test_paired_difference_counts_what_is_undefined():
    found = stats.paired_difference([1.0, NAN, 3.0, 4.0], [0.5, 1.0, NAN, 3.0])
    assert (found.mean, found.n_pairs, found.n_undefined) == (0.75, 2, 2)
    assert str(found) == "+0.750 [-2.427, +3.927] (n = 2, 2 undefined)"  # t(1) = 12.706, times 0.25
    none = stats.paired_difference([NAN], [1.0])
    assert math.isnan(none.mean)
    assert (none.n_pairs, none.n_undefined) == (0, 1)
    one = stats.paired_difference([1.0], [0.5])
    assert one.mean == 0.5
    assert math.isnan(one.ci_low)
    assert math.isnan(stats.paired_difference([1.0, 2.0], [0.0, 1.0]).effect_size)
    with pytest.raises(InputError, match="2 scores cannot be paired with 1"):
        stats.paired_difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize("n", benchmark.SIZES)
def test_intervals_cover_synthetic_populations_with_heavy_tails(n: int):
    """At least 93% of 200 intervals, less two standard errors of the count."""
    rng = np.random.default_rng(n)
    populations = [benchmark.synthetic(burst, rng, 600) for burst in benchmark.HEAVY_TAILS]
    found = benchmark.coverage(populations, n, 25, rng)
    assert len(found) == 12
    for name, by_population in found.items():
        assert np.nanmean(by_population) >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / 200), name


def test_the_coverage_of_intervals_that_ignore_sentences_would_be_noticed():
    """A quarter of the reach, as if the sixteen tokens of a sentence were as good as sixteen sentences."""
    rng = np.random.default_rng(0)
    sample = benchmark.synthetic(benchmark.HEAVY_TAILS[2], rng, 600).ours
    truth, held = benchmark.truth_of(sample)["correlation"], []
    for _ in range(60):
        drawn: SentenceSample = sample.take(benchmark.draw(sample.complementary, 20, rng))
        z, ends = math.atanh(drawn.values()["correlation"]), np.arctanh(drawn.intervals()["correlation"])
        held.append(benchmark.holds(tuple(np.tanh(z + (ends - z) / 4)), truth))
    assert np.mean(held) < 0.8


@pytest.mark.parametrize("kind", ["exponential", "chi-square(1)"])
def test_means_of_skewed_values_are_covered_and_tests_keep_their_level(kind: str):
    """With twice the standard error of so many draws; a family of ten skewed comparisons needs 50 features."""
    rng = np.random.default_rng(1)
    for n in (12, 24, 50):
        assert benchmark.mean_coverage(kind, n, 1000, rng) >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / 1000), n
    for n in (24, 50):
        assert benchmark.rejections(kind, n, 500, rng, 499) <= 0.06 + 2 * math.sqrt(0.06 * 0.94 / 500), n
    assert benchmark.family_rejections(kind, 50, 200, rng, 999) <= 0.06 + 2 * math.sqrt(0.06 * 0.94 / 200)


def test_the_plain_sign_flip_would_be_noticed():
    """Student's t on exponential values rejects too often, which the corrected statistic does not."""
    values = benchmark.SKEWED["lognormal(1)"](np.random.default_rng(5), (1000, 24))
    plain = np.mean(scipy.stats.ttest_1samp(values, 0, axis=1).pvalue <= 0.05)
    assert plain > 0.09
    rng = np.random.default_rng(6)
    assert np.mean([stats.sign_flip_p_value(row, rng, 299) <= 0.05 for row in values]) < plain - 0.03
