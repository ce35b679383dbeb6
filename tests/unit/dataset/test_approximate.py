from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from featureinterp.dataset.retrieval.approximate import ApproximateRanker
from featureinterp.dataset.retrieval.exact import ExactRanker
from featureinterp.errors import DataFolderError


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    """Sentences around fifty topics."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 24))[rng.integers(0, 50, 4000)] + 0.5 * rng.normal(size=(4000, 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def tops(embeddings: np.ndarray) -> list[np.ndarray]:
    """What ten latents fire on: the neighbours of a sentence."""
    return [np.argsort(-(embeddings @ embeddings[row]))[:20] for row in range(10)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featureinterp.dataset.retrieval.approximate.CANDIDATES", 300)


def test_recall_is_the_share_of_the_exact_ranking_that_is_found(tmp_path: Path, embeddings, tops, few):
    ranker = ApproximateRanker.open(tmp_path / "index", embeddings)
    told = ranker.recall(tops, first=100)
    exact = [set(islice(ranking, 100)) for ranking in ExactRanker(embeddings).rankings(tops)]
    found = [set(islice(ranking, 100)) for ranking in ranker.rankings(tops)]
    shares = [len(one & other) / 100 for one, other in zip(exact, found, strict=True)]
    assert told.mean == pytest.approx(np.mean(shares)) and told.least == min(shares)
    assert (told.latents, told.first) == (10, 100) and told.mean > 0.8
    ranker.index.nprobe = 1
    assert ranker.recall(tops, first=100).mean < told.mean


def test_a_ranking_goes_on_behind_the_index_and_misses_nothing(tmp_path: Path, embeddings, tops, few):
    ranker = ApproximateRanker.open(tmp_path / "index", embeddings)
    together = [list(ranking) for ranking in ranker.rankings(tops)]
    assert all(sorted(ranking) == list(range(4000)) for ranking in together)
    wide = embeddings.astype(np.float64)
    for top, ranking in zip(tops, together, strict=True):
        similarity = wide @ wide[top].mean(axis=0)
        assert (np.diff(similarity[ranking[:300]]) <= 1e-12).all()
        (alone,) = ranker.rankings([top])
        assert list(islice(alone, 300)) == ranking[:300]


def test_an_index_is_built_once_and_a_damaged_one_is_told(tmp_path: Path, embeddings, tops):
    path = tmp_path / "deep" / "index"
    ApproximateRanker.open(path, embeddings)
    written = path.stat().st_mtime_ns
    again = ApproximateRanker.open(path, embeddings)
    assert path.stat().st_mtime_ns == written and again.index.ntotal == 4000
    with pytest.raises(DataFolderError, match="indexes 4000 of 10 rows"):
        ApproximateRanker.open(path, embeddings[:10])
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataFolderError, match="cannot be read as an index"):
        ApproximateRanker.open(path, embeddings)
