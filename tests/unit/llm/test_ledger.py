"""The ledger: what is stored stays, once, whoever writes it and whatever happens to the process."""

import multiprocessing
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from featureinterp.chat import ChatAnswer, PromptReading, PromptToken, Usage
from featureinterp.errors import DataFolderError, StorageError
from featureinterp.llm.api.ledger import Ledger

ANSWER = ChatAnswer("héllo\n", "length", Usage(1, 10, 2, 0.003), ({"a": -0.1, "\t": -3.5},), "vendor/model")


def test_an_answer_comes_back_as_it_was_and_only_for_its_request_and_sample(tmp_path) -> None:
    path = tmp_path / "deep" / "llm.sqlite"
    with Ledger(path) as ledger:
        assert ledger.put(b"asked", 0, ANSWER) == ANSWER
    with Ledger(path) as ledger:
        assert ledger.get(b"asked", 0, ChatAnswer) == ANSWER
        assert ledger.get(b"asked", 1, ChatAnswer) is None
        assert ledger.get(b"other", 0, ChatAnswer) is None
        assert len(ledger) == 1
        assert list(ledger.requests()) == [b"asked"]


def test_a_reading_of_a_prompt_comes_back_too(tmp_path) -> None:
    reading = PromptReading((PromptToken("a", 0, {}), PromptToken("\t", 1, {"\t": -1.0})), Usage(1, 2), "m")
    with Ledger(tmp_path / "l") as ledger:
        ledger.put(b"asked", 0, reading)
        assert ledger.get(b"asked", 0, PromptReading) == reading


def test_the_first_answer_stays_and_is_the_one_that_is_used(tmp_path) -> None:
    with Ledger(tmp_path / "l") as one, Ledger(tmp_path / "l") as other:
        one.put(b"asked", 0, ChatAnswer("first"))
        assert other.put(b"asked", 0, ChatAnswer("second")).text == "first"
        assert one.get(b"asked", 0, ChatAnswer) == ChatAnswer("first")


def _begin_and_write(path: Path, who: int, start) -> None:
    start.wait()
    with Ledger(path) as ledger:
        for number in range(20):
            ledger.put(b"asked", number, ChatAnswer(f"of {who}"))


def test_programs_that_begin_it_at_once_do_not_disturb_each_other(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Event()
    workers = [context.Process(target=_begin_and_write, args=(tmp_path / "l", who, start)) for who in range(6)]
    for worker in workers:
        worker.start()
    start.set()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    with Ledger(tmp_path / "l") as ledger:
        assert len(ledger) == 20


def test_another_programs_database_is_left_alone(tmp_path) -> None:
    path = tmp_path / "photos.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photo (name TEXT)")
    connection.close()
    with pytest.raises(DataFolderError, match="another program's database"):
        Ledger(path)
    with sqlite3.connect(path) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["photo"]
    connection.close()


def test_what_is_no_database_is_told(tmp_path) -> None:
    path = tmp_path / "llm.sqlite"
    path.write_text("not a database at all " * 100)
    with pytest.raises(DataFolderError, match="is not a ledger of featureinterp: file is not a database"):
        Ledger(path)
    assert path.read_text().startswith("not a database")


def test_another_version_is_refused(tmp_path) -> None:
    path = tmp_path / "llm.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(DataFolderError, match="version 9"):
        Ledger(path)


@pytest.mark.parametrize("body", [b"\0", None, "text", 7, b"other"])
def test_a_damaged_answer_is_asked_for_again(tmp_path, caplog, body) -> None:
    path = tmp_path / "llm.sqlite"
    with Ledger(path) as ledger:
        ledger.put(b"asked", 0, ANSWER)
        ledger.put(b"asked", 1, ANSWER)
    if body == b"other":  # a whole one, of another kind
        body = zlib.compress(b'{"schema": 1, "type": "Score", "data": {"value": 1.0}}')
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE answer SET answer = ? WHERE sample = 0", ("" if body is None else body,))
        connection.execute("UPDATE request SET asked = ?", (body or "",))
    connection.close()
    with Ledger(path) as ledger:
        assert ledger.get(b"asked", 0, ChatAnswer) is None and "is damaged and requested again" in caplog.text
        assert ledger.get(b"asked", 1, ChatAnswer) == ANSWER
        ledger.put(b"asked", 0, ANSWER)
        assert ledger.get(b"asked", 0, ChatAnswer) == ANSWER
        list(ledger.requests())


def test_a_place_where_no_file_can_be_is_told(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the folder .*file cannot be made: File exists"):
        Ledger(tmp_path / "file" / "llm.sqlite")
    with pytest.raises(StorageError, match="cannot be opened"):
        Ledger(tmp_path)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


def test_its_owner_alone_can_read_it_and_what_lies_beside_it(tmp_path) -> None:
    path = tmp_path / "cache" / "llm.sqlite"
    with Ledger(path) as ledger:
        ledger.put(b"asked", 0, ChatAnswer("text"))
        assert modes(path.parent) == dict.fromkeys(("llm.sqlite", "llm.sqlite-wal", "llm.sqlite-shm"), "0o600")
        assert oct(path.parent.stat().st_mode & 0o777) == "0o700"


def test_one_that_others_can_read_is_closed_to_them_when_it_is_opened(tmp_path) -> None:
    path = tmp_path / "llm.sqlite"
    with Ledger(path) as ledger:
        ledger.put(b"asked", 0, ChatAnswer("text"))
    path.chmod(0o644)
    (tmp_path / "link.sqlite").symlink_to(path)
    with Ledger(tmp_path / "link.sqlite") as ledger:
        assert ledger.get(b"asked", 0, ChatAnswer) is not None
    assert oct(path.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("column", [b"", zlib.compress(b"{}")[:-5], "text", 0.5, zlib.compress(b" " * (2**28 + 1))])
def test_what_is_stored_may_be_of_any_type_and_size(tmp_path, column) -> None:
    path = tmp_path / "l"
    with Ledger(path) as ledger:
        ledger.put(b"asked", 0, ANSWER)
        ledger.put(b"other", 0, ANSWER)
    with closing(sqlite3.connect(path)) as connection, connection:
        kept = connection.execute("SELECT hash FROM answer").fetchone()
        connection.execute("UPDATE answer SET answer = ? WHERE hash != ?", (column, *kept))
        connection.execute("UPDATE request SET asked = ? WHERE hash != ?", (column, *kept))
    with Ledger(path) as ledger:
        found = {asked: ledger.get(asked, 0, ChatAnswer) for asked in (b"asked", b"other")}
        [asked] = ledger.requests()
    assert found.pop(asked) == ANSWER
    assert list(found.values()) == [None]
