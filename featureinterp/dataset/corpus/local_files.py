"""Corpora in local files: `.txt` and `.jsonl`, compressed or not, `.parquet`, and `.safetensors` of token ids.

Every file is read in pieces, so memory does not grow with its size. Files are read in the order of their names.

Trap: a `.txt` file is *not* one document. Only the beginning of each document is used (see `windows`), so a book in
one file would yield a handful of sentences: its blank-line-separated blocks are the documents.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featureinterp.dataset.activations.arrays import CHECKSUM, ArrayFile
from featureinterp.dataset.corpus.documents import (
    FILE_KINDS,
    SUFFIXES,
    TEXT_COLUMN,
    TOKEN_COLUMNS,
    UNDERSTOOD,
    CorpusSpec,
    Document,
    as_document,
    choose_column,
    is_text,
)
from featureinterp.dataset.corpus.lines import LONGEST, read_lines, too_long
from featureinterp.dataset.corpus.parquet import parquet_rows
from featureinterp.dataset.corpus.splits import files_of_split
from featureinterp.errors import CorpusError, DataFolderError
from featureinterp.files import check_regular

TOKEN_FILE = "tokens.safetensors"
"""File that is read instead of all others in a folder."""

_ARRAYS = ".safetensors"
_READ_BYTES = 2**24
_BLOCK = 2**20
_BLOCKS = 256
"""Number of evenly spaced blocks that, with the size, identify a larger file."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalFiles:
    """A local file or folder as a corpus."""

    name: str
    """Name of the corpus as the user wrote it."""
    paths: tuple[Path, ...]
    text_column: str = TEXT_COLUMN

    @classmethod
    def find(cls, spec: CorpusSpec) -> LocalFiles:
        """Find the files of a corpus by path; a warning counts skipped files.

        Raises:
            CorpusError: if the path or split does not exist, or holds no supported file.
            InputError: for an option that does not apply to these files.
        """
        path = Path(spec.name)
        if not path.exists():
            raise CorpusError(f"there is no corpus {spec.name!r}", UNDERSTOOD)
        if (path / TOKEN_FILE).is_file():
            path = path / TOKEN_FILE
        if path.is_dir():
            paths = _files_of_folder(path, spec)
        else:
            if not path.is_file():
                told = "a corpus is read more than once: write the output of the pipe to a file first"
                raise CorpusError(f"corpus {spec.name!r} is a pipe or a device; expected a file or a folder", told)
            if not path.name.endswith((*SUFFIXES, _ARRAYS)):
                raise CorpusError(f"corpus file {path} is neither {FILE_KINDS} nor {_ARRAYS}", UNDERSTOOD)
            spec.refuse(f"the single file {path}", "split", "config")
            paths = (path,)
        if all(is_text(path.name) for path in paths):
            spec.refuse(f"{spec.name}: text has no columns", "text_column")
        return cls(spec.name, paths, spec.text_column)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the files, and the column if not the default."""
        column = "" if self.text_column == TEXT_COLUMN else f" column {self.text_column}"
        return f"sha256 {hash_files(self.paths)}{column}"

    def documents(self) -> Iterator[Document]:
        """Yield the documents of one file after the other."""
        for path in self.paths:
            try:
                yield from self._read(path)
            except OSError as error:
                raise CorpusError(f"{path} cannot be read: {error.strerror or error}") from error

    def _read(self, path: Path) -> Iterator[Document]:
        if is_text(path.name):
            return _blocks(path)
        if path.suffix == ".parquet":
            return parquet_rows(path, self.text_column)
        if path.suffix == _ARRAYS:
            return _token_rows(path, self.text_column)
        return _json_rows(path, self.text_column)


def _files_of_folder(folder: Path, spec: CorpusSpec) -> tuple[Path, ...]:
    """Return the supported files of a folder; warn about skipped ones."""
    closed: list[OSError] = []
    walk = os.walk(folder, onerror=closed.append)
    found = sorted(Path(place) / name for place, _, names in walk for name in names)
    readable = [path for path in found if path.name.endswith(SUFFIXES) and path.is_file()]
    if not readable:
        raise CorpusError(f"corpus folder {folder} holds no {FILE_KINDS} file", UNDERSTOOD)
    chosen = files_of_split(folder, readable, spec)
    others = [path for path in found if path not in set(readable) and not path.name.startswith(".")]
    kinds = Counter(path.suffix or path.name for path in others)
    told = [f"{len(others)} of another kind ({', '.join(sorted(kinds))})"] if others else []
    told += [f"{len(readable) - len(chosen)} of another split"] if len(readable) > len(chosen) else []
    told += [f"{len(closed)} folders that cannot be opened"] if closed else []
    if told:
        _logger.warning("corpus folder %s: files read: %d; passed over: %s", folder, len(chosen), ", ".join(told))
    return chosen


def hash_files(paths: tuple[Path, ...]) -> str:
    """Return a SHA-256 over the content of files, in order; sampled for very large files.

    Raises:
        CorpusError: if one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            check_regular(path)
            size = path.stat().st_size
            last = max(0, size - _BLOCK)
            few = size <= _BLOCKS * _BLOCK
            starts = range(0, size, _BLOCK) if few else np.linspace(0, last, _BLOCKS, dtype=np.int64).tolist()
            if len(paths) > 1 or not few:
                digest.update(f"{size}\n".encode())
            with path.open("rb") as file:
                for start in starts:
                    file.seek(start)
                    digest.update(file.read(_BLOCK))
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[str]:
    """Yield the blocks between blank lines."""
    block: list[str] = []
    length = 0
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            block.append(line)
            length += len(line) + 1
            if length > LONGEST:
                raise too_long(f"the block of text up to line {number} of corpus file {path}")
        elif block:
            yield "\n".join(block)
            block, length = [], 0
    if block:
        yield "\n".join(block)


def _json_rows(path: Path, wanted: str) -> Iterator[Document]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"line {number} of corpus file {path}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{where} is not a JSON object", f"expected an object with a column {wanted!r}")
        column = choose_column(sorted(row), wanted, where)
        yield as_document(row[column], f"{column!r} on {where}")


def _token_rows(path: Path, wanted: str) -> Iterator[Document]:
    """Yield rows of token ids, grouped by document if the file has document numbers."""
    try:
        file = ArrayFile.open(path)
        if CHECKSUM in file.metadata:
            file.check_intact()
    except DataFolderError as error:
        raise CorpusError(f"corpus {error.problem}", "download or create it again") from error
    usual = TOKEN_COLUMNS[0] if TOKEN_COLUMNS[0] in file.specs else TOKEN_COLUMNS[1]
    name = choose_column(sorted(file.specs), usual if wanted == TEXT_COLUMN else wanted, str(path))
    spec = file.specs[name]
    if len(spec.shape) != 2 or np.dtype(spec.dtype).kind != "i" or spec.shape[1] < 1:
        raise CorpusError(f"{name!r} of {path} is not a table of token ids", "expected int [windows, tokens]")
    n, first = spec.shape[0], int(file.metadata.get("has_bos") == "true")
    has_documents = "documents" in file.specs and file.specs["documents"].shape == (n,)
    pending, of_pending, length = [], -1, 0
    at_a_time = max(1, _READ_BYTES // spec.row_bytes)
    for start in range(0, n, at_a_time):
        rows = file.rows(name, start, min(start + at_a_time, n))[:, first:]
        numbers = range(start, start + len(rows))
        if has_documents:
            numbers = file.rows("documents", start, start + len(rows)).tolist()
        for number, row in zip(numbers, rows, strict=True):
            if number != of_pending and pending:
                yield np.concatenate(pending)
                pending, length = [], 0
            of_pending = number
            pending.append(row)
            length += len(row)
            if length > LONGEST:
                raise CorpusError(
                    f"a document of {path} has more than {LONGEST:,} tokens", "number its documents separately"
                )
    if pending:
        yield np.concatenate(pending)
