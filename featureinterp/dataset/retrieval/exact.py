"""Exact ranking of the corpus by similarity to a latent's top sequences.

The corpus is embedded once. The similarity of a sequence to a latent is the mean cosine between its embedding and
those of the latent's `special_n` most active sequences, which are rows of the same matrix. The mean of cosines to m
unit vectors is one dot product with their mean, so the *whole* corpus is ranked, not a shortlist, and many latents are
ranked by one matrix product.

Trap: an entry of a matrix product in float32 may round differently with the number of rows. The product therefore only
selects candidates; their order is decided by similarities in float64, summed row by row, which do not depend on the
other rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LARGEST_BLOCK = 64
"""Latents per matrix product at most: more are not faster."""

_FIRST_LOOK = 512
_WIDENING = 8
"""A ranking is settled for so many sequences at first, and for so many times more whenever that was not enough."""

_ROWS_AT_A_TIME = 8192


class Ranker(Protocol):
    """Interface: rank the corpus by similarity to sets of its sequences."""

    def rankings(self, tops: Iterable[NDArray[np.integer]]) -> Iterator[Iterable[int]]:
        """Yield, for each set of sequences, the corpus ranked by similarity."""
        ...


@dataclass(frozen=True)
class ExactRanker:
    """Exact ranker: many latents per matrix product."""

    embeddings: NDArray[np.float32]
    """Unit rows, float32 [corpus, d]; may be memory-mapped."""
    max_memory: int = 2**30
    """Bytes that the similarities of a block of latents may take."""

    def rankings(self, tops: Iterable[NDArray[np.integer]]) -> Iterator[Ranking]:
        """Yield, for each set of sequences, the corpus ranked by similarity; ties by number."""
        size = max(1, min(LARGEST_BLOCK, self.max_memory // (4 * max(1, len(self.embeddings)))))
        remaining = iter(tops)
        while block := list(islice(remaining, size)):
            means = np.stack([mean_embedding(self.embeddings, sequences) for sequences in block])
            scores = means.astype(np.float32) @ self.embeddings.T
            for mean, row in zip(means, scores, strict=True):
                yield Ranking(self.embeddings, mean, row)


@dataclass(frozen=True)
class Ranking:
    """Lazy ranking of the corpus by similarity to a latent."""

    embeddings: NDArray[np.float32]
    mean: NDArray[np.float64]
    """What every sequence is compared with, [d]."""
    scores: NDArray[np.float32]
    """Dot product of each sequence with it, rounded in any way, [corpus]."""

    def __iter__(self) -> Iterator[int]:
        n, given, looked = len(self.scores), 0, _FIRST_LOOK
        while given < n:
            settled = self.first(looked)[given:]
            yield from settled.tolist()
            given, looked = given + len(settled), looked * _WIDENING

    def first(self, looked: int) -> NDArray[np.int64]:
        """Return the top of the ranking, about the requested number of sequences.

        A float32 dot product of d numbers is off by less than (d + 2)·2⁻²³·|e|·|m|. So where τ is the least score
        looked at, whatever was not looked at is less similar than τ + error, and what is more similar is in place.
        """
        n = len(self.scores)
        if looked >= n:
            return np.argsort(-similarities(self.embeddings, np.arange(n), self.mean), kind="stable")
        least = float(np.partition(self.scores, n - looked)[n - looked])
        candidates = np.flatnonzero(self.scores >= least)
        similarity = similarities(self.embeddings, candidates, self.mean)
        error = (len(self.mean) + 2) * 2.0**-23 * float(np.linalg.norm(self.mean)) * 1.001
        order = np.argsort(-similarity, kind="stable")
        return candidates[order[: int(np.count_nonzero(similarity > least + error))]]


def mean_embedding(embeddings: NDArray[np.float32], sequences: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the mean of at least one row, float64 [d]."""
    return np.asarray(embeddings[sequences]).mean(axis=0, dtype=np.float64)


def similarities(
    embeddings: NDArray[np.float32], sequences: NDArray[np.integer], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the dot product of each row with a vector, independent of the other rows."""
    blocks = [sequences[start : start + _ROWS_AT_A_TIME] for start in range(0, len(sequences), _ROWS_AT_A_TIME)]
    return np.concatenate([np.empty(0), *((embeddings[block] * mean).sum(axis=1) for block in blocks)])


def top_sequences(sequences: NDArray[np.integer], maxima: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    """Return the `n` sequences with the largest maxima, descending; ties by number.

    Args:
        sequences: int [m], distinct.
        maxima: float [m], the latent's largest activation on each.
        n: maximum number of sequences.

    >>> top_sequences(np.array([4, 7, 9]), np.array([1.0, 3.0, 1.0]), 2).tolist()
    [7, 4]
    """
    return sequences[np.lexsort((sequences, -maxima))][:n].astype(np.int64)
