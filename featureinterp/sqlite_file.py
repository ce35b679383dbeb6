"""SQLite files of ours: marks in the header, modes that keep them private, and SQLite's errors as ours.

The run store and the ledger of answers are such files. Each kind has an application id and a version in SQLite's
header, so another program's database and a file of another version are errors, never overwritten.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from featureinterp.errors import DataFolderError, FeatureInterpError, StorageError
from featureinterp.files import check_regular

_LOCK_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class DatabaseKind:
    """Marks and tables of one kind of file, and its words in errors."""

    noun: str
    """Kind of the file for errors, such as `run`."""
    application_id: int
    """Distinguishes the kind from any other database, in SQLite's header."""
    version: int
    """Version of the tables, in SQLite's header."""
    tables: str
    """SQL statements that create the tables."""
    kept: str
    """Effect of a failed write, such as `finished features are kept`."""
    other_file: str
    """Hint if the file is something else, or damaged."""
    other_version: str
    """Hint if the file has another version."""

    @property
    def statements(self) -> tuple[str, ...]:
        """SQL statements that turn an empty file into one of this kind."""
        tables = filter(None, map(str.strip, self.tables.split(";")))
        return (*tables, f"PRAGMA application_id = {self.application_id}", f"PRAGMA user_version = {self.version}")


class SqliteFile:
    """One open file; a context manager that closes it.

    Every transaction is written with a rollback journal and a full sync, unless `use_write_ahead_log` is called.
    """

    def __init__(self, path: Path, kind: DatabaseKind, across_threads: bool = False) -> None:
        """Connect to an existing file without looking at its marks (see `open`).

        Args:
            path: the file.
            kind: expected kind.
            across_threads: whether threads share the connection; they must not use it at the same time.

        Raises:
            StorageError: if it cannot be opened, or is a folder, a pipe or a device.
            DataFolderError: if it is not a database.
        """
        self.path = path
        self._kind = kind
        try:
            check_regular(path)
            self.connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, check_same_thread=not across_threads)
        except (OSError, sqlite3.OperationalError) as error:
            raise _unopened(path, error) from error
        self.connection.text_factory = lambda text: text.decode(errors="replace")  # damaged text affects only its row
        with self._closed_on_error(), self.errors():
            self.connection.execute("PRAGMA synchronous = FULL")

    @classmethod
    def open(cls, path: Path, kind: DatabaseKind) -> SqliteFile:
        """Open an existing file.

        Raises:
            StorageError: if it cannot be opened.
            DataFolderError: if it is something else, damaged, or of another version.
        """
        opened = cls(path, kind)
        with opened._closed_on_error():
            opened._check_marks()
        return opened

    @classmethod
    def create(
        cls,
        path: Path,
        kind: DatabaseKind,
        fill: Callable[[sqlite3.Connection], object] | None = None,
        across_threads: bool = False,
        folder_mode: int = 0o777,
    ) -> SqliteFile:
        """Open a file, or create it and missing folders; only its owner can read it afterwards.

        Args:
            path: the file.
            kind: expected kind.
            fill: writes the first rows, in the transaction that creates the tables.
            across_threads: whether threads share the connection; they must not use it at the same time.
            folder_mode: permissions of the folder, if it is created.

        Raises:
            StorageError, DataFolderError: as `open`.
        """
        try:
            path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the folder {path.parent} cannot be made: {error.strerror}", "name another folder"
            ) from error
        try:
            keep_private(path)
        except OSError as error:
            raise _unopened(path, error) from error
        opened = cls(path, kind, across_threads)
        with opened._closed_on_error():
            if opened._is_empty():
                opened._create_tables(fill)
            opened._check_marks()
        return opened

    def __enter__(self) -> SqliteFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def read(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises:
            StorageError: if the file cannot be read.
            DataFolderError: if it is damaged.
        """
        return list(self.stream(statement, values))

    def stream(self, statement: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, one in memory at a time; raises what `read` raises."""
        with self.errors():
            yield from self.connection.execute(statement, values)

    def write(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement once for each row of values, in one transaction; raises what `transaction` raises."""
        with self.transaction() as connection:
            connection.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; commit when the block succeeds, roll back otherwise.

        Raises:
            StorageError: if the file cannot be written; it is unchanged then.
            DataFolderError: if it is damaged.
        """
        with self.errors(), self.connection:
            yield self.connection

    def use_write_ahead_log(self) -> None:
        """Keep a write-ahead log with normal sync: a power failure may lose the last transactions, never the file.

        If the file system has no such log (some network folders), the rollback journal and full sync remain.

        Raises:
            StorageError: if another program keeps the file locked.
        """
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        with self.errors():
            while True:  # SQLite does not wait for this lock: it fails at once while another program makes the switch
                try:
                    [mode] = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
                    break
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
            if mode == "wal":
                self.connection.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert SQLite's errors: a full or read-only disk, a locked file, no database, damage.

        Raises:
            StorageError: if the file cannot be read or written now.
            DataFolderError: if it is not a database, or damaged.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"{self.path} cannot be read or written: {error}; {self._kind.kept}",
                "free space or check the permissions, then repeat the command",
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._other_file(str(error)) from error

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except FeatureInterpError:
            self.close()
            raise

    def _is_empty(self) -> bool:
        return self.read("SELECT count(*) FROM sqlite_master") == [(0,)]

    def _create_tables(self, fill: Callable[[sqlite3.Connection], object] | None) -> None:
        with self.transaction() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if not self._is_empty():
                return  # another program has just created them
            for statement in self._kind.statements:
                connection.execute(statement)
            if fill is not None:
                fill(connection)

    def _check_marks(self) -> None:
        [[application]], [[version]] = self.read("PRAGMA application_id"), self.read("PRAGMA user_version")
        if application != self._kind.application_id:
            raise self._other_file("it is another program's database")
        if version != self._kind.version:
            raise DataFolderError(
                f"{self.path} is a {self._kind.noun} of version {version}, "
                f"this featureinterp reads version {self._kind.version}",
                self._kind.other_version,
            )

    def _other_file(self, reason: str) -> DataFolderError:
        return DataFolderError(
            f"{self.path} is not a {self._kind.noun} of featureinterp: {reason}", self._kind.other_file
        )


def keep_private(path: Path) -> None:
    """Restrict a database and SQLite's side files to the owner; a missing file is created.

    If the file system or another owner does not allow it, permissions are unchanged.

    Raises:
        OSError: if it cannot be created.
    """
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    for suffix in ("", "-wal", "-shm", "-journal"):
        each = path.with_name(path.name + suffix)
        with suppress(OSError):
            mode = each.stat().st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                each.chmod(stat.S_IMODE(mode) & 0o700)


def _unopened(path: Path, error: OSError | sqlite3.Error) -> StorageError:
    reason = error.strerror if isinstance(error, OSError) else error
    return StorageError(f"{path} cannot be opened: {reason}", "check the folder and its permissions")
