"""Windows: documents cut into token sequences of equal length.

A text is cut to 8·T characters so that none dominates, tokenized by itself, and cut into windows of T tokens; what
remains at its end is dropped. A document of token ids is only cut into windows. A window never crosses
documents and never holds a special token, except one BOS in front where the SAE was trained with it. Whether there is a
BOS is a property of the tokens, `Windows.has_bos`.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featureinterp.codec import whole_characters
from featureinterp.dataset.activations.arrays import CHECKSUM, ArrayFile, write_arrays
from featureinterp.dataset.corpus.documents import Document
from featureinterp.errors import CorpusError, DataFolderError, InputError

CHARACTERS_PER_TOKEN = 8
"""A document is cut to this many characters per token of a window."""

_REMAKE = "make the data folder again"
_DOCUMENTS_PER_BATCH = 1024
_DIGEST_BYTES = 16
_TOLD_EVERY = 512


class WindowTokenizer(Protocol):
    """Interface of the subject model for cutting windows."""

    @property
    def bos_token_id(self) -> int | None:
        """Id of the BOS token; None if the model has none."""
        ...

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids of special tokens."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        ...

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens."""
        ...


@dataclass(frozen=True)
class WindowParams:
    """Window length, number and filters."""

    length: int = 32
    """Tokens per window, BOS not counted; at least 2."""
    max_windows: int = 100_000
    """Maximum number of windows; the corpus is read until they are found."""
    prepend_bos: bool = False
    ascii_only: bool = True
    """Whether documents with other characters are dropped."""

    def __post_init__(self) -> None:
        if not self.length >= 2:
            raise InputError(f"windows of {self.length} tokens are too short", "expected at least 2")
        if not self.max_windows >= 1:
            raise InputError(f"a data set of {self.max_windows} windows is too small", "expected at least 1")


@dataclass(frozen=True)
class WindowCounts:
    """Counts of read and dropped documents and windows."""

    documents: int
    """Documents read."""
    not_ascii: int
    """Documents dropped because they hold other characters."""
    too_short: int
    """Documents dropped because they fill no window."""
    special: int
    """Windows dropped because they hold a special token."""
    duplicates: int
    """Windows dropped because an earlier one has the same tokens."""

    @property
    def dropped(self) -> str:
        """Sentence about dropped documents and windows; empty if none.

        >>> WindowCounts(documents=400, not_ascii=320, too_short=2, special=0, duplicates=0).dropped
        'of 400 documents 322 were left out: 320 not ASCII (keep them with --no-ascii-only), 2 too short'
        >>> WindowCounts(documents=9, not_ascii=0, too_short=0, special=1, duplicates=4).dropped
        '5 windows were left out: 1 with a special token, 4 seen before'
        """
        parts = []
        if left_out := self.not_ascii + self.too_short:
            reasons = {"not ASCII (keep them with --no-ascii-only)": self.not_ascii, "too short": self.too_short}
            parts.append(f"of {self.documents:,} documents {left_out:,} were left out: {_told(reasons)}")
        if left_out := self.special + self.duplicates:
            reasons = {"with a special token": self.special, "seen before": self.duplicates}
            parts.append(f"{left_out:,} windows were left out: {_told(reasons)}")
        return "; ".join(parts)


def _told(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {why}" for why, n in reasons.items() if n)


@dataclass(frozen=True)
class Windows:
    """Token windows of a corpus; the row number is `dataset_index` everywhere."""

    tokens: NDArray[np.int32]
    """int32 [windows, T], or [windows, T + 1] with BOS in column 0."""
    documents: NDArray[np.int32]
    """int32 [windows]: number of the document in the corpus, counting dropped ones; never decreasing."""
    has_bos: bool

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def text_tokens(self) -> NDArray[np.int32]:
        """The tokens without BOS, int32 [windows, T]."""
        return self.tokens[:, 1:] if self.has_bos else self.tokens

    def save(self, path: Path) -> None:
        """Write `tokens.safetensors`, with a checksum.

        Raises:
            StorageError: if it cannot be written.
        """
        write_arrays(path, {"tokens": self.tokens, "documents": self.documents}, {"has_bos": str(self.has_bos).lower()})

    @classmethod
    def load(cls, path: Path, vocabulary_size: int | None = None) -> Windows:
        """Read a file of `save` and verify its checksum.

        Args:
            path: the file; in older ones, without checksum, ids and document numbers are validated instead.
            vocabulary_size: number of token ids of the model, if known; ids must be below it.

        Raises:
            DataFolderError: if the file is missing, damaged, or holds invalid windows.
        """
        file = ArrayFile.open(path)
        n, width = file.check("tokens", np.int32, 2).shape
        file.check("documents", np.int32, 1, n)
        if n < 1 or width < 2:
            raise DataFolderError(f"{path} holds windows [{n}, {width}]; expected at least [1, 2]", _REMAKE)
        if CHECKSUM in file.metadata:
            file.check_intact()
        if file.metadata.get("has_bos") not in ("true", "false"):
            raise DataFolderError(f"{path} does not record whether its windows begin with BOS", _REMAKE)
        windows = cls(file.rows("tokens", 0, n), file.rows("documents", 0, n), file.metadata["has_bos"] == "true")
        windows._check(path, vocabulary_size)
        return windows

    def _check(self, path: Path, vocabulary_size: int | None) -> None:
        """Raise DataFolderError for invalid ids or documents."""
        least, largest = int(self.tokens.min()), int(self.tokens.max())
        if least < 0 or (vocabulary_size is not None and largest >= vocabulary_size):
            wrong = least if least < 0 else largest
            told = "" if vocabulary_size is None else f", the model's vocabulary ends at {vocabulary_size - 1}"
            raise DataFolderError(f"{path} is damaged: it has the token id {wrong}{told}", _REMAKE)
        if self.documents[0] < 0 or (np.diff(self.documents) < 0).any():
            raise DataFolderError(f"{path} is damaged: its document numbers do not ascend", _REMAKE)


def cut_windows(
    documents: Iterable[Document],
    tokenizer: WindowTokenizer,
    params: WindowParams,
    progress: Callable[[int], None] | None = None,
) -> tuple[Windows, WindowCounts]:
    """Cut documents into windows, in their order, until there are `params.max_windows`.

    Args:
        documents: texts, or token ids, in which a special token ends a document.
        tokenizer: tokenizer of the subject model.
        params: window length, number and filters.
        progress: called as `progress(windows)` from time to time.

    Raises:
        CorpusError: if the corpus yields no window, or a token id is not in the vocabulary.
        InputError: if windows begin with BOS and the model has none.
    """
    begin = _begin(tokenizer) if params.prepend_bos else None
    counts: Counter[str] = Counter()
    # Rows are stored consecutively, with a digest of each to find duplicates: less memory than a dictionary of rows.
    rows, numbers, seen = bytearray(), array("i"), set[bytes]()
    for number, window in _raw_windows(documents, tokenizer, params, counts):
        row = window.tobytes()
        digest = blake2b(row, digest_size=_DIGEST_BYTES).digest()
        if not tokenizer.special_token_ids.isdisjoint(window.tolist()):
            counts["special"] += 1
        elif digest in seen:
            counts["duplicates"] += 1
        else:
            seen.add(digest)
            rows += row
            numbers.append(number)
            if progress is not None and len(numbers) % _TOLD_EVERY == 0:
                progress(len(numbers))
            if len(numbers) == params.max_windows:
                break
    told = WindowCounts(**{field.name: counts[field.name] for field in fields(WindowCounts)})
    if not numbers:
        raise CorpusError(
            f"the corpus gives no window of {params.length} tokens",
            f"of {told.documents} documents {told.not_ascii} are not ASCII and {told.too_short} are too short; "
            f"{told.special} windows hold a special token"
            + "; --no-ascii-only keeps what is not ASCII"
            * (told.not_ascii > 0),
        )
    tokens = np.frombuffer(rows, dtype=np.int32).reshape(-1, params.length)
    if begin is not None:
        tokens = np.pad(tokens, ((0, 0), (1, 0)), constant_values=begin)
    return Windows(tokens, np.array(numbers, dtype=np.int32), params.prepend_bos), told


def _raw_windows(
    documents: Iterable[Document], tokenizer: WindowTokenizer, params: WindowParams, counts: Counter[str]
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield (document, window) pairs, and count the documents without a window."""
    numbered = enumerate(_pieces(documents, tokenizer))
    while batch := list(islice(numbered, _DOCUMENTS_PER_BATCH)):
        texts = {
            number: whole_characters(document[: CHARACTERS_PER_TOKEN * params.length])
            for number, document in batch
            if isinstance(document, str) and (document.isascii() or not params.ascii_only)
        }
        ids_of = dict(zip(texts, tokenizer.tokenize(list(texts.values())), strict=True))
        for number, document in batch:
            counts["documents"] += 1
            if isinstance(document, str) and number not in texts:
                counts["not_ascii"] += 1
                continue
            ids = np.asarray(ids_of[number] if isinstance(document, str) else document, dtype=np.int32)
            n_windows = len(ids) // params.length
            counts["too_short"] += n_windows == 0
            for window in ids[: n_windows * params.length].reshape(n_windows, params.length):
                yield number, window


def _pieces(documents: Iterable[Document], tokenizer: WindowTokenizer) -> Iterator[Document]:
    """Yield texts unchanged and lists of ids split at special tokens."""
    special = list(tokenizer.special_token_ids)
    for number, document in enumerate(documents):
        if isinstance(document, str):
            yield document
            continue
        outside = (document < 0) | (document >= tokenizer.vocabulary_size)
        if outside.any():
            raise CorpusError(
                f"document {number} of the corpus has the token id {document[outside][0]}, "
                f"the model's vocabulary ends at {tokenizer.vocabulary_size - 1}",
                "name the model whose tokenizer made the corpus, or give its text",
            )
        ends = np.flatnonzero(np.isin(document, special))
        yield from (piece for piece in np.split(np.delete(document, ends), ends - np.arange(len(ends))) if len(piece))


def _begin(tokenizer: WindowTokenizer) -> int:
    if tokenizer.bos_token_id is None:
        raise InputError(
            "windows begin with a BOS token, but the model's tokenizer has none",
            "name one as bos_token in the model's tokenizer_config.json",
        )
    return tokenizer.bos_token_id
