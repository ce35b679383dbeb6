"""Files of arrays with anything in them: read as they were written, or refused in one sentence that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from featureinterp.dataset.activations.arrays import ArrayFile, checksum_of, write_arrays
from featureinterp.dataset.activations.store import HolisticActivations, SparseActivations, index_checksum
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.retrieval.embeddings import load_embeddings
from featureinterp.errors import DataFolderError


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    Windows(np.arange(12, dtype=np.int32).reshape(4, 3), np.array([0, 0, 2, 5], np.int32), False).save(folder / "w")
    columns = [np.array([0, 1, 3], np.int32), np.array([2, 0, 1], np.int16), np.array([1, 2, 3], np.float32)]
    latents, indptr = np.array([0, 4], np.int32), np.array([0, 2, 3], np.int64)
    sums = np.array([checksum_of([c[a:b] for c in columns]) for a, b in ((0, 2), (2, 3))], np.int64)
    index = {"latents": latents, "indptr": indptr, "checksum": sums}
    sizes = {"n_sequences": "4", "length": "3", "n_latents": "9", "source": "s"} | index_checksum(latents, indptr)
    write_arrays(folder / "a", index | dict(zip(("sequence", "position", "value"), columns, strict=True)), sizes)
    values = np.ones((3, 3), np.float32)
    sums = np.array([checksum_of([columns[0][a:b], values[a:b]]) for a, b in ((0, 2), (2, 3))], np.int64)
    pairs = {**index, "checksum": sums, "sequence": columns[0], "value": values}
    write_arrays(folder / "h", pairs, {"digest": "d", "whole_corpus": "false"} | index_checksum(latents, indptr))
    write_arrays(folder / "e", {"embeddings": values}, {})
    return folder


READERS = {
    "w": Windows.load,
    "a": lambda path: [SparseActivations.open(path).dense(latent, range(4)).tolist() for latent in (0, 4)],
    "h": lambda path: [HolisticActivations.open(path).latent(latent)[1].tolist() for latent in (0, 4)],
    "e": load_embeddings,
}


@given(st.sampled_from(sorted(READERS)), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_a_damaged_file_is_refused_or_says_what_was_written(files, kind, place, change, cut):
    whole = (files / kind).read_bytes()
    place %= len(whole)
    damaged = bytearray(whole)
    damaged[place] ^= change
    path = files / f"damaged-{kind}"
    path.write_bytes(whole[:place] if cut else bytes(damaged))
    try:
        found = READERS[kind](path)
    except DataFolderError as error:
        assert str(path) in str(error)
        return
    if kind == "w":
        expected = Windows.load(files / kind)
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_array_equal(found.documents, expected.documents)
    elif kind in "ah" and place >= 8 + int.from_bytes(whole[:8], "little"):
        assert found == READERS[kind](files / kind)


@given(st.binary(max_size=80))
@example((99_999).to_bytes(8, "little") + b'{"a":' + b"[" * 99_994)
@example((2).to_bytes(8, "little") + b"{}")
def test_any_bytes_are_arrays_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "tokens.safetensors"
    path.write_bytes(content)
    try:
        file = ArrayFile.open(path)
    except DataFolderError as error:
        assert str(path) in str(error)
    else:
        assert all(file.rows(name, 0, spec.shape[0]).shape == spec.shape for name, spec in file.specs.items())
