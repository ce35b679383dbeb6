"""Near-duplicates: windows whose sets of distinct tokens have a Jaccard similarity above 1/2.

The join is exact. Let the tokens of every set stand in one global order, the rarest first. Two sets x, y are alike if
|x ∩ y| / |x ∪ y| > 1/2, that is 3·|x ∩ y| > |x| + |y|, so they share at least ⌊|x|/2⌋ + 1 tokens. The second of the
shared tokens then stands among the first |x| − ⌊|x|/2⌋ + 1 of x, and likewise in y: sets that are alike share a *pair*
of tokens of their prefixes (prefix filtering: Chaudhuri, Ganti and Kaushik, ICDE 2006; with more than one shared token:
Wang, Li and Feng, SIGMOD 2012). Few windows share a pair of rare tokens: few candidates remain, and each is verified.

A group is a connected component of windows of one document and of near-duplicates. Windows of two groups are never
alike, so what divides groups divides documents and near-duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_AT_A_TIME = 2**22
"""Signatures, or candidate pairs, in memory at a time."""
_VERIFIED_AT_A_TIME = 2**16

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The first and the second window of each pair."""


def window_groups(tokens: NDArray[np.integer], documents: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the group of each window, int64 [windows]: the least number of a window in it.

    Args:
        tokens: int [windows, T].
        documents: int [windows], the document of each window.

    >>> window_groups(np.array([[1, 2, 3], [9, 8, 7], [3, 2, 1], [4, 5, 6]]), np.array([0, 0, 1, 2])).tolist()
    [0, 0, 0, 3]
    """
    _, first, of_document = np.unique(documents, return_index=True, return_inverse=True)
    groups = _joined(np.arange(len(documents)), np.arange(len(documents)), first[of_document])
    for left, right in near_duplicates(tokens):
        groups = _joined(groups, left, right)
    return groups


def near_duplicates(tokens: NDArray[np.integer]) -> Iterator[Pairs]:
    """Yield blocks of all pairs of windows that are alike, the lower number first; a pair may come again.

    Args:
        tokens: int [windows, T].
    """
    sets = _TokenSets.of(tokens)
    for signatures, rows in _signatures(sets):
        order = np.lexsort((rows, signatures))
        for left, right in _pairs_of_equals(signatures[order], rows[order]):
            alike = sets.are_alike(left, right)
            yield left[alike], right[alike]


@dataclass(frozen=True)
class _TokenSets:
    """Distinct tokens of each window, as ranks by frequency."""

    ranks: NDArray[np.int32]
    """Ascending, so the rarest first; padded by `n_tokens` [windows, T]."""
    sizes: NDArray[np.int64]
    """Distinct tokens of each window [windows]."""
    n_tokens: int
    """Distinct tokens of all windows."""

    @classmethod
    def of(cls, tokens: NDArray[np.integer]) -> _TokenSets:
        """Build the sets of windows, int [windows, T]."""
        ids, where = np.unique(tokens, return_inverse=True)
        ordered = np.sort(where.reshape(tokens.shape), axis=1)
        repeated = np.zeros(tokens.shape, dtype=bool)
        repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
        rank = np.empty(len(ids), dtype=np.int64)
        rank[np.argsort(np.bincount(ordered[~repeated], minlength=len(ids)), kind="stable")] = np.arange(len(ids))
        ranks = np.sort(np.where(repeated, len(ids), rank[ordered]).astype(np.int32), axis=1)
        return cls(ranks, tokens.shape[1] - repeated.sum(axis=1), len(ids))

    def are_alike(self, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether the Jaccard similarity of each pair is above 1/2, bool [pairs]."""
        alike = np.empty(len(left), dtype=bool)
        for start in range(0, len(left), _VERIFIED_AT_A_TIME):
            x, y = left[start : start + _VERIFIED_AT_A_TIME], right[start : start + _VERIFIED_AT_A_TIME]
            # each token is at most once in either set, so equal neighbours are a common token
            both = np.sort(np.concatenate([self.ranks[x], self.ranks[y]], axis=1), axis=1)
            common = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] < self.n_tokens)).sum(axis=1)
            alike[start : start + len(x)] = 3 * common > self.sizes[x] + self.sizes[y]
        return alike


def _signatures(sets: _TokenSets) -> Iterator[Pairs]:
    """Yield blocks of signatures and their windows: pairs of prefix tokens, each signature in one block only.

    A window of a single distinct token has the pair of this token with itself.
    """
    single = sets.sizes == 1
    prefix = np.where(single, 1, sets.sizes - sets.sizes // 2 + 1)
    blocks = 1 + int((prefix * (prefix - 1) // 2).sum()) // _AT_A_TIME
    for block in range(blocks):
        keys, rows = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for first in range(int(prefix.max(initial=0))):
            of_block = np.flatnonzero((first < prefix) & (sets.ranks[:, first] % blocks == block))
            for second in range(first, int(prefix.max(initial=0))):
                of_pair = of_block[(second < prefix[of_block]) & ((second > first) | single[of_block])]
                keys.append(sets.ranks[of_pair, first] * np.int64(sets.n_tokens) + sets.ranks[of_pair, second])
                rows.append(of_pair)
        yield np.concatenate(keys), np.concatenate(rows)


def _pairs_of_equals(keys: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[Pairs]:
    """Yield blocks of all pairs of rows with equal keys; keys are sorted, and rows ascend within a key."""
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    sizes = np.diff(starts, append=len(keys))
    following = np.repeat(starts + sizes, sizes) - np.arange(len(keys)) - 1  # rows after each one with its key
    places = np.flatnonzero(following)
    block = np.cumsum(following[places]) // _AT_A_TIME
    for number in np.unique(block):
        left = places[block == number]
        times = following[left]
        right = np.repeat(left + 1 - np.cumsum(times) + times, times) + np.arange(times.sum())
        yield np.repeat(rows[left], times), rows[right]


def _joined(groups: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the groups after joining those of each pair of windows; a group is its least window."""
    groups = groups.copy()
    while True:
        one, other = groups[left], groups[right]
        apart = one != other
        if not apart.any():
            return groups
        np.minimum.at(groups, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (lower := groups[groups] != groups).any():
            groups[lower] = groups[groups[lower]]
