"""Ledger: cache of all language model answers, in one SQLite file.

An answer is written before it is used, under the hash of the whole request and the sample's number; the first one
stays, also where two programs ask at once. The file is a write-ahead log with normal sync: `kill -9` loses nothing
that was written, a power failure at most the last answers, and neither damages it. Deleting it loses nothing but money.
Its owner alone can read it.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from featureinterp import codec
from featureinterp.errors import DataFolderError, StorageError
from featureinterp.files import keep_private

DEFAULT_PATH = Path("cache") / "llm.sqlite"
SCHEMA_VERSION = 1
_WAIT_S = 30.0  # for a lock that another program holds
_APPLICATION_ID = 0x46494C4C  # "FILL" in SQLite's header: tells a ledger from any other database

_TABLES = """
CREATE TABLE request (hash BLOB PRIMARY KEY, asked BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE answer (
    hash BLOB NOT NULL,
    sample INTEGER NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (hash, sample)
) WITHOUT ROWID;
"""

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class Ledger:
    """Answer cache; a context manager that closes the file."""

    def __init__(self, path: Path = DEFAULT_PATH) -> None:
        """Open the ledger, or create it.

        Raises:
            DataFolderError: if the file is something else, damaged, or of another version.
            StorageError: if it cannot be opened or made.
        """
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            keep_private(path)
            self._connection = sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False)
        except (OSError, sqlite3.OperationalError) as error:
            raise StorageError(f"{path} cannot be opened: {error}", "check the folder and its permissions") from error
        try:
            self._prepare()
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
        with self._errors():
            return self._connection.execute("SELECT count(*) FROM answer").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, asked: bytes, sample: int, answer_type: type[Answer]) -> Answer | None:
        """Return a cached answer, or None.

        Args:
            asked: the whole request, as bytes that are equal for equal requests.
            sample: which of its answers.
            answer_type: what is stored: a frozen dataclass.

        A damaged answer is removed with a warning, as if it had never been stored.

        Raises:
            StorageError: if the file cannot be read or written.
        """
        with self._errors():
            row = self._connection.execute(
                "SELECT answer FROM answer WHERE hash = ? AND sample = ?", (_hash(asked), sample)
            ).fetchone()
        if row is None:
            return None
        where = f"an answer in {self.path}"
        try:
            return codec.decode(codec.decompress(row[0], where), answer_type, where)
        except DataFolderError as error:
            logger.warning("an answer in %s is damaged and asked for again: %s", self.path, error)
        with self._errors(), self._connection:
            self._connection.execute("DELETE FROM answer WHERE hash = ? AND sample = ?", (_hash(asked), sample))
        return None

    def put(self, asked: bytes, sample: int, answer: Answer) -> Answer:
        """Store an answer in one transaction and return it, or the one stored earlier.

        Raises:
            StorageError: if it cannot be written.
        """
        key, body = _hash(asked), zlib.compress(codec.encode(answer), level=1)
        with self._errors(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO request VALUES (?, ?)", (key, zlib.compress(asked, level=1))
            )
            added = self._connection.execute("INSERT OR IGNORE INTO answer VALUES (?, ?, ?)", (key, sample, body))
        if added.rowcount:
            return answer
        return self.get(asked, sample, type(answer)) or answer

    def requests(self) -> Iterator[bytes]:
        """Yield every request with a cached answer; damaged ones are left out."""
        with self._errors():
            for (asked,) in self._connection.execute("SELECT asked FROM request"):
                with suppress(DataFolderError):
                    yield codec.decompress(asked, f"a request in {self.path}")

    def _prepare(self) -> None:
        with self._errors():
            mode = self._write_ahead()
            # Without a write-ahead log (some network folders have none) only a full sync keeps the file whole.
            self._connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")  # two programs may begin it at once
                if self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                    self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION_ID:
            raise DataFolderError(f"{self.path} is another program's database", "name another file for the ledger")
        if version != SCHEMA_VERSION:
            raise DataFolderError(
                f"{self.path} is a ledger of version {version}, this featureinterp reads version {SCHEMA_VERSION}",
                "name another file, or remove it: its answers are then paid for again",
            )

    def _write_ahead(self) -> str:
        """Switch to a write-ahead log and return the journal's mode.

        SQLite gives its locks' time limit no say here: it refuses at once while another program makes the same switch.
        """
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                return self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert SQLite errors: a full or read-only disk, a locked file, no database."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self.path} cannot be read or written: {error}", "make room or check the permissions"
            ) from error
        except sqlite3.DatabaseError as error:
            raise DataFolderError(
                f"{self.path} is no ledger: {error}", "name another file, or remove it: its answers are paid for again"
            ) from error


def _hash(asked: bytes) -> bytes:
    return hashlib.sha256(asked).digest()
