"""Windows: documents cut into equally long token sequences, the rows of everything that follows.

A document is cut to 8·T characters so that none dominates, tokenized by itself, and cut into windows of T tokens; what
remains at its end is dropped. A window never crosses documents and never holds a special token, except one BOS in
front where the SAE was trained with it. Whether there is a BOS is a property of the tokens, `Windows.has_bos`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from featureinterp.codec import atomic_write
from featureinterp.errors import CorpusError, DataFolderError, InputError

CHARACTERS_PER_TOKEN = 8
"""A document is cut to this many characters per token of a window."""

_DOCUMENTS_PER_BATCH = 256


class WindowTokenizer(Protocol):
    """What is needed of the subject model to cut windows."""

    @property
    def bos_token_id(self) -> int | None:
        """Id of the token that begins a sequence; None where the model has none."""
        ...

    @property
    def special_token_ids(self) -> frozenset[int]:
        """Ids of tokens that stand for no text."""
        ...

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens."""
        ...


@dataclass(frozen=True)
class WindowParams:
    """How a corpus is cut."""

    length: int = 32
    """Tokens per window, BOS not counted; at least 2."""
    max_windows: int = 100_000
    """The corpus is read until there are this many."""
    prepend_bos: bool = False
    ascii_only: bool = True
    """Whether documents with other characters are dropped."""

    def __post_init__(self) -> None:
        if self.length < 2:
            raise InputError(f"windows of {self.length} tokens were asked for", "a window has at least 2 tokens")
        if self.max_windows < 1:
            raise InputError(f"a data set of {self.max_windows} windows was asked for", "it needs at least 1")


@dataclass(frozen=True)
class WindowCounts:
    """What was read, and what was dropped for which reason."""

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


@dataclass(frozen=True)
class Windows:
    """The token windows of a corpus; a row is known everywhere by its number, `dataset_index`."""

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
        """Write `tokens.safetensors`.

        Raises:
            StorageError: if it cannot be written.
        """
        arrays = {"tokens": np.ascontiguousarray(self.tokens), "documents": np.ascontiguousarray(self.documents)}
        atomic_write(path, save(arrays, metadata={"has_bos": str(self.has_bos).lower()}))

    @classmethod
    def load(cls, path: Path) -> Windows:
        """Read what `save` wrote.

        Raises:
            DataFolderError: if the file is missing or damaged.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                has_bos = (file.metadata() or {})["has_bos"] == "true"
                return cls(file.get_tensor("tokens"), file.get_tensor("documents"), has_bos)
        except (OSError, SafetensorError, KeyError) as error:
            raise DataFolderError(f"{path} cannot be read as windows: {error}", "make the data folder again") from error


def cut_windows(
    documents: Iterable[str], tokenizer: WindowTokenizer, params: WindowParams
) -> tuple[Windows, WindowCounts]:
    """Cut documents into windows, in their order, until there are `params.max_windows`.

    Raises:
        CorpusError: if not a single window comes out.
        InputError: if a BOS is wanted and the model has none.
    """
    counts: Counter[str] = Counter()
    document_of: dict[bytes, int] = {}
    for number, window in _raw_windows(documents, tokenizer, params, counts):
        row = window.tobytes()
        if not tokenizer.special_token_ids.isdisjoint(window.tolist()):
            counts["special"] += 1
        elif row in document_of:
            counts["duplicates"] += 1
        else:
            document_of[row] = number
            if len(document_of) == params.max_windows:
                break
    names = ("documents", "not_ascii", "too_short", "special", "duplicates")
    told = WindowCounts(**{name: counts[name] for name in names})
    if not document_of:
        raise CorpusError(
            f"the corpus gives no window of {params.length} tokens",
            f"of {told.documents} documents {told.not_ascii} are not ASCII and {told.too_short} are too short; "
            f"{told.special} windows hold a special token",
        )
    tokens = np.frombuffer(bytearray().join(document_of), dtype=np.int32).reshape(-1, params.length)
    if params.prepend_bos:
        tokens = _with_bos(tokens, tokenizer.bos_token_id)
    return Windows(tokens, np.fromiter(document_of.values(), dtype=np.int32), params.prepend_bos), told


def _raw_windows(
    documents: Iterable[str], tokenizer: WindowTokenizer, params: WindowParams, counts: Counter[str]
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield (document, window) pairs, and count the documents that give none."""
    numbered = enumerate(documents)
    while batch := list(islice(numbered, _DOCUMENTS_PER_BATCH)):
        kept = [(number, text) for number, text in batch if text.isascii() or not params.ascii_only]
        texts = [text[: CHARACTERS_PER_TOKEN * params.length] for _, text in kept]
        tokenized = dict(zip((number for number, _ in kept), tokenizer.tokenize(texts), strict=True))
        for number, _ in batch:
            counts["documents"] += 1
            if number not in tokenized:
                counts["not_ascii"] += 1
                continue
            n_windows = len(tokenized[number]) // params.length
            counts["too_short"] += n_windows == 0
            ids = np.array(tokenized[number][: n_windows * params.length], dtype=np.int32)
            for window in ids.reshape(n_windows, params.length):
                yield number, window


def _with_bos(tokens: NDArray[np.int32], bos_token_id: int | None) -> NDArray[np.int32]:
    if bos_token_id is None:
        raise InputError("the SAE wants a BOS token in front of each window and the model's tokenizer has none")
    return np.pad(tokens, ((0, 0), (1, 0)), constant_values=bos_token_id)
