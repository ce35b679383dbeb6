"""Approximate ranking for embeddings larger than memory: FAISS candidates, ordered by exact similarity.

The index stores a byte per number and searches a part of its clusters, so it can miss a sentence; its recall is
measured on a sample of latents and stored beside it (`IndexRecall`). A list that needs more than the index gives
continues with the exact ranking, so the index makes no list shorter. FAISS is the extra `featureinterp[faiss]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.retrieval.exact import ExactRanker, mean_embedding, similarities
from featureinterp.errors import DataFolderError, InputError
from featureinterp.files import atomic_path

CANDIDATES = 2048
"""Nearest neighbours requested from the index."""

_SHARE_OF_CLUSTERS = 8
"""One cluster in this many is searched, at least 8 clusters."""
_TRAINED_ON = 64
"""Rows per cluster that the clusters are found from."""
_ROWS_AT_A_TIME = 65_536


@dataclass(frozen=True)
class IndexRecall:
    """Recall of the approximate ranking, on a sample of latents."""

    latents: int
    """Latents in the sample."""
    first: int
    """Length of the compared part of each ranking."""
    mean: float
    """Share of them that the index found too, 0..1."""
    least: float
    """The smallest share of a latent."""


@dataclass(frozen=True)
class ApproximateRanker:
    """Ranker with a FAISS index; see `ExactRanker`."""

    embeddings: NDArray[np.float32]
    """Unit rows, float32 [corpus, d], memory-mapped."""
    index: Any

    @classmethod
    def open(cls, path: Path, embeddings: NDArray[np.float32]) -> ApproximateRanker:
        """Open an index file, or build it if missing or older than the embeddings.

        Raises:
            InputError: if FAISS is not installed.
            DataFolderError: if the file cannot be read.
            StorageError: if it cannot be written.
        """
        faiss = _faiss()
        if not path.exists():
            with atomic_path(path) as temporary:
                faiss.write_index(_build(faiss, embeddings), str(temporary))
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise DataFolderError(f"{path} cannot be read as an index", "delete it: it is built again") from error
        if index.ntotal != len(embeddings):
            raise DataFolderError(f"{path} indexes {index.ntotal} of {len(embeddings)} rows", "delete it")
        index.nprobe = max(8, index.nlist // _SHARE_OF_CLUSTERS)
        return cls(embeddings, index)

    def rankings(self, tops: Iterable[NDArray[np.integer]]) -> Iterator[Iterable[int]]:
        """Yield, for each set of sequences, the corpus ranked by similarity."""
        for top in tops:
            mean = mean_embedding(self.embeddings, top)
            yield _Ranking(self.embeddings, top, self.candidates(mean, CANDIDATES))

    def candidates(self, mean: NDArray[np.float64], n: int) -> NDArray[np.int64]:
        """Return up to `n` sequences found by the index, ordered by exact similarity."""
        # one query at a time: in a batch the index multiplies matrices, whose rounding depends on the companions
        _, found = self.index.search(mean.astype(np.float32)[None], min(n, len(self.embeddings)))
        rows = np.sort(found[0][found[0] >= 0])
        return rows[np.argsort(-similarities(self.embeddings, rows, mean), kind="stable")]

    def recall(self, tops: Sequence[NDArray[np.integer]], first: int = 100) -> IndexRecall:
        """Compare the top of each ranking with the exact one, for a sample of at least one latent."""
        first = min(first, len(self.embeddings))
        shares = []
        for top, exact in zip(tops, ExactRanker(self.embeddings).rankings(tops), strict=True):
            found = self.candidates(mean_embedding(self.embeddings, top), CANDIDATES)[:first]
            shares.append(float(np.isin(list(islice(exact, first)), found).mean()))
        return IndexRecall(len(shares), first, float(np.mean(shares)), min(shares))


@dataclass(frozen=True)
class _Ranking:
    """Ranking with the index's candidates first, then the rest of the exact ranking."""

    embeddings: NDArray[np.float32]
    top: NDArray[np.integer]
    found: NDArray[np.int64]

    def __iter__(self) -> Iterator[int]:
        yield from self.found.tolist()
        given = set(self.found.tolist())
        (exact,) = ExactRanker(self.embeddings).rankings([self.top])
        yield from (sequence for sequence in exact if sequence not in given)


def _build(faiss: Any, embeddings: NDArray[np.float32]) -> Any:  # noqa: ANN401 - faiss declares no types
    """Build an inverted file index with 4·√N clusters and 8-bit scalars, trained on evenly spaced rows."""
    n, dimensions = embeddings.shape
    clusters = max(1, min(int(4 * n**0.5), n // 39))
    index = faiss.index_factory(dimensions, f"IVF{clusters},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(np.ascontiguousarray(embeddings[:: max(1, n // (_TRAINED_ON * clusters))]))
    for start in range(0, n, _ROWS_AT_A_TIME):
        index.add(np.ascontiguousarray(embeddings[start : start + _ROWS_AT_A_TIME]))
    return index


def _faiss() -> Any:  # noqa: ANN401 - faiss declares no types
    try:
        import faiss
    except ImportError as error:
        raise InputError("faiss is not installed", "pip install 'featureinterp[faiss]'") from error
    return faiss
