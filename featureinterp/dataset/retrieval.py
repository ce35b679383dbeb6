"""Which sentences of the corpus are like those a latent fires on.

The corpus is embedded once. The similarity of a sequence to a latent is the mean cosine between its embedding and
those of the latent's `special_n` most active sequences, which are rows of the same matrix. The mean of cosines to m
unit vectors is one dot product with their mean, so the *whole* corpus is ranked, not a shortlist.

Latents are ranked one at a time. One product for many would be faster, but a row of it may round differently with the
number of rows, so a latent's records would depend on which others were asked for with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from featureinterp.codec import atomic_write
from featureinterp.errors import DataFolderError


def top_sequences(sequences: NDArray[np.integer], maxima: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    """Return the `n` sequences of largest maximum, largest first; of equals the lower number comes first.

    Args:
        sequences: int [m], distinct.
        maxima: float [m], the latent's largest activation on each.
        n: how many are wanted at most.

    >>> top_sequences(np.array([4, 7, 9]), np.array([1.0, 3.0, 1.0]), 2).tolist()
    [7, 4]
    """
    return sequences[np.lexsort((sequences, -maxima))][:n].astype(np.int64)


def rank_corpus(embeddings: NDArray[np.float32], sequences: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return all sequences of the corpus, from the most to the least similar to some of them; equals by number.

    Args:
        embeddings: unit rows, float32 [corpus, d].
        sequences: int [m], m > 0: the ones to be similar to.

    >>> rank_corpus(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), np.array([0])).tolist()
    [0, 2, 1]
    """
    mean = embeddings[sequences].mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.argsort(-(embeddings @ mean), kind="stable")


def save_embeddings(path: Path, embeddings: NDArray[np.float32]) -> None:
    """Write the corpus' embedding matrix.

    Raises:
        StorageError: if it cannot be written.
    """
    atomic_write(path, save({"embeddings": np.ascontiguousarray(embeddings)}))


def load_embeddings(path: Path) -> NDArray[np.float32]:
    """Read the corpus' embedding matrix, float32 [sequences, d].

    Raises:
        DataFolderError: if the file is missing or damaged.
    """
    try:
        return load_file(path)["embeddings"]
    except (OSError, SafetensorError, KeyError) as error:
        raise DataFolderError(f"{path} cannot be read as embeddings: {error}", "make the data folder again") from error
