"""Every formula against scipy or scikit-learn on data with ties."""

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
    "iou": (stats.iou, lambda t, e: metrics.jaccard_score(t > 0, e > 1)),
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
    ours = float(stats.auroc(stats.ranked_tokens(truth > 0, expected, owner, 12)))
    assert ours == pytest.approx(metrics.roc_auc_score(truth > 0, expected), abs=1e-12)
    ranks, n_active = scipy.stats.rankdata(expected), int((truth > 0).sum())
    u = ranks[truth > 0].sum() - n_active * (n_active + 1) / 2
    assert ours == pytest.approx(u / (n_active * (len(truth) - n_active)), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_agrees_with_scikit_learn(seed: int):
    truth, expected, owner = sparse_levels(seed)
    ours = float(stats.average_precision(stats.ranked_tokens(truth > 0, expected, owner, 12)))
    assert ours == pytest.approx(metrics.average_precision_score(truth > 0, expected), abs=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.01, 1e-3, 1e-4])
def test_closed_forms_of_a_perfect_explanation_with_half_and_with_twice_its_claims(rate: float):
    """A feature that is 1 or 0, and claims of 1: with half of them missing, and with as many false ones added."""
    n = round(4 / rate)
    truth = np.zeros(n)
    truth[:4] = 1.0
    half, twice = np.zeros(n), np.zeros(n)
    half[:2], twice[:8] = 1.0, 1.0
    wanted = {
        "half": (math.sqrt((1 - rate) / (2 - rate)), 1.0, 1 / 2, 2 / 3, 1 / 2),
        "twice": (math.sqrt((1 - 2 * rate) / (2 * (1 - rate))), 1 / 2, 1.0, 2 / 3, 1 / 2),
    }
    formulas = (stats.correlation, stats.precision, stats.recall, stats.f1, stats.iou)
    for expected, name in ((half, "half"), (twice, "twice")):
        sums = stats.token_sums(truth, expected, claimed=expected > 0)
        assert [formula(sums).item() for formula in formulas] == pytest.approx(wanted[name], abs=1e-3), name
    # Of the active tokens one half is on top of all, the other among all silent ones, where precision is the rate;
    # added claims stand beside the true ones.
    areas = [float(stats.average_precision(stats.ranked_tokens(truth > 0, e))) for e in (half, twice)]
    assert areas == pytest.approx([(1 + rate) / 2, 1 / 2], abs=1e-3)


def test_hand_computed_numbers():
    sums = sums_of([0, 0, 2, 4], [0, 2, 1, 5])
    assert stats.pearson([0, 0, 2, 4], [0, 2, 1, 5]) == pytest.approx(10 / math.sqrt(11 * 14))
    assert stats.r_squared(sums).item() == pytest.approx(1 - 6 / 11)
    assert stats.absolute_deviation_explained(sums).item() == pytest.approx(1 - 4 / 6)
    assert (stats.precision(sums).item(), stats.recall(sums).item(), stats.f1(sums).item()) == (0.5, 0.5, 0.5)
    assert stats.iou(sums).item() == pytest.approx(1 / 3)
    sums = stats.token_sums([0, 0, 2, 4], [0, 2, 1, 5], claimed=[True, True, True, False])
    assert (stats.precision(sums).item(), stats.recall(sums).item(), stats.f1(sums).item()) == (1 / 3, 0.5, 2 / 5)
    assert stats.iou(sums).item() == 1 / 4
    unknown = stats.token_sums([0, 0, 2, 4], [0, 2, 1, 5])
    assert all(math.isnan(score(unknown).item()) for score in (stats.precision, stats.recall, stats.f1, stats.iou))
    # of the pairs (2, 0) (2, 0) (4, 0) (4, 0), expected (1, 0) (1, 2) (5, 0) (5, 2): three are won
    assert stats.auroc(stats.ranked_tokens([0, 0, 1, 1], [0, 2, 1, 5])) == 0.75
    assert stats.auroc(stats.ranked_tokens([0, 0, 1, 1], [1, 2, 1, 5])) == 0.625, "a tie is half a win"
    # precision at the threshold of the token expected at 5 is 1, at that of the token expected at 1 it is 2/3
    assert stats.average_precision(stats.ranked_tokens([0, 0, 1, 1], [0, 2, 1, 5])) == pytest.approx(5 / 6)


def test_what_does_not_exist_is_nan():
    with np.errstate(all="raise"):
        for constant in ([0.1] * 7, [0.0] * 7, [3.3] * 7):
            assert math.isnan(stats.pearson(constant, range(7)))
            assert math.isnan(stats.pearson(range(7), constant))
        silent = sums_of([0.0, 0.0], [0.0, 0.5])
        for score in (stats.r_squared, stats.absolute_deviation_explained, stats.precision, stats.recall, stats.f1):
            assert math.isnan(score(silent).item()), score.__name__
        assert math.isnan(stats.f1(silent).item())
        assert math.isnan(stats.iou(silent).item())
        assert stats.f1(sums_of([2.0, 0.0], [0.0, 0.0])).item() == 0.0, "all missed is 0, not undefined"
        assert math.isnan(stats.auroc(stats.ranked_tokens([True, True], [1.0, 2.0])))
        assert math.isnan(stats.auroc(stats.ranked_tokens([False, False], [1.0, 2.0])))
        assert math.isnan(stats.average_precision(stats.ranked_tokens([False, False], [1.0, 2.0])))
        assert stats.average_precision(stats.ranked_tokens([True, True], [1.0, 2.0])) == 1.0
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


def test_scores_of_weighted_sequences_equal_those_of_the_tokens_written_out():
    truth, expected, owner = sparse_levels(seed=1)
    counts = np.random.default_rng(0).integers(0, 4, size=(25, 12))
    sums = sums_of(truth, expected, owner, 12).weighted(counts)
    ranked = stats.ranked_tokens(truth > 0, expected, owner, 12)
    areas, averages = stats.auroc(ranked, counts), stats.average_precision(ranked, counts)
    for i, row in enumerate(counts):
        tokens = np.concatenate([np.flatnonzero(owner == s) for s in range(12) for _ in range(int(row[s]))])
        t, e = truth[tokens], expected[tokens]
        for name, (ours, theirs) in FROM_SUMS.items():
            assert ours(sums)[i] == pytest.approx(theirs(t, e), abs=1e-10), name
        assert areas[i] == pytest.approx(metrics.roc_auc_score(t > 0, e), abs=1e-12)
        assert averages[i] == pytest.approx(metrics.average_precision_score(t > 0, e), abs=1e-12)


def test_without_each_is_the_sum_over_the_others():
    truth, expected, owner = sparse_levels(seed=2)
    without = stats.correlation(stats.token_sums(truth, expected, owner, 12).without_each())
    for s in range(12):
        others = owner != s
        assert without[s] == pytest.approx(scipy.stats.pearsonr(truth[others], expected[others]).statistic, abs=1e-12)


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
