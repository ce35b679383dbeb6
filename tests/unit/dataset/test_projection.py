from __future__ import annotations

import numpy as np
import pytest
import torch

from featureinterp.dataset.retrieval.projection import TEMPERATURE, Projection, info_nce, train_projection


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_loss_is_that_of_its_formula():
    rows = np.random.default_rng(0).normal(size=(7, 5))
    cosine = unit(rows).astype(np.float64) @ unit(rows).T.astype(np.float64) / TEMPERATURE
    losses = []
    for i in range(3):
        for j in range(3):
            if i != j:
                others = np.exp(cosine[i, 3:]).sum()
                losses.append(-np.log(np.exp(cosine[i, j]) / (np.exp(cosine[i, j]) + others)))
    assert float(info_nce(torch.tensor(rows), 3)) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.fixture(scope="module")
def world():
    """Sentences whose kind is one weak direction among strong ones: positives have it, the others have not."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(600, 32))
    rows[:, 1:4] *= 3
    rows[:, 0] = np.where(np.arange(600) % 4 == 0, 1.5, -0.5)
    return unit(rows)


def test_training_pulls_unseen_sentences_of_the_kind_together(world: np.ndarray):
    positives, negatives = np.arange(0, 120, 4), np.flatnonzero(np.arange(200) % 4)
    trained = train_projection(world[positives], world[negatives], np.random.default_rng(0))
    again = train_projection(world[positives], world[negatives], np.random.default_rng(0))
    np.testing.assert_array_equal(trained.up, again.up)
    kind = np.arange(600) % 4 == 0

    def share_found(projection: Projection) -> float:
        ranked = projection.rank(world, positives)
        unseen = ranked[ranked >= 200]
        return float(kind[unseen[:100]].mean())

    identity = train_projection(world[:1], world[negatives], np.random.default_rng(0))
    assert not identity.up.any()
    assert share_found(trained) > share_found(identity) + 0.1


def test_ranking_is_by_mean_cosine_of_images(world: np.ndarray):
    rng = np.random.default_rng(2)
    projection = Projection(rng.normal(size=(32, 16)).astype("f4"), rng.normal(size=(16, 32)).astype("f4"))
    images = unit(world @ (np.eye(32) + projection.down @ projection.up)).astype(np.float64)
    chosen = np.array([3, 50, 77])
    similarity = np.array([np.mean([row @ images[other] for other in chosen]) for row in images])
    ranked = projection.rank(world, chosen)
    assert sorted(ranked.tolist()) == list(range(600))
    assert (np.diff(similarity[ranked]) <= 1e-5).all()
