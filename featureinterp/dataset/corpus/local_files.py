"""Corpora in local files: `.txt`, `.jsonl`, `.jsonl.zst`, `.parquet`, and `.safetensors` of token ids.

Every file is read piece by piece, so memory does not grow with it. Files are read in the order of their names.

Trap: a `.txt` file is *not* one document. Only the beginning of each document is used (see `windows`), so a book in
one file would give a handful of sentences: its blank-line-separated blocks are the documents.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from featureinterp.dataset.activations.arrays import ArrayFile
from featureinterp.dataset.corpus.documents import (
    SUFFIXES,
    TEXT_COLUMN,
    TOKEN_COLUMNS,
    UNDERSTOOD,
    Document,
    as_document,
    choose_column,
)
from featureinterp.errors import CorpusError, DataFolderError
from featureinterp.files import check_regular

if TYPE_CHECKING:
    from collections.abc import Buffer  # pyright: ignore[reportAttributeAccessIssue] - Python 3.12

TOKEN_FILE = "tokens.safetensors"
"""Read from a folder that has it, whatever else is there."""

_ROWS = 1024
_BLOCK = 2**20
_BLOCKS = 256
"""A file of more than so many blocks is known by its size and so many evenly spaced blocks of it."""


@dataclass(frozen=True)
class LocalFiles:
    """A corpus that is a file or a folder."""

    name: str
    """As it was given."""
    paths: tuple[Path, ...]
    text_column: str = TEXT_COLUMN

    @classmethod
    def find(cls, name: str, text_column: str) -> LocalFiles:
        """Find the files of a corpus given by its path.

        Raises:
            CorpusError: if there is no such path, or nothing in it that can be read.
        """
        path = Path(name)
        if not path.exists():
            raise CorpusError(f"there is no corpus {name!r}", UNDERSTOOD)
        if (path / TOKEN_FILE).is_file():
            return cls(name, (path / TOKEN_FILE,), text_column)
        if path.is_dir():
            paths = tuple(sorted(p for p in path.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file()))
            if not paths:
                raise CorpusError(f"corpus folder {path} holds no {', '.join(SUFFIXES)} file", UNDERSTOOD)
            return cls(name, paths, text_column)
        if not path.is_file():
            told = "a corpus is read more than once: write what a pipe gives to a file, and name that"
            raise CorpusError(f"corpus {name!r} is a pipe or a device, a file or a folder is wanted", told)
        if not path.name.endswith((*SUFFIXES, ".safetensors")):
            raise CorpusError(f"corpus file {path} is none of {', '.join(SUFFIXES)} or .safetensors", UNDERSTOOD)
        return cls(name, (path,), text_column)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the files, and the column where it is not the usual one."""
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
        if path.suffix == ".txt":
            return _blocks(_lines(path))
        if path.suffix == ".parquet":
            return _parquet_rows(path, self.text_column)
        if path.suffix == ".safetensors":
            return _token_rows(path)
        return _json_rows(path, self.text_column)


def hash_files(paths: tuple[Path, ...]) -> str:
    """Return a SHA-256 over the content of files, in their order; of very large ones over a part.

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


class _Decompressed(io.RawIOBase):
    """The content of a Zstandard file; one that ends within a frame is an error, which the library does not make it."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        from zstandard import ZstdDecompressor

        self._path = path
        self._file = file
        self._decompressor = ZstdDecompressor(max_window_size=2**31)
        self._frame = self._decompressor.decompressobj()
        self._is_within = False
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        while not self._pending:
            chunk = self._file.read(2**16)
            if not chunk:
                if self._is_within:
                    raise CorpusError(f"corpus file {self._path} is cut short", "fetch or make it again")
                return 0
            self._pending = self._decompress(chunk)
        view = memoryview(buffer)
        n = min(len(view), len(self._pending))
        view[:n], self._pending = self._pending[:n], self._pending[n:]
        return n

    def _decompress(self, chunk: bytes) -> bytes:
        from zstandard import ZstdError

        made = []
        try:
            while chunk:
                if self._frame.eof:
                    self._frame = self._decompressor.decompressobj()
                made.append(self._frame.decompress(chunk))
                self._is_within, chunk = not self._frame.eof, self._frame.unused_data
        except ZstdError as error:
            raise CorpusError(f"corpus file {self._path} is damaged: {error}", "fetch or make it again") from error
        return b"".join(made)


def _lines(path: Path) -> Iterator[str]:
    """Yield a file's lines without their ends."""
    with path.open("rb") as opened:
        raw = io.BufferedReader(_Decompressed(path, opened), 2**20) if path.suffix == ".zst" else opened
        try:
            with io.TextIOWrapper(raw, encoding="utf-8-sig") as text:
                for line in text:
                    if "\0" in line:
                        raise CorpusError(f"corpus file {path} is not text: it holds a zero byte", UNDERSTOOD)
                    yield line.rstrip("\n")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"corpus file {path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} cannot be read",
                "convert it to UTF-8",
            ) from error


def _blocks(lines: Iterator[str]) -> Iterator[str]:
    block: list[str] = []
    for line in lines:
        if line.strip():
            block.append(line)
        elif block:
            yield "\n".join(block)
            block = []
    if block:
        yield "\n".join(block)


def _json_rows(path: Path, wanted: str) -> Iterator[Document]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"line {number} of corpus file {path}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{where} is no JSON object", f"an object with a column {wanted!r} is wanted")
        column = choose_column(sorted(row), wanted, where)
        yield as_document(row[column], f"{column!r} on {where}")


def _parquet_rows(path: Path, wanted: str) -> Iterator[Document]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            column, before = choose_column(file.schema_arrow.names, wanted, f"corpus file {path}"), 0
            for batch in file.iter_batches(_ROWS, columns=[column]):
                for row, value in enumerate(batch.column(0).to_pylist(), start=before + 1):
                    yield as_document(value, f"{column!r} in row {row} of corpus file {path}")
                before += len(batch)
    except ArrowException as error:
        told = str(error).partition("\n")[0]
        raise CorpusError(f"{path} cannot be read as parquet: {told}", "fetch or make it again") from error


def _token_rows(path: Path) -> Iterator[Document]:
    """Yield the rows of an array of token ids; those of one document together, where the file says which they are."""
    try:
        file = ArrayFile.open(path)
    except DataFolderError as error:
        raise CorpusError(f"corpus {error.problem}", "fetch or make it again") from error
    name = choose_column(
        sorted(file.specs), TOKEN_COLUMNS[0] if TOKEN_COLUMNS[0] in file.specs else "tokens", str(path)
    )
    n, *width = file.specs[name].shape
    if len(width) != 1 or np.dtype(file.specs[name].dtype).kind != "i":
        raise CorpusError(f"{name!r} of {path} is no table of token ids", "int [windows, tokens] is wanted")
    first = int(file.metadata.get("has_bos") == "true")
    pending, of_pending = [], -1
    for start in range(0, n, _ROWS):
        rows = file.rows(name, start, min(start + _ROWS, n))[:, first:]
        numbers = range(start, start + len(rows))
        if "documents" in file.specs:
            numbers = file.rows("documents", start, start + len(rows)).tolist()
        for number, row in zip(numbers, rows, strict=True):
            if number != of_pending and pending:
                yield np.concatenate(pending)
                pending = []
            of_pending = number
            pending.append(row)
    if pending:
        yield np.concatenate(pending)
