from __future__ import annotations

import numpy as np

from featureinterp.dataset.retrieval.exact import ExactRanker


def test_only_as_much_is_settled_as_is_read(monkeypatch):
    monkeypatch.setattr("featureinterp.dataset.retrieval.exact._FIRST_LOOK", 16)
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(5000, 24)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    settled = []
    similarities = ExactRanker.rankings.__globals__["similarities"]

    def counting(embeddings, sequences, mean):
        settled.append(len(sequences))
        return similarities(embeddings, sequences, mean)

    monkeypatch.setattr("featureinterp.dataset.retrieval.exact.similarities", counting)
    (ranking,) = ExactRanker(embeddings).rankings([np.arange(30)])
    wide = embeddings.astype(np.float64)
    expected = np.argsort(-(wide @ wide[:30].mean(axis=0)), kind="stable").tolist()
    read = iter(ranking)
    assert [next(read) for _ in range(10)] == expected[:10]
    assert settled == [16]
    assert [next(read) for _ in range(90)] == expected[10:100]
    assert settled == [16, 128]
    assert list(ranking) == expected


def test_scores_that_round_differently_do_not_change_the_ranking():
    """The product in float32 is only used to find candidates: an error within its bound changes nothing."""
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(3000, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    (ranking,) = ExactRanker(embeddings).rankings([np.arange(5)])
    bound = 10 * 2.0**-24 * np.linalg.norm(ranking.mean)
    noisy = type(ranking)(embeddings, ranking.mean, ranking.scores + rng.uniform(-bound, bound, 3000).astype("f4"))
    assert list(noisy) == list(ranking)
