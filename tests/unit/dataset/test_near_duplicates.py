"""Near-duplicates and groups against all pairs one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.dataset.retrieval import near_duplicates as module
from featureinterp.dataset.retrieval.near_duplicates import near_duplicates, window_groups


def alike(tokens: np.ndarray) -> set[tuple[int, int]]:
    """All pairs with a Jaccard similarity above 1/2, by definition."""
    sets = [set(row) for row in tokens.tolist()]
    pairs = ((i, j) for j in range(len(sets)) for i in range(j))
    return {(i, j) for i, j in pairs if 2 * len(sets[i] & sets[j]) > len(sets[i] | sets[j])}


def found(tokens: np.ndarray) -> set[tuple[int, int]]:
    return {pair for left, right in near_duplicates(tokens) for pair in zip(left.tolist(), right.tolist(), strict=True)}


@st.composite
def corpora(draw: st.DrawFn) -> np.ndarray:
    """Windows with copies, some of whose tokens are exchanged."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, length, vocabulary = draw(st.integers(0, 40)), draw(st.integers(1, 12)), draw(st.integers(1, 60))
    tokens = rng.integers(0, vocabulary, (n, length))
    for row in range(0, n, 2):
        tokens[row] = tokens[rng.integers(n)]
        tokens[row, : rng.integers(length + 1)] = rng.integers(0, vocabulary)
    return tokens


@given(corpora(), st.sampled_from([1, 7, 2**22]))
def test_the_join_finds_every_pair_and_no_other(tokens: np.ndarray, at_a_time: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_A_TIME", at_a_time)
        patch.setattr(module, "_VERIFIED_AT_A_TIME", at_a_time)
        assert found(tokens) == alike(tokens)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 5], True),  # 3 of 5
        ([1, 2, 3, 3], [1, 2, 4, 4], False),  # 2 of 4: exactly one half
        ([1, 1, 1, 1], [1, 1, 1, 1], True),
        ([1, 1, 1, 1], [1, 2, 2, 2], False),
        ([4, 3, 2, 1], [1, 1, 2, 3], True),  # 3 of 4, in any order
    ],
)
def test_more_than_half_of_the_distinct_tokens_must_be_common(left: list[int], right: list[int], expected: bool):
    assert (found(np.array([left, right])) == {(0, 1)}) is expected


@given(corpora(), st.data())
def test_groups_are_the_components_of_documents_and_near_duplicates(tokens: np.ndarray, data: st.DataObject):
    n = len(tokens)
    documents = np.array(data.draw(st.lists(st.integers(0, 30), min_size=n, max_size=n)), dtype=np.int64)
    group = list(range(n))
    links = [*alike(tokens), *((i, j) for j in range(n) for i in range(j) if documents[i] == documents[j])]
    for _ in range(n):  # a label moves one link a round at least
        for i, j in links:
            group[i] = group[j] = min(group[i], group[j])
    assert window_groups(tokens, documents).tolist() == group


def test_a_chain_is_one_group():
    tokens = np.array([[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6], [7, 8, 9, 10]])
    assert alike(tokens) == {(0, 1), (1, 2)}
    assert window_groups(tokens, np.arange(4)).tolist() == [0, 0, 0, 3]
