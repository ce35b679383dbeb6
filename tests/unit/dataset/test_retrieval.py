from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featureinterp.dataset.retrieval import load_embeddings, save_embeddings
from featureinterp.errors import DataFolderError


def test_embeddings_survive_the_disk(tmp_path: Path):
    path = tmp_path / "similarity_retriever" / "embeddings.safetensors"
    embeddings = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    save_embeddings(path, embeddings.T[::-1].T)
    np.testing.assert_array_equal(load_embeddings(path), embeddings.T[::-1].T)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "embeddings.safetensors"
    with pytest.raises(DataFolderError, match=r"embeddings\.safetensors cannot be read"):
        load_embeddings(path)
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(DataFolderError, match=r"embeddings\.safetensors cannot be read"):
        load_embeddings(path)
