"""Scores over a whole corpus against plain formulas, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.scoring.corpus import correlate_corpus, difference_on_corpus, pool_corpus, score_corpus

N, LENGTH = 900, 8


@pytest.fixture(scope="module")
def corpus():
    """Truth that fires on 3% of tokens, and an expectation that misses some and claims others."""
    rng = np.random.default_rng(0)
    truth = np.where(rng.random((N, LENGTH)) < 0.03, rng.uniform(0.2, 5.0, (N, LENGTH)), 0.0)
    expected = np.where(rng.random((N, LENGTH)) < 0.7, truth, 0.0)
    expected = np.where(rng.random((N, LENGTH)) < 0.02, 3.0, expected)
    claimed = (expected > 1) | (rng.random((N, LENGTH)) < 0.01)
    return truth, expected, claimed


def test_scores_are_those_of_all_tokens(corpus):
    truth, expected, claimed = corpus
    scores = score_corpus(pool_corpus(truth, expected, claimed), N)
    active = truth > 0
    hits, claims = (active & claimed).sum(), claimed.sum()
    wanted = {
        "correlation": np.corrcoef(truth.ravel(), expected.ravel())[0, 1],
        "precision": hits / claims,
        "recall": hits / active.sum(),
        "f1": 2 * hits / (claims + active.sum()),
        "iou": hits / (claimed | active).sum(),
        "false_positives_per_sentence": (claims - hits) / N,
        "false_positives_expected_per_sentence": ((expected > 1) & ~active).sum() / N,
    }
    for name, value in wanted.items():
        score = getattr(scores, name)
        assert float(score) == pytest.approx(value, rel=1e-9), name
        assert score.ci_low < value < score.ci_high, name
    assert (scores.n_sentences, scores.n_complementary) == (N, N)
    assert float(correlate_corpus(pool_corpus(truth, expected))) == pytest.approx(wanted["correlation"])


def test_a_difference_is_that_of_the_correlations_and_is_sure_where_one_is_better(corpus):
    truth, expected, _ = corpus
    worse = np.where(np.random.default_rng(1).random(truth.shape) < 0.5, expected, 0.0)
    ours, theirs = (pool_corpus(truth, each) for each in (expected, worse))
    found = difference_on_corpus(ours, theirs)
    assert float(found) == pytest.approx(float(correlate_corpus(ours)) - float(correlate_corpus(theirs)))
    assert found.ci_low is not None and found.ci_low > 0
    none = difference_on_corpus(ours, ours)
    assert float(none) == 0 and none.ci_low is not None and none.ci_low <= 0


def test_what_expects_the_same_everywhere_has_no_correlation(corpus):
    truth = corpus[0]
    flat = pool_corpus(truth, np.zeros_like(truth))
    assert score_corpus(flat, N).correlation.reason == "the expected activation is the same on every token"
    assert correlate_corpus(flat).value is None
    assert difference_on_corpus(pool_corpus(truth, truth), flat).value is None


@given(st.integers(1, 9), st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_small_corpus_has_scores_or_reasons(n, length, random):
    truth = np.array([[random.choice([0.0, 0.0, 2.5, 5.0]) for _ in range(length)] for _ in range(n)])
    expected = np.array([[random.choice([0.0, 1.0, 5.0]) for _ in range(length)] for _ in range(n)])
    scores = score_corpus(pool_corpus(truth, expected), n)
    if truth.std() > 0 and expected.std() > 0:
        assert float(scores.correlation) == pytest.approx(np.corrcoef(truth.ravel(), expected.ravel())[0, 1])
    else:
        assert scores.correlation.reason


def test_intervals_cover_the_truth_of_the_language_that_the_corpus_is_from():
    """Many corpora of documents of several windows: their 95% intervals cover the correlation of the population."""
    rng, population = np.random.default_rng(7), 400_000
    fires = np.repeat(rng.random(population // 4) < 0.2, 4)[:, None] & (rng.random((population, 4)) < 0.3)
    truth = np.where(fires, rng.exponential(1.5, (population, 4)).clip(0, 5), 0.0)
    expected = np.where(rng.random((population, 4)) < 0.8, np.minimum(5, 2 * truth), 1.0)
    whole = np.corrcoef(truth.ravel(), expected.ravel())[0, 1]
    draws, size = 200, 2000
    covered = 0
    for number in range(draws):
        part = slice(number * size, (number + 1) * size)
        found = score_corpus(pool_corpus(truth[part], expected[part]), size).correlation
        covered += found.ci_low <= whole <= found.ci_high
    # of 200 intervals that cover 95%, fewer than 180 cover in 3 cases of 1000
    assert covered >= 180
