"""Files made to fill the memory: each is refused in words by a process that has little of it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from featureinterp.dataset.corpus import lines
from featureinterp.dataset.corpus.documents import CorpusSpec
from featureinterp.dataset.corpus.lines import read_lines
from featureinterp.dataset.corpus.open import open_corpus
from featureinterp.dataset.corpus.parquet import parquet_rows
from featureinterp.errors import CorpusError

BOMB = 2**28
READ = """
import resource, sys
import numpy, pyarrow.parquet, zstandard
from featureinterp.dataset.corpus.open import open_corpus, read_documents
from featureinterp.dataset.corpus.documents import CorpusSpec
from featureinterp.errors import FeatureInterpError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]),) * 2)
n = 0
try:
    for document in read_documents(open_corpus(CorpusSpec(sys.argv[1])), "corpus"):
        n += 1
except FeatureInterpError as error:
    print(error)
print(n, "documents")
"""


def read_in_little_memory(path: Path, memory: int = 250 * 2**20) -> str:
    """Read a corpus in a process that may take so much more memory than its libraries; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(memory)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def zeros(compress, flush, n_bytes: int, before: bytes = b"", letter: bytes = b"a") -> bytes:
    block = letter * (2**20 // len(letter))
    return compress(before) + b"".join(compress(block) for _ in range(n_bytes >> 20)) + flush()


def zst_bomb(n_bytes: int, before: bytes = b"", letter: bytes = b"a") -> bytes:
    made = zstandard.ZstdCompressor().compressobj()
    return zeros(made.compress, made.flush, n_bytes, before, letter)


def gz_bomb(n_bytes: int, before: bytes = b"", letter: bytes = b"a") -> bytes:
    made = zlib.compressobj(wbits=31)
    return zeros(made.compress, made.flush, n_bytes, before, letter)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.zst", lambda: zst_bomb(BOMB, b'{"text": "x"}\n{"text": "')),
        ("a.jsonl.gz", lambda: gz_bomb(BOMB, b'{"text": "x"}\n{"text": "')),
        ("a.txt.zst", lambda: zst_bomb(BOMB, b"x\n\n")),
        ("a.txt.gz", lambda: gz_bomb(BOMB, b"x\n\n")),
        ("a.txt", lambda: b"x\n\n" + b"a" * 2**26),
        ("a.jsonl", lambda: b'{"text": "x"}\n{"text": "' + b"a" * 2**26),
    ],
)
def test_a_line_without_an_end_is_refused(tmp_path: Path, name: str, content: Callable[[], bytes]):
    path = tmp_path / name
    path.write_bytes(content())
    told = read_in_little_memory(path)
    number = 3 if ".txt" in name else 2
    assert f"line {number} of corpus file {path} has more than 33,554,432 characters" in told
    assert "1 documents" in told


@pytest.mark.parametrize("letter", [b"\n", b"a\n", b"words without end\n\n"])
@pytest.mark.parametrize("bomb", [zst_bomb, gz_bomb])
def test_lines_without_end_are_refused_where_no_text_packs_so_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb, letter: bytes
):
    monkeypatch.setattr(lines, "UNPACKED_FLOOR", 2**20)
    path = tmp_path / f"a.txt.{'zst' if bomb is zst_bomb else 'gz'}"
    path.write_bytes(bomb(2**24, b"x\n\n", letter))
    with pytest.raises(
        CorpusError, match=r"a\.txt\..* unpacks to more than .* bytes, 200 times its size and 1,048,576"
    ):
        for _ in read_lines(path):
            pass


def test_a_block_of_text_without_an_end_is_refused(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text(("word " * 20 + "\n") * 400_000)
    told = read_in_little_memory(path)
    assert f"corpus file {path} has more than 33,554,432 characters" in told and "the block of text up to line" in told


def test_a_window_that_is_too_wide_is_refused(tmp_path: Path):
    params = zstandard.ZstdCompressionParameters(window_log=30)
    made = zstandard.ZstdCompressor(compression_params=params).compressobj()
    (tmp_path / "a.jsonl.zst").write_bytes(made.compress(b'{"text": "x"}\n') + made.flush())
    told = read_in_little_memory(tmp_path / "a.jsonl.zst")
    assert "a window of more than 134,217,728 bytes (decompress it with `zstd -d --long=31`" in told


def test_memory_does_not_grow_with_a_compressed_file(tmp_path: Path):
    """A megabyte in short lines."""
    rows = b"".join(json.dumps({"text": f"document {n}"}).encode() + b"\n" for n in range(20_000))
    for name, content in (("a.jsonl.zst", zstandard.compress(rows, 19)), ("a.jsonl.gz", gzip.compress(rows))):
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        assert sum(1 for _ in read_lines(tmp_path / name)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2**22
        tracemalloc.stop()


def write_parquet(path: Path, values: list, compression: str = "zstd", **options) -> None:
    pq.write_table(pa.table({"text": values}), path, compression=compression, **options)


def test_a_page_that_unpacks_to_a_gigabyte_is_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_parquet(path, ["x" * 2**28, "y"], use_dictionary=False)
    assert path.stat().st_size < 2**18
    told = read_in_little_memory(path)
    assert f"{path} claims a page of 26" in told and "bytes, at most 268,435,456 are read" in told


def test_a_value_that_a_dictionary_repeats_is_read_row_by_row(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_parquet(path, ["x" * 2**23] * 200, dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 2**18
    assert read_in_little_memory(path, 500 * 2**20) == "200 documents\n"


def test_a_row_of_a_billion_numbers_is_refused(tmp_path: Path):
    """Equal numbers are told once, with how often they come."""
    path = tmp_path / "a.parquet"
    ids = pa.ListArray.from_arrays(pa.array([0, 2**25], pa.int32()), pa.repeat(pa.scalar(7, pa.int32()), 2**25))
    pq.write_table(pa.table({"input_ids": ids}), path, compression="zstd")
    assert path.stat().st_size < 2**18
    told = read_in_little_memory(path)
    assert f"{path} claims " in told and "values, at most" in told


def test_ordinary_tables_are_read_whatever_their_pages(tmp_path: Path):
    path = tmp_path / "a.parquet"
    texts = [f"document {n} " + "word " * (n % 50) for n in range(5000)]
    ids = [list(range(n % 7)) for n in range(5000)]
    table = pa.table({"meta": [{"a": n} for n in range(5000)], "text": [*texts[:-1], None], "input_ids": ids})
    for options in (
        {},
        {"data_page_version": "2.0"},
        {"data_page_size": 100},
        {"row_group_size": 999},
        {"compression": "none", "use_dictionary": False},
        {"write_statistics": False, "version": "1.0"},
        {"write_page_checksum": True, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}, "use_dictionary": False},
    ):
        pq.write_table(table, path, **options)
        assert [*parquet_rows(path, "text")] == [*texts[:-1], ""]
        assert [row.tolist() for row in parquet_rows(path, "input_ids")] == ids
    pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), path)
    assert [*parquet_rows(path, "text")] == texts


@pytest.mark.parametrize("place", range(4, 120, 3))
def test_a_head_of_a_page_that_is_damaged_is_refused_or_read(tmp_path: Path, place: int):
    path = tmp_path / "a.parquet"
    write_parquet(path, [f"document {n}" for n in range(300)])
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    try:
        assert len([*parquet_rows(path, "text")]) <= 300
    except CorpusError as error:
        assert str(path) in str(error)


def test_token_ids_that_a_header_claims_are_refused(tmp_path: Path):
    path = tmp_path / "tokens.safetensors"
    for shape, told in (([10**13, 32], "cut short"), ([10**13, 0], "is not a table of token ids")):
        size = 4 * shape[0] * shape[1]
        header = json.dumps({"tokens": {"dtype": "I32", "shape": shape, "data_offsets": [0, size]}}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        assert told in read_in_little_memory(path)


def test_the_longest_line_that_is_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "LONGEST", 10)
    (tmp_path / "a.txt").write_text("123456789\n\n1234567890")
    assert [*open_corpus(CorpusSpec(str(tmp_path / "a.txt"))).documents()] == ["123456789", "1234567890"]
    (tmp_path / "a.txt").write_text("12345678901")
    with pytest.raises(CorpusError, match="line 1 of corpus file .* has more than 10 characters"):
        list(open_corpus(CorpusSpec(str(tmp_path / "a.txt"))).documents())
