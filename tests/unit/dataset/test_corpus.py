from __future__ import annotations

import json
import pydoc_data.topics
from pathlib import Path

import pytest

from featureinterp.dataset.corpus import corpus_fingerprint, read_documents
from featureinterp.errors import CorpusError


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_the_default_corpus_is_the_running_pythons_own_documentation():
    documents = read_documents("python-docs")
    topics = pydoc_data.topics.topics
    assert next(documents) == topics[min(topics)]
    assert sum(1 for _ in documents) > 5000


def test_the_blocks_of_a_text_file_are_its_documents(tmp_path: Path):
    path = write(tmp_path / "a.txt", "one\ntwo\n\n  \n\r\nthree\r\nfour\n\n")
    assert list(read_documents(path)) == ["one\ntwo", "three\nfour"]


def test_the_lines_of_a_jsonl_file_are_its_documents(tmp_path: Path):
    rows = [{"text": "one\n\ntwo", "meta": 1}, {"text": " "}, {"text": "three"}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(row) for row in rows))
    assert list(read_documents(path)) == ["one\n\ntwo", "three"]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path):
    write(tmp_path / "b.txt", "second")
    write(tmp_path / "a" / "z.jsonl", '{"text": "first"}')
    write(tmp_path / "c.md", "not read")
    assert list(read_documents(str(tmp_path))) == ["first", "second"]


def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    assert list(read_documents(write(tmp_path / "a.txt", b"\xef\xbb\xbfhello"))) == ["hello"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", "", "is empty"),
        ("blank.txt", "\n \n\t\n", "is empty"),
        ("empty.jsonl", "", "is empty"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\x00", "not UTF-8 text: byte 0x89"),
        ("latin.txt", "café".encode("latin-1"), "not UTF-8 text: byte 0xe9"),
        ("zeros.txt", b"text\x00more", "holds a zero byte"),
        ("data.csv", "a,b", "neither .txt nor .jsonl"),
        ("bad.jsonl", '{"text": "x"}\n{"text"', r"line 2 of corpus file .*bad\.jsonl is not JSON"),
        (
            "other.jsonl",
            '{"text": "x"}\n\n{"body": "y"}',
            r"line 3 of corpus file .* has no column 'text' \(it has the",
        ),
        ("list.jsonl", "[1]", "line 1 of corpus file .* has no column 'text'"),
        ("number.jsonl", '{"text": 3}', "'text' on line 1 of corpus file .* is 3"),
    ],
)
def test_what_is_no_corpus_is_refused_in_one_sentence(tmp_path: Path, name: str, content: str | bytes, message: str):
    with pytest.raises(CorpusError, match=message):
        list(read_documents(write(tmp_path / name, content)))


def test_a_missing_corpus_is_refused_before_reading(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"there is no corpus 'monology/pile-uncopyrighted' \(give 'python-docs'"):
        read_documents("monology/pile-uncopyrighted")
    with pytest.raises(CorpusError, match=r"holds no \.txt or \.jsonl"):
        read_documents(str(tmp_path))


def test_a_fingerprint_changes_with_the_text_and_not_with_the_path(tmp_path: Path):
    one = write(tmp_path / "one.txt", "hello")
    same = write(tmp_path / "folder" / "same.txt", "hello")
    other = write(tmp_path / "other.txt", "hellp")
    assert corpus_fingerprint(one) == corpus_fingerprint(same) != corpus_fingerprint(other)
    assert corpus_fingerprint("python-docs").startswith("Python 3.")
