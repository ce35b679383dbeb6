from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from featureinterp.dataset.retrieval.embeddings import (
    EmbedderSource,
    centre_embeddings,
    content_of,
    embed_corpus,
    load_embeddings,
)
from featureinterp.errors import DataFolderError


class Corpus:
    """Texts whose embedding says their number, and what was embedded of them."""

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
        return np.array([self.vector(int(text.split()[-1])) for text in texts], np.float32)

    @staticmethod
    def vector(number: int) -> list[float]:
        return [number / 100, (1 - (number / 100) ** 2) ** 0.5, 0.0]

    def make(self, path: Path, embedder: str = "mine", progress=lambda done, total: None) -> np.ndarray:
        source = EmbedderSource(embedder, self.open)
        return embed_corpus(path, len(self.all), self.texts, source, progress, path.parent / "cache")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("featureinterp.dataset.retrieval.embeddings.SHARD_TEXTS", 4)


def test_a_corpus_is_embedded_once(tmp_path: Path):
    path, corpus, seen = tmp_path / "e.safetensors", Corpus(10), []
    made = corpus.make(path, progress=lambda *told: seen.append(told))
    np.testing.assert_array_equal(made[:, 0], np.arange(10, dtype=np.float32) / 100)
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


@pytest.mark.parametrize("can_link", [True, False])
def test_another_folder_finds_what_was_embedded_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool):
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not can_link:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "cache").symlink_to(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cache").symlink_to(tmp_path)
    first, second, other = tmp_path / "a" / "e", tmp_path / "b" / "e", Corpus(10)
    made = np.array(Corpus(10).make(first))
    np.testing.assert_array_equal(other.make(second), made)
    assert other.opened == 0 and first.samefile(second) == can_link
    (cached,) = tmp_path.glob("*.safetensors")
    cached.write_bytes(b"damaged")
    second.unlink()
    np.testing.assert_array_equal(other.make(second), made)
    assert other.embedded == other.all


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path: Path):
    (tmp_path / "cache").write_text("no folder")
    assert Corpus(10).make(tmp_path / "e").shape == (10, 3)


def test_an_embedder_in_a_folder_is_known_by_its_files(tmp_path: Path):
    for name, weights in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name / "1_Pooling").mkdir(parents=True)
        (tmp_path / name / "1_Pooling" / "config.json").write_bytes(weights)
        (tmp_path / name / "model.safetensors").write_bytes(b"same")
        (tmp_path / name / ".cache").write_bytes(name.encode())
    a, b, c = (EmbedderSource.of(str(tmp_path / name)).identity for name in "abc")
    assert a == b != c and a.startswith("sha256 ")
    assert EmbedderSource.of("all-mpnet-base-v2").identity == "all-mpnet-base-v2"


def test_a_missing_or_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "embeddings.safetensors"
    for content in (None, b"\x00" * 20):
        if content:
            path.write_bytes(content)
        with pytest.raises(DataFolderError, match=r"embeddings\.safetensors cannot be read"):
            load_embeddings(path)


def test_centred_embeddings_are_unit_differences_from_the_mean(tmp_path: Path):
    path, centred = tmp_path / "e.safetensors", tmp_path / "centred.safetensors"
    raw = Corpus(10).make(path)
    made = centre_embeddings(centred, raw, content_of(path))
    wide = raw.astype(np.float64) - raw.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(made, wide / np.linalg.norm(wide, axis=1, keepdims=True), atol=1e-6)
    stamp = centred.stat().st_mtime_ns
    centre_embeddings(centred, raw, content_of(path))
    assert centred.stat().st_mtime_ns == stamp
    other = Corpus(10, "other").make(path)
    centre_embeddings(centred, other, content_of(path))
    assert centred.stat().st_mtime_ns > stamp


def test_a_damaged_file_of_centred_embeddings_is_made_again(tmp_path: Path):
    path, centred = tmp_path / "e.safetensors", tmp_path / "centred.safetensors"
    raw = Corpus(10).make(path)
    centre_embeddings(centred, raw, content_of(path))
    whole = centred.read_bytes()
    centred.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    centre_embeddings(centred, raw, content_of(path))
    assert centred.read_bytes() == whole


def test_equal_embeddings_have_no_direction(tmp_path: Path):
    rows = np.tile(np.array([[0.6, 0.8]], np.float32), (5, 1))
    assert not np.asarray(centre_embeddings(tmp_path / "centred.safetensors", rows, "equal")).any()
