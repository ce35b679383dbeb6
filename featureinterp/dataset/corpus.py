"""Where text comes from: documents by the name or the path of a corpus.

Understood are `python-docs` (the documentation inside the running Python), a `.txt` file, a `.jsonl` file with one
object per line and its text under `text`, and a folder of such files, read in the order of their names.

Trap: a `.txt` file is *not* one document. Only the beginning of each document is used (see `windows`), so a book in
one file would give a handful of sentences: its blank-line-separated blocks are the documents.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from pathlib import Path

from featureinterp.dataset.python_docs import python_documentation
from featureinterp.errors import CorpusError

PYTHON_DOCS = "python-docs"
_SUFFIXES = (".jsonl", ".txt")
_UNDERSTOOD = f"give '{PYTHON_DOCS}', or the path of a .txt file, a .jsonl file, or a folder of them"


def read_documents(dataset_name: str) -> Iterator[str]:
    """Yield the documents of a corpus in a fixed order; blank ones are passed over.

    Args:
        dataset_name: `python-docs`, or the path of a `.txt` file (a document per blank-line-separated block), a
            `.jsonl` file (a document per line, under `text`), or a folder that holds such files at any depth.

    Raises:
        CorpusError: if there is no such corpus, it is empty, it is not UTF-8 text, or a line of a `.jsonl` file is no
            JSON object with a string under `text`. What lies in the files is found out while they are read.
    """
    if dataset_name == PYTHON_DOCS:
        return python_documentation()
    return _read_files(dataset_name, corpus_files(dataset_name))


def corpus_files(dataset_name: str) -> tuple[Path, ...]:
    """Return the files of a corpus given by its path, in the order in which they are read.

    Raises:
        CorpusError: if there is no such path, or no file that can be read as text.
    """
    path = Path(dataset_name)
    if path.is_dir():
        files = tuple(sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file()))
        if not files:
            raise CorpusError(f"corpus folder {path} holds no .txt or .jsonl file", _UNDERSTOOD)
        return files
    if not path.exists():
        raise CorpusError(f"there is no corpus {dataset_name!r}", _UNDERSTOOD)
    if path.suffix not in _SUFFIXES:
        raise CorpusError(f"corpus file {path} is neither .txt nor .jsonl", _UNDERSTOOD)
    return (path,)


def corpus_fingerprint(dataset_name: str) -> str:
    """Return what decides a corpus' text: the Python version for `python-docs`, else a SHA-256 over its files.

    Raises:
        CorpusError: if there is no such corpus or a file cannot be read.
    """
    if dataset_name == PYTHON_DOCS:
        return f"Python {platform.python_version()}"
    digest = hashlib.sha256()
    for path in corpus_files(dataset_name):
        try:
            with path.open("rb") as file:
                while chunk := file.read(2**20):
                    digest.update(chunk)
        except OSError as error:
            raise CorpusError(f"corpus file {path} cannot be read: {error.strerror}") from error
    return f"sha256 {digest.hexdigest()}"


def _read_files(dataset_name: str, files: tuple[Path, ...]) -> Iterator[str]:
    empty = True
    for path in files:
        lines = _lines(path)
        for document in _texts(path, lines) if path.suffix == ".jsonl" else _blocks(lines):
            if document.strip():
                empty = False
                yield document
    if empty:
        raise CorpusError(f"corpus {dataset_name!r} is empty", "it needs at least one document with text")


def _lines(path: Path) -> Iterator[str]:
    """Yield a file's lines without their ends."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if "\0" in line:
                    raise CorpusError(f"corpus file {path} is not text: it holds a zero byte", _UNDERSTOOD)
                yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"corpus file {path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} cannot be read",
            "convert it to UTF-8",
        ) from error
    except OSError as error:
        raise CorpusError(f"corpus file {path} cannot be read: {error.strerror}") from error


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


def _texts(path: Path, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"line {number} of corpus file {path} is not JSON: {error}") from error
        if not isinstance(row, dict) or "text" not in row:
            seen = f"the columns {', '.join(sorted(row)) or 'none'}" if isinstance(row, dict) else "no object"
            raise CorpusError(f"line {number} of corpus file {path} has no column 'text'", f"it has {seen}")
        if not isinstance(row["text"], str):
            raise CorpusError(
                f"'text' on line {number} of corpus file {path} is {json.dumps(row['text'])[:40]}", "a string is wanted"
            )
        yield row["text"]
