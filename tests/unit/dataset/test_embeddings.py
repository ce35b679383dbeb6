from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featureinterp.dataset.embeddings import embed_corpus, load_embeddings
from featureinterp.errors import DataFolderError


class Corpus:
    """Texts whose embedding is their number, and what was embedded of them."""

    def __init__(self, n: int, name: str = "text") -> None:
        self.all = [f"{name} {number}" for number in range(n)]
        self.embedded: list[str] = []
        self.opened = 0

    def texts(self, rows: range) -> list[str]:
        return self.all[rows.start : rows.stop]

    def open(self):
        self.opened += 1
        return self.embed

    def embed(self, texts) -> np.ndarray:
        self.embedded += texts
        return np.array([[float(text.split()[-1]), 1.0, 2.0] for text in texts], np.float32)

    def make(self, path: Path, embedder: str = "mine", progress=lambda done, total: None) -> np.ndarray:
        return embed_corpus(path, len(self.all), self.texts, embedder, self.open, progress)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("featureinterp.dataset.embeddings.SHARD_TEXTS", 4)


def test_a_corpus_is_embedded_once(tmp_path: Path):
    path, corpus, seen = tmp_path / "e.safetensors", Corpus(10), []
    made = corpus.make(path, progress=lambda *told: seen.append(told))
    np.testing.assert_array_equal(made[:, 0], np.arange(10))
    assert made.shape == (10, 3) and seen == [(4, 10), (8, 10), (10, 10)]
    again = Corpus(10)
    np.testing.assert_array_equal(again.make(path), made)
    assert again.opened == 0 and corpus.opened == 1
    np.testing.assert_array_equal(load_embeddings(path), made)


@pytest.mark.parametrize(("corpus", "embedder"), [(Corpus(10, "other"), "mine"), (Corpus(10), "another")])
def test_other_texts_or_another_embedder_are_embedded_anew(tmp_path: Path, corpus: Corpus, embedder: str):
    Corpus(10).make(tmp_path / "e.safetensors")
    corpus.make(tmp_path / "e.safetensors", embedder)
    assert corpus.embedded == corpus.all


def test_a_killed_run_goes_on_and_a_damaged_file_is_made_again(tmp_path: Path):
    class Killed(BaseException):
        pass

    def kill(done: int, _total: int) -> None:
        if done == 8:
            raise Killed

    path, corpus = tmp_path / "e.safetensors", Corpus(10)
    with pytest.raises(Killed):
        corpus.make(path, progress=kill)
    corpus.make(path)
    assert corpus.embedded == corpus.all
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    corpus.make(path)
    assert path.read_bytes() == whole and not list(tmp_path.glob(".shards-*"))


def test_a_missing_or_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "embeddings.safetensors"
    for content in (None, b"\x00" * 20):
        if content:
            path.write_bytes(content)
        with pytest.raises(DataFolderError, match=r"embeddings\.safetensors cannot be read"):
            load_embeddings(path)
