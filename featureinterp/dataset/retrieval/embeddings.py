"""Sentence embeddings of a corpus's windows, with a content-addressed cache.

Windows are embedded shard by shard, so a killed run loses one shard at most. The matrix knows the hash of its texts
and embedder: the same are never embedded twice, not even for another data folder, and other texts or a damaged file are
embedded anew.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featureinterp.dataset.activations.arrays import ArrayFile, ArraySpec, array_writer, checksum, write_arrays
from featureinterp.dataset.activations.capture import SequenceProgress, remove_shards
from featureinterp.dataset.corpus.local_files import hash_files
from featureinterp.errors import DataFolderError, StorageError, SubjectError
from featureinterp.files import atomic_path

SHARD_TEXTS = 2048
"""Texts per shard."""

CACHE = Path("cache") / "embeddings"
"""Every matrix by its content, under a second name that takes no space; safe to delete."""

_ARRAY = "embeddings"
_LENGTH_TOLERANCE = 0.02
"""Tolerance; larger than the error of a model in half precision."""
_OTHER_EMBEDDER = "its weights are damaged, or it computes in numbers that overflow; name another with --embedder"

_logger = logging.getLogger(__name__)

Texts = Callable[[range], Sequence[str]]
"""Texts of some rows of the corpus."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Embedding function; returns unit rows, float32 [texts, d]."""


@dataclass(frozen=True)
class EmbedderSource:
    """A lazily loaded embedder."""

    identity: str
    """Identity of the embedder, part of the key of its embeddings."""
    open: Callable[[], Embed]

    @classmethod
    def of(cls, name: str) -> EmbedderSource:
        """Identify an embedder by hub name, or by the files of a folder.

        Raises:
            CorpusError: if a file of the folder cannot be read.
        """
        from featureinterp.llm.embedding import open_embedder

        folder = Path(name).expanduser()
        files = tuple(path for path in sorted(folder.glob("[!.]*/**/*")) if path.is_file())
        files = files + tuple(path for path in sorted(folder.glob("[!.]*")) if path.is_file())
        identity = f"sha256 {hash_files(files)}" if folder.is_dir() else name
        return cls(identity, lambda: open_embedder(name).embed)


def embed_corpus(
    path: Path,
    n_texts: int,
    texts: Texts,
    embedder: EmbedderSource,
    progress: SequenceProgress,
    cache: Path | None = None,
) -> NDArray[np.float32]:
    """Embed a corpus, or find its cached embeddings; returns a memory map, float32 [n_texts, d].

    Args:
        path: the file.
        n_texts: rows of the corpus.
        texts: texts of some rows.
        embedder: source of the embeddings.
        progress: callback(done, total), in texts.
        cache: folder of embeddings by the content of their texts; default `CACHE`.

    Raises:
        StorageError: if a file cannot be written.
        SubjectError: if the embedder cannot be loaded, or gives no unit vectors.
    """
    shards = [range(start, min(start + SHARD_TEXTS, n_texts)) for start in range(0, n_texts, SHARD_TEXTS)]
    digest = hashlib.sha256(embedder.identity.encode())
    for rows in shards:
        digest.update("\0".join(texts(rows)).encode("utf-8", "surrogatepass"))
    content = digest.hexdigest()
    if _is_made_of(path, content):
        return load_embeddings(path)
    cached = (cache or CACHE) / f"{content}.safetensors"
    if _is_made_of(cached, content):
        _link(cached, path)
        return load_embeddings(path)
    folder, embed = path.parent / f".shards-{content[:16]}", None
    paths = [folder / f"{rows.start:09d}.safetensors" for rows in shards]
    for rows, part in zip(shards, paths, strict=True):
        if not _is_made_of(part, content):
            embed = embed or embedder.open()
            write_arrays(part, {_ARRAY: _checked(embed(texts(rows)), len(rows))}, {"content": content})
        progress(rows.stop, n_texts)
    _join(path, [ArrayFile.open(part) for part in paths], content)
    remove_shards(path.parent)
    with suppress(StorageError):  # what cannot be kept is made again
        _link(path, cached)
    return load_embeddings(path)


def load_embeddings(path: Path) -> NDArray[np.float32]:
    """Memory-map the corpus embeddings, float32 [sequences, d].

    Raises:
        DataFolderError: if the file is missing or cut short.
    """
    file = ArrayFile.open(path)
    file.check(_ARRAY, np.float32, 2)
    return np.asarray(file.mapped(_ARRAY))


def centre_embeddings(path: Path, embeddings: NDArray[np.float32], content: str) -> NDArray[np.float32]:
    """Write the embeddings minus their mean over the corpus, as unit rows; returns a memory map, float32 [n, d].

    Cosines of sentence embeddings are all similar, because the vectors share a large common part; without it they are
    about what differs (Mu and Viswanath, All-but-the-Top, ICLR 2018). A row that equals the mean becomes 0.

    Args:
        path: the file.
        embeddings: unit rows, float32 [n, d].
        content: hash of their texts and embedder.

    Raises:
        StorageError: if the file cannot be written.
    """
    content = f"{content} centred"
    if _is_made_of(path, content):
        return load_embeddings(path)
    blocks = [slice(start, start + SHARD_TEXTS) for start in range(0, len(embeddings), SHARD_TEXTS)]
    total = sum((embeddings[block].sum(axis=0, dtype=np.float64) for block in blocks), np.zeros(embeddings.shape[1]))
    mean = total / max(len(embeddings), 1)

    def centred(block: slice) -> NDArray[np.float32]:
        rows = embeddings[block] - mean
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0).astype(np.float32)

    found = 0
    for block in blocks:
        found = checksum(centred(block), found)
    whole = ArraySpec(embeddings.shape, np.float32)
    with array_writer(path, {_ARRAY: whole}, {"content": content, "checksum": str(found)}) as writer:
        for block in blocks:
            writer.write(_ARRAY, block.start, centred(block))
    return load_embeddings(path)


def content_of(path: Path) -> str:
    """Return the hash of texts and embedder that a file of embeddings was made of.

    Raises:
        DataFolderError: if the file is missing or damaged.
    """
    return ArrayFile.open(path).metadata.get("content", "")


def _is_made_of(path: Path, content: str) -> bool:
    """Return whether a file has intact embeddings of this content; warn if it is damaged."""
    if not path.exists():
        return False
    try:
        file = ArrayFile.open(path)
        file.check(_ARRAY, np.float32, 2)
        if file.metadata.get("content") != content:
            return False
        file.check_intact()
    except DataFolderError as error:
        _logger.warning("%s; it is created again", error.problem)
        return False
    return True


def _checked(embeddings: NDArray[np.float32], n_texts: int) -> NDArray[np.float32]:
    """Check an embedder's output; SubjectError unless it is one unit vector per text.

    A ranking by vectors that are not would look like any other.
    """
    if embeddings.ndim != 2 or len(embeddings) != n_texts:
        raise SubjectError(
            f"the sentence embedder gave {list(embeddings.shape)} numbers for {n_texts} texts", _OTHER_EMBEDDER
        )
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < _LENGTH_TOLERANCE))
    if len(wrong):
        raise SubjectError(
            f"the sentence embedder gave a vector of length {lengths[wrong[0]]:.3g}; expected 1", _OTHER_EMBEDDER
        )
    return embeddings


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if links are impossible."""
    with atomic_path(target) as temporary:
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)


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
