"""The sentence embedding of every window of a corpus: made once, found again by what was embedded.

Windows are embedded shard by shard, so a killed run loses one shard at most. The matrix knows the hash of its texts
and embedder: the same are never embedded twice, and other texts or a damaged file are embedded anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.arrays import ArrayFile, ArraySpec, array_writer, checksum, write_arrays
from featureinterp.dataset.capture import Progress, remove_shards
from featureinterp.errors import DataFolderError

SHARD_TEXTS = 2048
"""Texts per shard."""

_ARRAY = "embeddings"

Texts = Callable[[range], Sequence[str]]
"""Gives the texts of some rows of the corpus."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Gives unit rows, float32 [texts, d]."""


def embed_corpus(
    path: Path, n_texts: int, texts: Texts, embedder_name: str, open_embed: Callable[[], Embed], progress: Progress
) -> NDArray[np.float32]:
    """Embed a corpus into a file, or find the file that holds it; returns it memory-mapped, float32 [n_texts, d].

    Args:
        path: the file.
        n_texts: rows of the corpus.
        texts: gives the texts of some rows.
        embedder_name: a part of what identifies the embeddings.
        open_embed: loads the embedder, which is done only where something is to be embedded.
        progress: told how many texts are done, and of how many.

    Raises:
        StorageError: if a file cannot be written.
    """
    shards = [range(start, min(start + SHARD_TEXTS, n_texts)) for start in range(0, n_texts, SHARD_TEXTS)]
    digest = hashlib.sha256(embedder_name.encode())
    for rows in shards:
        digest.update("\0".join(texts(rows)).encode("utf-8", "surrogatepass"))
    content = digest.hexdigest()
    if _is_made_of(path, content):
        return load_embeddings(path)
    folder, embed = path.parent / f".shards-{content[:16]}", None
    paths = [folder / f"{rows.start:09d}.safetensors" for rows in shards]
    for rows, part in zip(shards, paths, strict=True):
        if not _is_made_of(part, content):
            embed = embed or open_embed()
            write_arrays(part, {_ARRAY: embed(texts(rows))}, {"content": content})
        progress(rows.stop, n_texts)
    _join(path, [ArrayFile.open(part) for part in paths], content)
    remove_shards(path.parent)
    return load_embeddings(path)


def load_embeddings(path: Path) -> NDArray[np.float32]:
    """Map the corpus' embedding matrix, float32 [sequences, d].

    Raises:
        DataFolderError: if the file is missing or cut short.
    """
    file = ArrayFile.open(path)
    if _ARRAY not in file.specs:
        raise DataFolderError(f"{path} holds no embeddings", "make the data folder again")
    return np.asarray(file.mapped(_ARRAY))


def _is_made_of(path: Path, content: str) -> bool:
    """Say whether a file is there whole and holds the embeddings of this content."""
    try:
        file = ArrayFile.open(path)
    except DataFolderError:
        return False
    return file.metadata.get("content") == content and file.is_intact()


def _join(path: Path, parts: Sequence[ArrayFile], content: str) -> None:
    sizes = [part.specs[_ARRAY].shape for part in parts]
    found = 0
    for part, (rows, _) in zip(parts, sizes, strict=True):
        found = checksum(part.rows(_ARRAY, 0, rows), found)
    whole = ArraySpec((sum(rows for rows, _ in sizes), sizes[0][1]), np.float32)
    with array_writer(path, {_ARRAY: whole}, {"content": content, "checksum": str(found)}) as writer:
        start = 0
        for part, (rows, _) in zip(parts, sizes, strict=True):
            writer.write(_ARRAY, start, part.rows(_ARRAY, 0, rows))
            start += rows
