"""Ledger: cache of all language model answers, in one SQLite file.

An answer is written before it is used, under the hash of the whole request and the sample's number; the first one
stays, even if two programs make the same request at once. The file has a write-ahead log with normal sync: `kill -9`
loses no written answer, a power failure at most the last ones, and neither damages the file. Deleting it only means
paying again. Only its owner can read it.
"""

from __future__ import annotations

import hashlib
import logging
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from featureinterp import codec
from featureinterp.errors import DataFolderError, StorageError
from featureinterp.sqlite_file import DatabaseKind, SqliteFile

DEFAULT_PATH = Path("cache") / "llm.sqlite"
LEDGER = DatabaseKind(
    noun="ledger",
    application_id=0x46494C4C,  # "FILL"
    version=1,
    tables="""
        CREATE TABLE request (hash BLOB PRIMARY KEY, asked BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE answer (
            hash BLOB NOT NULL,
            sample INTEGER NOT NULL,
            answer BLOB NOT NULL,
            PRIMARY KEY (hash, sample)
        ) WITHOUT ROWID""",
    kept="stored answers are kept",
    other_file="name another file; a damaged ledger can be removed, its answers are then paid for again",
    other_version="name another file, or remove it: its answers are then paid for again",
)
"""The file of the answers."""

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Ledger:
    """Answer cache; a context manager that closes the file."""

    def __init__(self, path: Path = DEFAULT_PATH) -> None:
        """Open the ledger, or create it.

        Raises:
            DataFolderError: if the file is something else, damaged, or of another version.
            StorageError: if it cannot be opened or created.
        """
        self.path = path
        self._file = SqliteFile.create(path, LEDGER, across_threads=True, folder_mode=0o700)
        try:
            self._file.use_write_ahead_log()
        except (DataFolderError, StorageError):
            self.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._file.read("SELECT count(*) FROM answer")[0][0]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def get(self, asked: bytes, sample: int, answer_type: type[Answer]) -> Answer | None:
        """Return a cached answer, or None.

        Args:
            asked: the whole request, as bytes that are equal for equal requests.
            sample: number of the answer to this request.
            answer_type: type of the stored answer, a frozen dataclass.

        A damaged answer is removed with a warning, as if it had never been stored.

        Raises:
            StorageError: if the file cannot be read or written.
        """
        key = (_hash(asked), sample)
        rows = self._file.read("SELECT answer FROM answer WHERE hash = ? AND sample = ?", key)
        if not rows:
            return None
        where = f"an answer in {self.path}"
        try:
            return codec.decode(codec.decompress(rows[0][0], where), answer_type, where)
        except DataFolderError as error:
            logger.warning("an answer in %s is damaged and requested again: %s", self.path, error)
        self._file.write("DELETE FROM answer WHERE hash = ? AND sample = ?", [key])
        return None

    def put(self, asked: bytes, sample: int, answer: Answer) -> Answer:
        """Store an answer in one transaction and return it, or the one stored earlier.

        Raises:
            StorageError: if it cannot be written.
        """
        key, body = _hash(asked), zlib.compress(codec.encode(answer), level=1)
        with self._file.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO request VALUES (?, ?)", (key, zlib.compress(asked, level=1)))
            added = connection.execute("INSERT OR IGNORE INTO answer VALUES (?, ?, ?)", (key, sample, body))
        if added.rowcount:
            return answer
        return self.get(asked, sample, type(answer)) or answer

    def requests(self) -> Iterator[bytes]:
        """Yield every request with a cached answer; damaged ones are left out."""
        for (asked,) in self._file.stream("SELECT asked FROM request"):
            with suppress(DataFolderError):
                yield codec.decompress(asked, f"a request in {self.path}")


def _hash(asked: bytes) -> bytes:
    return hashlib.sha256(asked).digest()
