"""Windows against a second, plainer way of cutting them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from featureinterp.dataset.corpus.windows import WindowParams, cut_windows
from featureinterp.errors import CorpusError


class Words:
    """Tokens are space-separated numbers; 0 is special, 99 is BOS."""

    bos_token_id = 99
    special_token_ids = frozenset({0, 99})
    vocabulary_size = 100

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[int(word) for word in text.split()] for text in texts]


documents = st.lists(st.lists(st.integers(0, 4), max_size=30).map(lambda ids: " ".join(map(str, ids))), max_size=20)


@given(documents, st.integers(2, 4), st.booleans(), st.integers(1, 12))
def test_windows_equal_brute_force(documents: list[str], length: int, prepend_bos: bool, most: int):
    expected: list[tuple[int, tuple[int, ...]]] = []
    for number, document in enumerate(documents):
        ids = [int(word) for word in document[: 8 * length].split()]
        while len(ids) >= length:
            window, ids = tuple(ids[:length]), ids[length:]
            if 0 not in window and window not in [kept for _, kept in expected]:
                expected.append((number, window))
    expected = expected[:most]
    params = WindowParams(length=length, max_windows=most, prepend_bos=prepend_bos)
    try:
        windows, counts = cut_windows(documents, Words(), params)
    except CorpusError:
        assert not expected
        return
    assert list(zip(windows.documents.tolist(), map(tuple, windows.text_tokens.tolist()), strict=True)) == expected
    assert windows.tokens.shape[1] == length + prepend_bos
    assert not prepend_bos or set(windows.tokens[:, 0].tolist()) == {99}
    assert counts.documents <= len(documents)
