"""Every formula against scipy or scikit-learn on data with ties; the bootstrap against a plain loop and theory."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.special
import scipy.stats
from sklearn import metrics

from featureinterp import stats
from featureinterp.errors import InputError

FROM_SUMS = {
    "correlation": (stats.correlation, lambda t, e: scipy.stats.pearsonr(t, e).statistic),
    "r_squared": (stats.r_squared, metrics.r2_score),
    "absolute deviation": (
        stats.absolute_deviation_explained,
        lambda t, e: 1 - metrics.mean_absolute_error(t, e) / np.mean(t),
    ),
    "precision": (stats.precision, lambda t, e: metrics.precision_score(t > 0, e > 1)),
    "recall": (stats.recall, lambda t, e: metrics.recall_score(t > 0, e > 1)),
    "f1": (stats.f1, lambda t, e: metrics.f1_score(t > 0, e > 1)),
}


def sums_of(truth, expected, owner=None, n=1):
    """What is expected above level 1 is claimed."""
    return stats.token_sums(truth, expected, owner, n, claimed=np.asarray(expected) > 1)


def sparse_levels(seed: int, n_sequences: int = 12, length: int = 16):
    """Truth that is mostly 0 and expectations in steps of a half, so that ties abound."""
    rng = np.random.default_rng(seed)
    n = n_sequences * length
    truth = np.where(rng.random(n) < 0.2, 5 * rng.random(n), 0.0)
    expected = np.round(2 * np.clip(truth + rng.normal(0, 1.5, n), 0, 5)) / 2
    return truth, expected, np.repeat(np.arange(n_sequences), length)


@pytest.mark.parametrize("name", FROM_SUMS)
@pytest.mark.parametrize("seed", range(5))
def test_formulas_agree_with_other_libraries(name: str, seed: int):
    ours, theirs = FROM_SUMS[name]
    truth, expected, owner = sparse_levels(seed)
    assert ours(sums_of(truth, expected)).item() == pytest.approx(theirs(truth, expected), abs=1e-12)
    pooled = ours(sums_of(truth, expected, owner, 12).total())
    assert float(pooled) == pytest.approx(theirs(truth, expected), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_auroc_agrees_with_scikit_learn_and_with_mid_ranks(seed: int):
    truth, expected, owner = sparse_levels(seed)
    ours = float(stats.auroc(stats.ranked_pairs(truth > 0, expected, owner, 12)))
    assert ours == pytest.approx(metrics.roc_auc_score(truth > 0, expected), abs=1e-12)
    ranks, n_active = scipy.stats.rankdata(expected), int((truth > 0).sum())
    u = ranks[truth > 0].sum() - n_active * (n_active + 1) / 2
    assert ours == pytest.approx(u / (n_active * (len(truth) - n_active)), abs=1e-12)


def test_hand_computed_numbers():
    sums = sums_of([0, 0, 2, 4], [0, 2, 1, 5])
    assert stats.pearson([0, 0, 2, 4], [0, 2, 1, 5]) == pytest.approx(10 / math.sqrt(11 * 14))
    assert stats.r_squared(sums).item() == pytest.approx(1 - 6 / 11)
    assert stats.absolute_deviation_explained(sums).item() == pytest.approx(1 - 4 / 6)
    assert (stats.precision(sums).item(), stats.recall(sums).item(), stats.f1(sums).item()) == (0.5, 0.5, 0.5)
    sums = stats.token_sums([0, 0, 2, 4], [0, 2, 1, 5], claimed=[True, True, True, False])
    assert (stats.precision(sums).item(), stats.recall(sums).item(), stats.f1(sums).item()) == (1 / 3, 0.5, 2 / 5)
    unknown = stats.token_sums([0, 0, 2, 4], [0, 2, 1, 5])
    assert all(math.isnan(score(unknown).item()) for score in (stats.precision, stats.recall, stats.f1))
    # of the pairs (2, 0) (2, 0) (4, 0) (4, 0), expected (1, 0) (1, 2) (5, 0) (5, 2): three are won
    assert stats.auroc(stats.ranked_pairs([0, 0, 1, 1], [0, 2, 1, 5])) == 0.75
    assert stats.auroc(stats.ranked_pairs([0, 0, 1, 1], [1, 2, 1, 5])) == 0.625, "a tie is half a win"


def test_what_does_not_exist_is_nan():
    with np.errstate(all="raise"):
        for constant in ([0.1] * 7, [0.0] * 7, [3.3] * 7):
            assert math.isnan(stats.pearson(constant, range(7)))
            assert math.isnan(stats.pearson(range(7), constant))
        silent = sums_of([0.0, 0.0], [0.0, 0.5])
        for score in (stats.r_squared, stats.absolute_deviation_explained, stats.precision, stats.recall, stats.f1):
            assert math.isnan(score(silent).item()), score.__name__
        assert math.isnan(stats.f1(silent).item())
        assert stats.f1(sums_of([2.0, 0.0], [0.0, 0.0])).item() == 0.0, "all missed is 0, not undefined"
        assert math.isnan(stats.auroc(stats.ranked_pairs([True, True], [1.0, 2.0])))
        assert math.isnan(stats.auroc(stats.ranked_pairs([False, False], [1.0, 2.0])))
        assert math.isnan(stats.pearson([], []))


def test_a_constant_resample_is_undefined_although_the_pool_varies():
    rng = np.random.default_rng(0)
    for _ in range(50):  # rounding leaves more than 0 of the variance in about half of them
        truth, expected = np.repeat([0.0, 1.0], 7) * 5 * rng.random(14), 5 * rng.random(14)
        sums = stats.token_sums(truth, expected, np.repeat([0, 1], 7), 2).weighted([[3, 0], [0, 2]])
        assert math.isnan(stats.correlation(sums)[0])
        assert math.isnan(stats.r_squared(sums)[0])
        alone = scipy.stats.pearsonr(truth[7:], expected[7:]).statistic
        assert stats.correlation(sums)[1] == pytest.approx(alone, abs=1e-10)


def test_correlation_survives_a_large_offset():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = x + rng.normal(size=200)
    assert stats.pearson(1e6 + x, 1e6 + y) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-8)


def test_resampled_scores_equal_those_of_the_tokens_written_out():
    truth, expected, owner = sparse_levels(seed=1)
    counts = stats.resampling_counts([0] * 6 + [1] * 6, 25, np.random.default_rng(0))
    sums = sums_of(truth, expected, owner, 12).weighted(counts)
    areas = stats.auroc(stats.ranked_pairs(truth > 0, expected, owner, 12), counts)
    for i, row in enumerate(counts):
        tokens = np.concatenate([np.flatnonzero(owner == s) for s in range(12) for _ in range(int(row[s]))])
        t, e = truth[tokens], expected[tokens]
        for name, (ours, theirs) in FROM_SUMS.items():
            assert ours(sums)[i] == pytest.approx(theirs(t, e), abs=1e-10), name
        assert areas[i] == pytest.approx(metrics.roc_auc_score(t > 0, e), abs=1e-12)


def test_resamples_keep_the_size_of_every_stratum():
    strata = np.array([3, 1, 3, 3, 1, 2])
    counts = stats.resampling_counts(strata, 4000, np.random.default_rng(0))
    for label in (1, 2, 3):
        assert (counts[:, strata == label].sum(axis=1) == (strata == label).sum()).all()
    assert np.allclose(counts.mean(axis=0), 1.0, atol=0.06), "every sequence is drawn as often as any other"
    assert counts[:, 0].var() == pytest.approx(2 / 3, abs=0.05), "binomial with 3 draws of chance 1/3"


def test_intervals_cover_the_truth_about_95_times_in_100_and_token_resampling_does_not():
    rho, n, length, trials = 0.6, 50, 12, 250
    rng = np.random.default_rng(7)
    owner = np.repeat(np.arange(n), length)
    covered = {"sequences": 0, "tokens": 0}
    for _ in range(trials):
        t, noise = (rng.normal(size=n).repeat(length) * 0.8 + rng.normal(size=n * length) * 0.6 for _ in range(2))
        e = rho * t + math.sqrt(1 - rho**2) * noise
        for unit, index, m in (("sequences", owner, n), ("tokens", np.arange(n * length), n * length)):
            counts = stats.resampling_counts(np.zeros(m), 200, rng)
            low, high = stats.percentile_interval(stats.correlation(stats.token_sums(t, e, index, m).weighted(counts)))
            covered[unit] += low <= rho <= high
    assert 0.90 <= covered["sequences"] / trials <= 0.98
    assert covered["tokens"] / trials < 0.80


def test_interval_is_of_the_defined_resamples_and_of_most_of_them():
    assert stats.percentile_interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert stats.percentile_interval([*np.arange(101.0), *[math.nan] * 50]) == pytest.approx((2.5, 97.5))
    assert all(map(math.isnan, stats.percentile_interval([1.0, math.nan, math.nan])))
    assert all(map(math.isnan, stats.percentile_interval([])))


def test_without_each_is_the_sum_over_the_others():
    truth, expected, owner = sparse_levels(seed=2)
    without = stats.correlation(stats.token_sums(truth, expected, owner, 12).without_each())
    for s in range(12):
        others = owner != s
        assert without[s] == pytest.approx(scipy.stats.pearsonr(truth[others], expected[others]).statistic, abs=1e-12)


def test_paired_difference_agrees_with_the_textbook():
    rng = np.random.default_rng(3)
    b = rng.normal(0.5, 0.3, 400)
    a = b + rng.normal(0.05, 0.1, 400)
    found = stats.paired_difference(a.tolist(), b.tolist(), rng)
    low, high = scipy.stats.t.interval(0.95, 399, np.mean(a - b), scipy.stats.sem(a - b))
    assert found.mean == pytest.approx(np.mean(a - b))
    assert (found.ci_low, found.ci_high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    assert found.effect_size == pytest.approx(scipy.stats.ttest_rel(a, b).statistic / math.sqrt(400))
    assert (found.n_pairs, found.n_undefined) == (400, 0)


def test_paired_difference_counts_what_is_undefined():
    nan = math.nan
    found = stats.paired_difference([1.0, nan, 3.0, 4.0], [0.5, 1.0, nan, 3.0], np.random.default_rng(0))
    assert (found.mean, found.n_pairs, found.n_undefined) == (0.75, 2, 2)
    assert str(found) == "+0.750 [+0.500, +1.000] (n = 2, 2 undefined)"
    none = stats.paired_difference([nan], [1.0], np.random.default_rng(0))
    assert math.isnan(none.mean)
    assert (none.n_pairs, none.n_undefined) == (0, 1)
    one = stats.paired_difference([1.0], [0.5], np.random.default_rng(0))
    assert one.mean == 0.5
    assert math.isnan(one.ci_low)
    assert math.isnan(stats.paired_difference([1.0, 2.0], [0.0, 1.0], np.random.default_rng(0)).effect_size)
    with pytest.raises(InputError, match="2 scores cannot be paired with 1"):
        stats.paired_difference([1.0, 2.0], [1.0], np.random.default_rng(0))


def test_expectation_over_levels_is_a_softmax_over_six():
    logits = np.random.default_rng(0).normal(0, 4, (3, 7, 6))
    wanted = scipy.special.softmax(logits, axis=-1) @ np.arange(6)
    assert stats.expectation_over_levels(logits) == pytest.approx(wanted)
    assert stats.expectation_over_levels(logits - 1000) == pytest.approx(wanted), "log probabilities far below 0"
    assert stats.expectation_over_levels([-math.inf] * 4 + [0.0, 0.0]) == 4.5
    with pytest.raises(InputError, match=r"\(2, 5\)"):
        stats.expectation_over_levels(np.zeros((2, 5)))


def test_generators_depend_on_seed_and_every_name_and_nothing_else():
    def draw(*key) -> int:
        return int(stats.generator(*key).integers(2**62))

    keys = [(0,), (1,), (0, "a"), (0, "a", 1), (0, 1, "a"), (0, "a", "1"), (0, "a1"), (0, "b", 1), (0, "a", 2), (-1,)]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert draw(0, "a", np.int64(1)) == draw(0, "a", 1)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002 - that it is left alone is what is tested
    assert draw(0, "a", 1) == draw(0, "a", 1)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_generators_are_the_same_in_another_process():
    program = "from featureinterp.stats import derived_seed; print(derived_seed(3, 'blocks.1', 7, 'bootstrap'))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(printed) == stats.derived_seed(3, "blocks.1", 7, "bootstrap") == 15757486991576486898
