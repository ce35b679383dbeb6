"""Datasets out of a hub that serves, refuses, breaks off and falls silent, asked by the dataset library itself."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from featureinterp.dataset.corpus.documents import CorpusSpec
from featureinterp.dataset.corpus.open import open_corpus, read_documents
from featureinterp.errors import CorpusError
from tests.loopback_hub import SHA, LoopbackHub, loopback_hub

NAME = "somebody/texts"
TEXTS = [f"document {n} of many" for n in range(2200)]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackHub]:
    with loopback_hub(monkeypatch, tmp_path) as hub:
        yield hub


def lines(texts: list[str]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def table(texts: list[str]) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), made, row_group_size=50)
    return made.getvalue()


PACK = {
    "jsonl": lines,
    "jsonl.zst": lambda texts: zstandard.compress(lines(texts)),
    "jsonl.gz": lambda texts: gzip.compress(lines(texts)),
    "parquet": table,
}


def shards(kind: str) -> dict[str, bytes]:
    """Two files of a train split, with half of the texts each; the library hands on batches of 1024."""
    return {f"train-0000{n}.{kind}": PACK[kind](TEXTS[1100 * n : 1100 * (n + 1)]) for n in (0, 1)}


def read() -> tuple[list[str], str]:
    """Return the documents that come, and what is told where they end early."""
    found: list[str] = []
    try:
        for document in read_documents(open_corpus(CorpusSpec(NAME)), NAME):
            assert isinstance(document, str)
            found.append(document)
    except CorpusError as error:
        return found, str(error)
    return found, ""


@pytest.mark.parametrize("kind", PACK)
def test_a_dataset_is_read_out_of_the_hub(hub: LoopbackHub, kind: str):
    hub.files[NAME] = shards(kind)
    assert read() == (TEXTS, "")
    assert open_corpus(CorpusSpec(NAME)).fingerprint() == f"hub somebody/texts, default, train, text @ {SHA}"


@pytest.mark.parametrize("kind", PACK)
def test_a_connection_that_drops_in_the_middle_is_told(hub: LoopbackHub, kind: str):
    hub.files[NAME] = shards(kind)
    hub.cut[f"train-00001.{kind}"] = 200
    found, told = read()
    assert found == TEXTS[:1024]
    assert told.startswith(
        f"the connection to the Hugging Face hub failed while dataset '{NAME}' was read: peer closed"
    )
    assert "repeat the command, or give the path of a local file" in told


def test_a_hub_that_falls_silent_in_the_middle_is_told(hub: LoopbackHub):
    hub.files[NAME] = shards("jsonl")
    hub.stuck.add("train-00001.jsonl")
    found, told = read()
    assert found == TEXTS[:1024]
    assert f"failed while dataset '{NAME}' was read: timed out" in told


@pytest.mark.parametrize("kind", PACK)
def test_a_file_that_is_damaged_on_the_hub_is_told(hub: LoopbackHub, kind: str):
    files = shards(kind)
    name = f"train-00001.{kind}"
    hub.files[NAME] = {**files, name: files[name][:8] + b"\xff" * 40 + files[name][48:]}
    found, told = read()
    assert found == TEXTS[:1024]
    assert told.startswith(f"dataset '{NAME}' cannot be read: ")


def test_a_dataset_that_is_gated_or_not_there_is_told_with_the_token(hub: LoopbackHub):
    hub.gated.add(NAME)
    for name in (NAME, "somebody/else"):
        with pytest.raises(CorpusError, match=f"'{name}' cannot be read: .*set HF_TOKEN if it is gated or private"):
            open_corpus(CorpusSpec(name))
