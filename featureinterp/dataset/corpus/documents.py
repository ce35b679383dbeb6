"""Documents of a corpus (text or token ids) and the choice of their column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import CorpusError, InputError

Document = str | NDArray[np.integer]
"""A text, or the ids of one already tokenized, int [tokens]."""

TEXT_COLUMN = "text"
TOKEN_COLUMNS = ("input_ids", "tokens")
"""Where a table without a text column has token ids."""

PYTHON_DOCS = "python-docs"
DEFAULT_SPLIT = "train"
_PACKED = ("", ".gz", ".zst")
_TEXT_SUFFIXES = tuple(f".txt{packed}" for packed in _PACKED)
SUFFIXES = (*_TEXT_SUFFIXES, *(f".jsonl{packed}" for packed in _PACKED), ".parquet")
FILE_KINDS = ".txt, .jsonl (both also .gz or .zst) or .parquet"
UNDERSTOOD = (
    f"give '{PYTHON_DOCS}', a {FILE_KINDS} file or a folder of them, a saved dataset, a tokens.safetensors, or "
    "owner/name of a dataset on the Hugging Face hub"
)


@dataclass(frozen=True)
class CorpusSpec:
    """Corpus name, split, configuration and column."""

    name: str = PYTHON_DOCS
    """`python-docs`, a path, or owner/name of a dataset on the Hugging Face hub."""
    split: str = DEFAULT_SPLIT
    """Split of a hub dataset, a saved dataset or a folder of files."""
    config: str = ""
    """Configuration of a dataset that has several (on the hub, or in a folder with a card); empty for its default."""
    text_column: str = TEXT_COLUMN
    """Column of the texts, or of token ids; without a column `text`, `input_ids` and `tokens` are tried."""

    def refuse(self, what: str, *names: str) -> None:
        """Raise InputError for given options that do not apply to this kind of corpus.

        Args:
            what: the corpus, in words.
            names: fields that do not apply to it.

        Raises:
            InputError: if one of them differs from its default.
        """
        for name in names:
            value = getattr(self, name)
            if value != getattr(CorpusSpec(), name):
                raise InputError(f"{_OPTIONS[name]} {value!r} does not apply to {what}", "omit it")


_OPTIONS = {"split": "--dataset-split", "config": "--dataset-config", "text_column": "--text-column"}


def is_text(name: str) -> bool:
    """Return whether a file is plain text (no columns)."""
    return name.endswith(_TEXT_SUFFIXES)


class Corpus(Protocol):
    """A deterministic source of documents."""

    def fingerprint(self) -> str:
        """Return the identity of the documents: a hash of files, or name and revision."""
        ...

    def documents(self) -> Iterator[Document]:
        """Yield the documents in a fixed order, including blank ones.

        Raises:
            CorpusError: if a document is damaged, or neither text nor token ids.
        """
        ...


def choose_column(columns: Sequence[str], wanted: str, where: str) -> str:
    """Return the document column of a table.

    Raises:
        CorpusError: if there is none; the error lists the columns.
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
    """Convert a table value to a document; None becomes an empty one.

    Raises:
        CorpusError: if it is neither a text nor a list of token ids.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list | tuple | np.ndarray):
        ids = np.asarray(value) if len(value) else np.empty(0, np.int32)
        if ids.ndim == 1 and ids.dtype.kind in "iu":
            return ids
    shown = value[:9] if isinstance(value, list | tuple) else value
    raise CorpusError(f"{where} is {str(shown)[:40]!r}", "expected a text or a list of token ids")
