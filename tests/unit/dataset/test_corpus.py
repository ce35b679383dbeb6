from __future__ import annotations

import gzip
import json
import pydoc_data.topics
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from safetensors.numpy import save_file

from featureinterp.dataset.corpus import local_files
from featureinterp.dataset.corpus.documents import CorpusSpec
from featureinterp.dataset.corpus.open import open_corpus, read_documents
from featureinterp.dataset.corpus.windows import Windows
from featureinterp.errors import CorpusError


def zst(text: str) -> bytes:
    return zstandard.compress(text.encode())


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def documents_of(name: str, **options: str) -> list:
    found = read_documents(open_corpus(CorpusSpec(name, **options)), name)
    return [document if isinstance(document, str) else document.tolist() for document in found]


def corpus_fingerprint(name: str, **options: str) -> str:
    return open_corpus(CorpusSpec(name, **options)).fingerprint()


def test_the_default_corpus_is_the_running_pythons_own_documentation():
    documents = documents_of("python-docs")
    topics = pydoc_data.topics.topics
    assert documents[0] == topics[min(topics)]
    assert len(documents) > 5000


def test_the_blocks_of_a_text_file_are_its_documents(tmp_path: Path):
    path = write(tmp_path / "a.txt", "one\ntwo\n\n  \n\r\nthree\r\nfour\n\n")
    assert documents_of(path) == ["one\ntwo", "three\nfour"]


def test_the_lines_of_a_jsonl_file_are_its_documents(tmp_path: Path):
    rows = [{"text": "one\n\ntwo", "meta": 1}, {"text": " "}, {"text": "three"}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(row) for row in rows))
    assert documents_of(path) == ["one\n\ntwo", "three"]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path):
    write(tmp_path / "b.txt", "second")
    write(tmp_path / "a" / "z.jsonl", '{"text": "first"}')
    write(tmp_path / "c.md", "not read")
    assert documents_of(str(tmp_path)) == ["first", "second"]


def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    assert documents_of(write(tmp_path / "a.txt", b"\xef\xbb\xbfhello")) == ["hello"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", "", "is empty"),
        ("blank.txt", "\n \n\t\n", "is empty"),
        ("empty.jsonl", "", "is empty"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\x00", "not UTF-8 text: byte 0x89"),
        ("latin.txt", "café".encode("latin-1"), "not UTF-8 text: byte 0xe9"),
        ("zeros.txt", b"text\x00more", "holds a zero byte"),
        ("data.csv", "a,b", r"is neither \.txt, \.jsonl \(both also \.gz or \.zst\) or \.parquet nor \.safetensors"),
        ("bad.jsonl", '{"text": "x"}\n{"text"', r"line 2 of corpus file .*bad\.jsonl is not JSON"),
        (
            "other.jsonl",
            '{"text": "x"}\n\n{"body": "y"}',
            r"line 3 of corpus file .* has no column 'text' \(it has the",
        ),
        ("list.jsonl", "[1]", "line 1 of corpus file .* is not a JSON object"),
        ("number.jsonl", '{"text": 3}', "'text' on line 1 of corpus file .* is '3' .*a text or a list of token ids"),
        ("floats.jsonl", '{"input_ids": [1.5]}', "'input_ids' on line 1 of corpus file .* is"),
        ("nested.jsonl", '{"input_ids": [[1], [2]]}', "'input_ids' on line 1 of corpus file .* is"),
        ("cut.jsonl.zst", zst('{"text": "some words"}\n' * 99)[:-5], r"cut\.jsonl\.zst is cut short"),
        ("not.jsonl.zst", '{"text": "x"}', r"not\.jsonl\.zst is damaged: "),
        ("empty.jsonl.zst", zst("\n"), "is empty"),
        ("not.parquet", b"PAR1 and no more PAR1", r"not\.parquet cannot be read as parquet: "),
        ("short.safetensors", b"\x10", r"short\.safetensors cannot be read as arrays"),
    ],
)
def test_what_is_no_corpus_is_refused_in_one_sentence(tmp_path: Path, name: str, content: str | bytes, message: str):
    with pytest.raises(CorpusError, match=message):
        documents_of(write(tmp_path / name, content))


def test_a_missing_corpus_is_refused_before_reading(tmp_path: Path):
    with pytest.raises(
        CorpusError, match=r"there is no corpus 'wiki\.txt' \(give 'python-docs', .* or owner/name of a"
    ):
        open_corpus(CorpusSpec("wiki.txt"))
    with pytest.raises(CorpusError, match=r"there is no corpus 'data/wiki\.parquet'"):
        open_corpus(CorpusSpec("data/wiki.parquet"))
    with pytest.raises(CorpusError, match=r"holds no \.txt, \.jsonl \(both also \.gz or \.zst\) or \.parquet file"):
        open_corpus(CorpusSpec(str(tmp_path)))


def test_a_fingerprint_changes_with_the_text_and_not_with_the_path(tmp_path: Path):
    one = write(tmp_path / "one.txt", "hello")
    same = write(tmp_path / "folder" / "same.txt", "hello")
    other = write(tmp_path / "other.txt", "hellp")
    assert corpus_fingerprint(one) == corpus_fingerprint(same) != corpus_fingerprint(other)
    assert corpus_fingerprint("python-docs").startswith("Python 3.")


def test_a_compressed_file_may_be_made_of_several_frames(tmp_path: Path):
    lines = [json.dumps({"text": f"document {n} " + "word " * n}) + "\n" for n in range(2000)]
    frames = zst("".join(lines[:700])) + zst("") + zst("".join(lines[700:]))
    assert documents_of(write(tmp_path / "a.jsonl.zst", frames)) == [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lambda content: content])
@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_a_compressed_file_holds_what_it_would_without(tmp_path: Path, pack, kind: str):
    texts = [f"document {n} " + "word " * n + "end" for n in range(1200)]
    lines = "\n\n".join(texts) if kind == "txt" else "\n".join(json.dumps({"text": text}) for text in texts)
    content = pack(lines.encode())
    suffix = {b"\x1f\x8b": ".gz", b"(\xb5": ".zst"}.get(content[:2], "")
    assert documents_of(write(tmp_path / f"a.{kind}{suffix}", content)) == texts
    if suffix:
        twice = write(tmp_path / "folder" / f"a.{kind}{suffix}", content + pack(b"\n\n" + lines.encode()))
        assert documents_of(str(Path(twice).parent)) == texts + texts
        for damage, told in ((content[:-9], "is cut short"), (content[:40] + b"x" * 40 + content[80:], "is damaged")):
            with pytest.raises(CorpusError, match=f"corpus file .*a.{kind}{suffix} {told}"):
                documents_of(write(tmp_path / f"a.{kind}{suffix}", damage))


def test_deep_json_is_refused_with_its_line(tmp_path: Path):
    with pytest.raises(CorpusError, match=r"line 2 of corpus file .*deep\.jsonl is not JSON"):
        documents_of(write(tmp_path / "deep.jsonl", '{"text": "x"}\n{"text": ' + "[" * 100_000))


def test_parquet_is_read_by_row_groups_and_one_column_only(tmp_path: Path):
    texts = [f"document {n}" for n in range(3000)]
    table = pa.table({"meta": list(range(3000)), "text": texts, "body": texts[::-1]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    path = str(tmp_path / "a.parquet")
    assert documents_of(path) == texts
    assert documents_of(path, text_column="body") == texts[::-1]
    with pytest.raises(CorpusError, match=r"a\.parquet has no column 'words' \(it has the columns meta, text, body;"):
        documents_of(path, text_column="words")
    with pytest.raises(CorpusError, match=r"'meta' in row 1 of corpus file .* is '0'"):
        documents_of(path, text_column="meta")


def test_a_parquet_file_that_is_damaged_inside_is_told(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"document {n}" for n in range(3000)]}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[200:2200] = b"x" * 2000
    path.write_bytes(bytes(content))
    with pytest.raises(CorpusError, match=r"a\.parquet cannot be read"):
        documents_of(str(path))


def test_token_ids_are_found_where_there_is_no_text(tmp_path: Path):
    pq.write_table(pa.table({"input_ids": [[1, 2], [], [3]], "n": [2, 0, 1]}), tmp_path / "a.parquet")
    assert documents_of(str(tmp_path / "a.parquet")) == [[1, 2], [3]]
    write(tmp_path / "b.jsonl", '{"tokens": [4, 5]}')
    assert documents_of(str(tmp_path / "b.jsonl")) == [[4, 5]]
    with pytest.raises(CorpusError, match="has no column 'words'"):
        documents_of(str(tmp_path / "a.parquet"), text_column="words")


def test_a_null_is_an_empty_document(tmp_path: Path):
    pq.write_table(pa.table({"text": ["one", None, "two"]}), tmp_path / "a.parquet")
    assert documents_of(str(tmp_path / "a.parquet")) == ["one", "two"]


def test_an_array_of_tokens_gives_a_document_per_row(tmp_path: Path):
    save_file({"tokens": np.arange(4000, dtype=np.int64).reshape(2000, 2)}, tmp_path / "tokens.safetensors")
    expected = [[2 * n, 2 * n + 1] for n in range(2000)]
    assert documents_of(str(tmp_path / "tokens.safetensors")) == expected
    assert documents_of(str(tmp_path)) == expected
    save_file({"tokens": np.zeros((2, 2), np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(CorpusError, match="'tokens' of .* is not a table of token ids"):
        documents_of(str(tmp_path / "a.safetensors"))
    save_file({"weights": np.zeros((2, 2), np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(CorpusError, match=r"has no column 'tokens' \(it has the columns weights;"):
        documents_of(str(tmp_path / "a.safetensors"))


def test_windows_of_a_data_folder_come_back_with_their_documents(tmp_path: Path):
    tokens = np.array([[0, 5, 6], [0, 7, 8], [0, 9, 5], [0, 6, 7]], np.int32)
    Windows(tokens, np.array([3, 3, 7, 9], np.int32), has_bos=True).save(tmp_path / "tokens.safetensors")
    assert documents_of(str(tmp_path)) == [[5, 6, 7, 8], [9, 5], [6, 7]]


def test_files_of_many_kinds_make_one_corpus(tmp_path: Path):
    write(tmp_path / "a.jsonl.zst", zst('{"text": "one"}'))
    pq.write_table(pa.table({"text": ["two"]}), tmp_path / "b.parquet")
    write(tmp_path / "c.txt", "three")
    assert documents_of(str(tmp_path)) == ["one", "two", "three"]


def test_a_fingerprint_names_the_column_and_tells_two_files_from_one(tmp_path: Path):
    one = write(tmp_path / "one" / "a.txt", "helloyou")
    write(tmp_path / "two" / "a.txt", "hello")
    write(tmp_path / "two" / "b.txt", "you")
    assert corpus_fingerprint(one) != corpus_fingerprint(str(tmp_path / "two"))
    lines = write(tmp_path / "a.jsonl", '{"body": "hello"}')
    assert corpus_fingerprint(lines, text_column="body") == corpus_fingerprint(lines) + " column body"


def test_a_very_large_file_is_known_by_a_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local_files, "_BLOCK", 4)
    monkeypatch.setattr(local_files, "_BLOCKS", 3)
    path = tmp_path / "a.txt"
    made = set()
    for content in ("first_______middle______last", "xirst_______middle______last", "first_______middle______lasx",
                    "first_______xiddle______last", "first_______middle______last_"):  # fmt: skip
        path.write_text(content)
        made.add(corpus_fingerprint(str(path)))
    assert len(made) == 5
    path.write_text("first_x_____middle______last")
    assert corpus_fingerprint(str(path)) in made


@pytest.mark.parametrize(
    "row", ['{"text": ' + "[" * 100_000, "[" * 100_000, '{"a":' * 100_000, '{"n": ' + "9" * 5000 + "}"]
)
def test_a_row_nested_too_deeply_is_refused_with_its_line(tmp_path: Path, row: str):
    name = write(tmp_path / "deep.jsonl", f'{{"text": "fine"}}\n{row}\n')
    with pytest.raises(CorpusError, match="line 2 of corpus file .* is not JSON"):
        documents_of(name)


def test_parquet_whose_texts_are_not_utf8_is_refused(tmp_path: Path):
    offsets, texts = np.array([0, 4, 8], np.int32), b"good" + b"\xff\xfe\xac\x80"
    column = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(texts)])
    pq.write_table(pa.table({"text": column}), tmp_path / "bad.parquet")
    with pytest.raises(CorpusError, match="bad.parquet cannot be read as parquet: .*utf-8"):
        documents_of(str(tmp_path / "bad.parquet"))
