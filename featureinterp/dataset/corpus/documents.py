"""Documents: what a corpus is made of, text or token ids, and which column of a table holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import CorpusError

Document = str | NDArray[np.integer]
"""A text, or the ids of one already tokenized, int [tokens]."""

TEXT_COLUMN = "text"
TOKEN_COLUMNS = ("input_ids", "tokens")
"""Where a table without a text column has token ids."""

PYTHON_DOCS = "python-docs"
SUFFIXES = (".txt", ".jsonl", ".jsonl.zst", ".parquet")
UNDERSTOOD = (
    f"give '{PYTHON_DOCS}', a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file or a folder of them, a saved dataset, "
    "a tokens.safetensors, or owner/name of a dataset on the Hugging Face hub"
)


@dataclass(frozen=True)
class CorpusSpec:
    """Which corpus, and which part of it."""

    name: str = PYTHON_DOCS
    """`python-docs`, a path, or owner/name of a dataset on the Hugging Face hub."""
    split: str = "train"
    """Of a dataset on the hub, or of a saved one that has several."""
    config: str = ""
    """Of a dataset on the hub that has several; empty for its default."""
    text_column: str = TEXT_COLUMN
    """Column of the texts, or of token ids; without a column `text`, `input_ids` and `tokens` are tried."""


class Corpus(Protocol):
    """Something that documents can be read from, the same ones each time."""

    def fingerprint(self) -> str:
        """Return what decides the documents: a hash of files, or name and revision."""
        ...

    def documents(self) -> Iterator[Document]:
        """Yield the documents in a fixed order; blank ones may be among them.

        Raises:
            CorpusError: if what is read is damaged, or neither text nor token ids.
        """
        ...


def choose_column(columns: Sequence[str], wanted: str, where: str) -> str:
    """Return the column that holds the documents of a table.

    Raises:
        CorpusError: if there is none; it lists those there are.
    """
    tried = (wanted, *TOKEN_COLUMNS) if wanted == TEXT_COLUMN else (wanted,)
    for column in tried:
        if column in columns:
            return column
    raise CorpusError(
        f"{where} has no column {wanted!r}",
        f"it has the columns {', '.join(columns) or 'none'}; name the one to read with --text-column",
    )


def as_document(value: object, where: str) -> Document:
    """Return a value of a table as a document; None is an empty one.

    Raises:
        CorpusError: if it is neither a text nor a list of token ids.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list | tuple | np.ndarray):
        ids = np.asarray(value) if len(value) else np.empty(0, np.int32)
        if ids.ndim == 1 and ids.dtype.kind in "iu":
            return ids
    raise CorpusError(f"{where} is {str(value)[:40]!r}", "a text or a list of token ids is wanted")
