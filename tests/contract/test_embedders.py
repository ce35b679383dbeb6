"""Every sentence embedder keeps the promises that retrieval and the lexical simulator rely on."""

from __future__ import annotations

import numpy as np
import pytest

from featureinterp.protocols import TextEmbedder
from tests.contract.parts import EMBEDDERS
from tests.report.features import HOSTILE_TOKENS

TEXTS = ["a cat sat on the mat", "raise ValueError", "the kitten is on the rug", *HOSTILE_TOKENS, "words " * 2000]


@pytest.fixture(params=EMBEDDERS, scope="module")
def embedder(request: pytest.FixtureRequest) -> TextEmbedder:
    return EMBEDDERS[request.param]()


def test_any_text_is_a_row_of_length_one(embedder: TextEmbedder) -> None:
    rows = embedder.embed(TEXTS)
    assert rows.dtype == np.float32
    assert rows.ndim == 2
    assert len(rows) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_no_texts_are_no_rows_of_the_same_width(embedder: TextEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.embed(TEXTS[:1]).shape[1])


def test_a_row_depends_on_its_text_alone(embedder: TextEmbedder) -> None:
    texts = [*TEXTS[:4], "", "short " * 9]
    rows = embedder.embed(texts)
    np.testing.assert_allclose(embedder.embed(texts[::-1])[::-1], rows, atol=1e-5)
    for text, row in zip(texts, rows, strict=True):
        np.testing.assert_allclose(embedder.embed([text])[0], row, atol=1e-5)
    np.testing.assert_array_equal(embedder.embed(texts), rows)


def test_texts_that_mean_alike_are_nearer(embedder: TextEmbedder) -> None:
    cat, error, kitten = embedder.embed(TEXTS[:3])
    assert cat @ kitten > cat @ error


def test_texts_are_left_as_they_were(embedder: TextEmbedder) -> None:
    texts = list(TEXTS[:3])
    embedder.embed(texts)
    assert texts == TEXTS[:3]
