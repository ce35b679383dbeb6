"""Files of delphi with anything in them: read, or refused in one sentence that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save
from safetensors.torch import save_file

from featureinterp.errors import DataFolderError, FeatureInterpError
from featureinterp.interop.delphi.latent_cache import CacheFile, LatentCache, cut_rows
from featureinterp.interop.delphi.results import latent_of, read_classification, read_explanation, read_simulations

CACHE = save(
    {
        "locations": np.array([[0, 1, 0], [1, 2, 3]], dtype=np.uint16),
        "activations": np.array([1.0, 2.0], dtype=np.float16),
        "tokens": np.arange(8, dtype=np.int64).reshape(2, 4),
    }
)
json_text = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["str_tokens", "distance", "activating", "activations"]), inner, max_size=4)
    ),
    max_leaves=8,
).map(lambda value: repr(value).replace("'", '"').replace("None", "null").replace("True", "true").encode())


@given(st.binary(max_size=60) | json_text)
@example(b"[" * 100_000)
@example(b'"nan"')
@example(b'[{"distance": 1e999}]')
def test_any_text_is_an_explanation_or_scores_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "layers.1_latent3.txt"
    path.write_bytes(content)
    for read in (read_explanation, read_classification, read_simulations):
        try:
            read(path)
        except FeatureInterpError as error:
            assert str(path) in str(error)


@given(st.text(st.characters(exclude_characters="/\0"), max_size=12))
@example("..--..--etc_latent1")
@example("a_latent99999999999999999999")
def test_any_name_is_that_of_a_latent_or_refused(name):
    try:
        hookpoint, latent = latent_of(Path("folder") / f"{name}.txt")
    except DataFolderError:
        return
    assert name.startswith(f"{hookpoint}_latent")
    assert 0 <= latent < 10**9


@given(st.integers(0, len(CACHE) - 1), st.integers(0, 255), st.integers(0, len(CACHE)))
def test_a_damaged_cache_is_read_or_refused(tmp_path_factory, place, byte, end):
    folder = tmp_path_factory.mktemp("cache")
    damaged = bytearray(CACHE)
    damaged[place] = byte
    (folder / "config.json").write_text('{"model_name": "embedded"}')
    for content in (bytes(damaged), CACHE[:end]):
        (folder / "0_3.safetensors").write_bytes(content)
        try:
            cache = LatentCache.open(folder)
            where, values = cache.files[0].entries(cache.tokens.shape)
        except FeatureInterpError as error:
            assert str(folder) in str(error)
        else:
            assert len(where) == len(values) <= 2
            assert (values > 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.bool])
def test_a_cache_in_other_numbers_is_refused_or_read(tmp_path, dtype):
    path = tmp_path / "0_3.safetensors"
    save_file({"locations": torch.zeros(1, 3, dtype=torch.int32), "activations": torch.ones(1).to(dtype)}, path)
    try:
        _, values = CacheFile(path, 0, 3).entries((2, 4))
    except DataFolderError as error:
        assert str(path) in str(error)
    else:
        assert values.tolist() == [1.0]


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=5, max_size=5), min_size=1, max_size=6), st.sets(st.integers(0, 6))
)
def test_every_token_of_a_window_is_where_its_row_had_it(rows, special):
    tokens = np.array(rows)
    try:
        cutting = cut_rows(tokens, special)
    except DataFolderError:
        return
    windows = cutting.windows.tokens
    assert len({tuple(row) for row in windows.tolist()}) == len(windows)
    assert not np.isin(windows, list(special)).any()
    everywhere = np.array([(row, place, 0) for row in range(len(tokens)) for place in range(5)])
    _, window, position, value = cutting.place(everywhere, tokens.flatten().astype(np.float32))
    np.testing.assert_array_equal(windows[window, position], value)
    assert len(value) == windows.size
