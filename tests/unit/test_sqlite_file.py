"""SQLite files of ours: their marks, who may read them, and what becomes of locks, damage and failed writes."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from featureinterp import sqlite_file
from featureinterp.errors import DataFolderError, FeatureInterpError, StorageError
from featureinterp.sqlite_file import DatabaseKind, SqliteFile

NOTES = DatabaseKind(
    noun="notebook",
    application_id=0x4E4F5445,
    version=3,
    tables="CREATE TABLE note (number INTEGER PRIMARY KEY, body TEXT); CREATE TABLE owner (name TEXT);",
    kept="notes are kept",
    other_file="name another file",
    other_version="use an older program",
)
INSERT = "INSERT INTO note VALUES (?, ?)"
ALL = "SELECT number, body FROM note ORDER BY number"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite"


def header(path: Path) -> tuple[int, int]:
    """The two marks, read from the bytes that SQLite's file format assigns to them."""
    whole = path.read_bytes()
    return int.from_bytes(whole[68:72], "big"), int.from_bytes(whole[60:64], "big")


def test_what_is_written_is_read_again_from_a_file_with_its_marks(path):
    with SqliteFile.create(path, NOTES) as notes:
        notes.write(INSERT, [(1, "a"), (2, "b")])
        assert notes.connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert notes.connection.execute("PRAGMA synchronous").fetchone() == (2,), "full"
    assert header(path) == (0x4E4F5445, 3)
    with SqliteFile.open(path, NOTES) as notes:
        assert notes.read(ALL) == [(1, "a"), (2, "b")]
        assert notes.read(ALL.replace("ORDER", "WHERE number = ? ORDER"), [2]) == [(2, "b")]


def test_first_rows_are_written_once(path):
    for name in ("one", "two"):
        with SqliteFile.create(
            path, NOTES, lambda made, name=name: made.execute(f"INSERT INTO owner VALUES ('{name}')")
        ):
            pass
    with SqliteFile.open(path, NOTES) as notes:
        assert notes.read("SELECT name FROM owner") == [("one",)]


def test_first_rows_that_fail_leave_an_empty_file(path):
    with pytest.raises(StorageError, match="no such table: nowhere"):
        SqliteFile.create(path, NOTES, lambda made: made.execute("INSERT INTO nowhere VALUES (1)"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    SqliteFile.create(path, NOTES).close()


def _create(path: Path, who: int, start) -> None:
    start.wait()
    with SqliteFile.create(path, NOTES, lambda made: made.execute("INSERT INTO owner VALUES (?)", [who])) as notes:
        notes.write(INSERT, [(100 * who + number, "") for number in range(20)])


def test_programs_that_create_it_at_once_agree_on_one_first_row(path):
    context = multiprocessing.get_context("fork")
    start = context.Event()
    workers = [context.Process(target=_create, args=(path, who, start)) for who in range(6)]
    for worker in workers:
        worker.start()
    start.set()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    with SqliteFile.open(path, NOTES) as notes:
        assert notes.read("SELECT count(*) FROM owner") == [(1,)]
        assert len(notes.read(ALL)) == 120


@pytest.mark.parametrize("opened", [SqliteFile.open, SqliteFile.create])
def test_another_programs_file_and_another_version_are_refused_and_left_alone(path, opened):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photo (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(DataFolderError, match="is not a notebook of featureinterp: it is another program's database"):
        opened(path, NOTES)
    assert path.read_bytes() == before
    path.unlink()
    SqliteFile.create(path, NOTES).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 4")
    with pytest.raises(DataFolderError, match=r"a notebook of version 4, .* reads version 3 \(use an older program\)"):
        opened(path, NOTES)


@pytest.mark.parametrize("opened", [SqliteFile.open, SqliteFile.create])
def test_what_is_no_database_is_refused_and_left_alone(path, opened):
    path.write_text("my notes, " * 200)
    with pytest.raises(DataFolderError, match=r"is not a notebook .* not a database \(name another file\)"):
        opened(path, NOTES)
    assert path.read_text() == "my notes, " * 200


def test_a_folder_and_a_missing_file_cannot_be_opened(tmp_path, path):
    with pytest.raises(StorageError, match="cannot be opened: it is a folder; expected a regular file"):
        SqliteFile.create(tmp_path, NOTES)
    with pytest.raises(StorageError, match="cannot be opened: No such file"):
        SqliteFile.open(path, NOTES)
    assert not path.exists()


def test_a_transaction_that_fails_changes_nothing(path):
    with SqliteFile.create(path, NOTES) as notes:
        notes.write(INSERT, [(1, "a")])
        with pytest.raises(DataFolderError, match="UNIQUE"):
            notes.write(INSERT, [(2, "b"), (1, "again")])
        with pytest.raises(ZeroDivisionError), notes.transaction() as connection:
            connection.execute(INSERT, (3, "c"))
            raise ZeroDivisionError
        assert notes.read(ALL) == [(1, "a")]


@pytest.mark.parametrize("ahead", [False, True])
def test_a_locked_file_is_a_storage_error_and_what_is_stored_stays(path, monkeypatch, ahead):
    monkeypatch.setattr(sqlite_file, "_LOCK_TIMEOUT_S", 0.05)
    with SqliteFile.create(path, NOTES) as notes, closing(sqlite3.connect(path)) as other:
        notes.write(INSERT, [(1, "a")])
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="database is locked; notes are kept"):
            notes.use_write_ahead_log() if ahead else notes.write(INSERT, [(2, "b")])
        other.rollback()
        assert notes.read(ALL) == [(1, "a")]


def test_a_write_ahead_log_is_synced_normally_and_private(path):
    with SqliteFile.create(path, NOTES, folder_mode=0o700) as notes:
        notes.use_write_ahead_log()
        notes.write(INSERT, [(1, "a")])
        assert notes.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert notes.connection.execute("PRAGMA synchronous").fetchone() == (1,), "normal"
        modes = {each.name: oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()}
    assert modes == dict.fromkeys(("notes.sqlite", "notes.sqlite-wal", "notes.sqlite-shm"), "0o600")


def test_rows_are_streamed_while_the_reader_writes_elsewhere(path, tmp_path):
    with SqliteFile.create(path, NOTES) as notes, SqliteFile.create(tmp_path / "copy", NOTES) as copy:
        notes.write(INSERT, [(number, "x") for number in range(5)])
        copy.write(INSERT, notes.stream(ALL))
        assert copy.read(ALL) == notes.read(ALL)


@pytest.mark.parametrize("seed", range(30))
def test_damage_anywhere_is_an_error_of_ours_or_costs_no_more_than_rows(path, seed):
    bits = random.Random(seed)
    with SqliteFile.create(path, NOTES) as notes:
        notes.write(INSERT, [(number, f"{number} " * 200) for number in range(60)])
    whole = bytearray(path.read_bytes())
    at = bits.randrange(len(whole))
    whole[at : at + 16] = bits.randbytes(len(whole[at : at + 16]))
    path.write_bytes(whole)
    try:
        with SqliteFile.open(path, NOTES) as notes:
            notes.read(ALL)
            notes.write("INSERT OR REPLACE INTO note VALUES (?, ?)", [(1000, "new")])
            assert notes.read("SELECT body FROM note WHERE number = 1000") == [("new",)]
    except FeatureInterpError as error:
        assert str(path) in str(error)
