"""Datasets of the Hugging Face library, made locally and read through the code that reads those on the hub."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featureinterp.dataset.corpus.documents import CorpusSpec
from featureinterp.dataset.corpus.open import open_corpus, read_documents
from featureinterp.errors import CorpusError

NAME = "somebody/texts"
TEXTS = [f"document {n}" for n in range(2500)]


@pytest.fixture
def answering() -> Iterator[str]:
    """A server that answers every request, if only with 'not found'."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Hub:
    """Stands in for the hub: datasets by name, each as a kind of files and what to open them with."""

    def __init__(self) -> None:
        self.kind = "parquet"
        self.data_files: dict[str, str] = {}
        self.revision = "a1"
        self.asked: list[str | None] = []

    def load_dataset_builder(self, name: str, config: str | None, revision: str | None = None):
        self.asked.append(revision)
        if name != NAME:
            raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")
        builder = self.open(self.kind, data_files=self.data_files)
        builder.base_path = f"hf://datasets/{name}@{revision or self.revision}"
        return builder

    open = staticmethod(datasets.load_dataset_builder)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answering: str) -> Hub:
    pq.write_table(pa.table({"text": TEXTS, "n": list(range(2500))}), tmp_path / "train.parquet", row_group_size=400)
    pq.write_table(pa.table({"text": ["held out"], "n": [0]}), tmp_path / "test.parquet")
    made = Hub()
    made.data_files = {split: str(tmp_path / f"{split}.parquet") for split in ("train", "test")}
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", answering)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset_builder", made.load_dataset_builder)
    return made


def documents_of(name: str, **options: str) -> list:
    found = read_documents(open_corpus(CorpusSpec(name, **options)), name)
    return [document if isinstance(document, str) else document.tolist() for document in found]


def test_a_dataset_on_the_hub_is_streamed(hub: Hub):
    assert documents_of(NAME) == TEXTS
    assert documents_of(NAME, split="test") == ["held out"]
    stream = read_documents(open_corpus(CorpusSpec(NAME)), NAME)
    assert [next(stream) for _ in range(3)] == TEXTS[:3]


def test_lines_of_json_are_streamed_like_a_table(hub: Hub, tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"body": text, "meta": {"n": 1}}) + "\n" for text in TEXTS))
    hub.kind, hub.data_files = "json", {"train": str(path)}
    assert documents_of(NAME, text_column="body") == TEXTS
    with pytest.raises(CorpusError, match=r"'somebody/texts' has no column 'text' \(it has the columns body, meta;"):
        documents_of(NAME)


def test_token_ids_on_the_hub_are_read_as_such(hub: Hub, tmp_path: Path):
    pq.write_table(pa.table({"input_ids": [[1, 2, 3], [4]]}), tmp_path / "ids.parquet")
    hub.data_files = {"train": str(tmp_path / "ids.parquet")}
    assert documents_of(NAME) == [[1, 2, 3], [4]]


def test_a_dataset_is_known_by_name_part_and_revision(hub: Hub):
    corpus = open_corpus(CorpusSpec(NAME))
    assert corpus.fingerprint() == "hub somebody/texts, default, train, text @ a1"
    assert open_corpus(CorpusSpec(NAME, "test", "en", "n")).fingerprint() == "hub somebody/texts, en, test, n @ a1"


def test_what_was_begun_stays_at_its_revision_and_needs_no_hub_to_say_so(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    made = open_corpus(CorpusSpec(NAME)).fingerprint()
    hub.revision = "b2"
    assert open_corpus(CorpusSpec(NAME, "test"), made).fingerprint().endswith("test, text @ b2")
    again = open_corpus(CorpusSpec(NAME), made)
    assert list(read_documents(again, NAME)) == TEXTS
    assert hub.asked[-1] == "a1"
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:1")
    assert open_corpus(CorpusSpec(NAME), made).fingerprint() == made


def test_a_hub_that_cannot_be_reached_is_told_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:1")
    told = (
        r"'somebody/texts' is not a local path, and http://127\.0\.0\.1:1 cannot be reached: .*give the path of a local"
    )
    with pytest.raises(CorpusError, match=told):
        open_corpus(CorpusSpec(NAME))
    assert hub.asked == []


def test_offline_mode_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def offline(*args: object, **options: object):
        raise ConnectionError("Couldn't reach it on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets, "load_dataset_builder", offline)
    with pytest.raises(CorpusError, match="cannot be reached on the Hugging Face hub: Couldn't reach it"):
        open_corpus(CorpusSpec(NAME))


def test_what_the_hub_does_not_have_is_told(hub: Hub):
    with pytest.raises(CorpusError, match="'somebody/else' cannot be read: .* doesn't exist on the Hub"):
        open_corpus(CorpusSpec("somebody/else"))
    with pytest.raises(CorpusError, match="cannot be read: Bad split: dev. Available splits: .'train', 'test'"):
        documents_of(NAME, split="dev")
    with pytest.raises(CorpusError, match="has no column 'words' .*the columns text, n;"):
        documents_of(NAME, text_column="words")
    with pytest.raises(CorpusError, match="'n' in row 1 of dataset 'somebody/texts' is '0'"):
        documents_of(NAME, text_column="n")


def test_a_file_that_is_damaged_on_the_way_is_told(hub: Hub, tmp_path: Path):
    (tmp_path / "train.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(CorpusError, match="'somebody/texts' cannot be read"):
        documents_of(NAME)


def test_a_saved_dataset_is_read(tmp_path: Path):
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(tmp_path / "one")
    assert documents_of(str(tmp_path / "one")) == TEXTS
    splits = {"train": datasets.Dataset.from_dict({"input_ids": [[1, 2], [3]]}).with_format("torch")}
    splits["test"] = datasets.Dataset.from_dict({"input_ids": [[9]]})
    datasets.DatasetDict(**splits).save_to_disk(tmp_path / "many")
    assert documents_of(str(tmp_path / "many")) == [[1, 2], [3]]
    assert documents_of(str(tmp_path / "many"), split="test") == [[9]]
    with pytest.raises(CorpusError, match=r"has no split 'dev' \(it has train, test"):
        documents_of(str(tmp_path / "many"), split="dev")
    with pytest.raises(CorpusError, match=r"has no column 'body' \(it has the columns text;"):
        documents_of(str(tmp_path / "one"), text_column="body")


def test_a_saved_dataset_is_known_by_its_content(tmp_path: Path):
    for folder, texts in (("a", ["one"]), ("b", ["one"]), ("c", ["two"])):
        datasets.Dataset.from_dict({"text": texts}).save_to_disk(tmp_path / folder)
    a, b, c = (open_corpus(CorpusSpec(str(tmp_path / folder))).fingerprint() for folder in "abc")
    assert a == b != c


def test_an_empty_or_damaged_saved_dataset_is_told(tmp_path: Path):
    datasets.Dataset.from_dict({"text": []}).save_to_disk(tmp_path / "empty")
    with pytest.raises(CorpusError, match="empty' is empty"):
        documents_of(str(tmp_path / "empty"))
    datasets.Dataset.from_dict({"text": TEXTS}).save_to_disk(tmp_path / "cut")
    (arrow,) = (tmp_path / "cut").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:200])
    with pytest.raises(CorpusError, match="saved dataset .*cut cannot be read"):
        documents_of(str(tmp_path / "cut"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state.json", {}),
        ("state.json", "text"),
        ("state.json", None),
        ("state.json", {"_data_files": 3}),
        ("dataset_info.json", {"features": "text"}),
        ("dataset_info.json", []),
    ],
)
def test_a_saved_dataset_whose_own_files_hold_other_values_is_told(tmp_path: Path, name: str, value: object):
    datasets.Dataset.from_dict({"text": TEXTS[:3]}).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / name).write_text(json.dumps(value))
    with pytest.raises(CorpusError, match="saved dataset .* cannot be read"):
        documents_of(str(tmp_path / "saved"))
