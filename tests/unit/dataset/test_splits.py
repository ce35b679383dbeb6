"""Splits of a folder of files: those that the dataset library picks, or an error."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featureinterp.dataset.corpus.documents import CorpusSpec
from featureinterp.dataset.corpus.open import open_corpus, read_documents
from featureinterp.errors import CorpusError, FeatureInterpError, InputError

CARD = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/*.jsonl
  - split: held_out
    path: [extra/one.jsonl, "extra/t*.jsonl"]
- config_name: de
  default: true
  data_files: de/*.jsonl
- config_name: fr
  data_dir: fr
---
# Texts
"""


def write(folder: Path, *names: str) -> Path:
    """Write files that hold their own names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            pq.write_table(pa.table({"text": [name]}), path)
        else:
            path.write_text(json.dumps({"text": name}) + "\n")
    return folder


def read(folder: Path, **options: str) -> list[str]:
    spec = CorpusSpec(str(folder), **options)
    return [str(document) for document in read_documents(open_corpus(spec), spec.name)]


def theirs(folder: Path, config: str | None = None) -> dict[str, list[str]]:
    """What the dataset library reads of each split."""
    data_files = datasets.load_dataset_builder(str(folder), config).config.data_files
    return {str(split): [os.path.relpath(path, folder) for path in paths] for split, paths in data_files.items()}


@pytest.mark.parametrize(
    "names",
    [
        [f"data/{split}-0000{n}-of-00002.parquet" for split in ("test", "train", "validation") for n in (0, 1)],
        ["data/train-00000-of-00001-a1b2.parquet", "data/random-00000-of-00001.parquet"],
        ["train.jsonl", "test.jsonl", "dev.jsonl"],
        ["train/a.jsonl", "train/b.jsonl", "test/a.jsonl", "validation/deep/a.jsonl"],
        ["my-train-file.jsonl", "my_eval_1.jsonl", "other.jsonl"],
        ["b.jsonl", "a/c.jsonl", "trainer.jsonl", "contest.jsonl"],
        ["training/1.jsonl", "evaluation/2.jsonl"],
        ["only-test.jsonl"],
        ["[odd]/train.jsonl", "[odd]/test.jsonl"],
    ],
)
def test_a_split_is_what_the_dataset_library_picks(tmp_path: Path, names: list[str]):
    folder = write(tmp_path / "texts", *names)
    expected = theirs(folder)
    for split, paths in expected.items():
        assert sorted(read(folder, split=split)) == sorted(paths)
    with pytest.raises(CorpusError, match=rf"has no split 'no-such' \(it has {', '.join(expected)}; name one"):
        open_corpus(CorpusSpec(str(folder), split="no-such"))
    assert sorted(read(folder, split="all")) == sorted(names)


@pytest.mark.parametrize("folder_name", ["train", "my test", "a[1]b", "x*y"])
def test_the_name_of_the_folder_itself_says_nothing(tmp_path: Path, folder_name: str):
    folder = write(tmp_path / "test" / folder_name, "b.jsonl", "a.jsonl")
    assert read(folder) == ["a.jsonl", "b.jsonl"]
    folder = write(tmp_path / "more" / folder_name, "train.jsonl", "test.jsonl")
    assert read(folder, split="test") == ["test.jsonl"]


def test_a_dataset_card_names_configurations_and_splits(tmp_path: Path):
    names = ["en/b.jsonl", "en/a.jsonl", "de/c.jsonl", "extra/two.jsonl", "extra/one.jsonl", "extra/no.jsonl"]
    folder = write(tmp_path, *names, "fr/train.jsonl", "fr/test.jsonl")
    (folder / "README.md").write_text(CARD)
    for config in ("en", "de", "fr", None):
        for split, paths in theirs(folder, config).items():
            assert sorted(read(folder, split=split, config=config or "")) == sorted(paths)
    assert read(folder, config="en", split="held_out") == ["extra/one.jsonl", "extra/two.jsonl"]
    assert read(folder, config="en", split="all") == ["en/a.jsonl", "en/b.jsonl", "extra/one.jsonl", "extra/two.jsonl"]
    assert len(read(folder, split="all")) == 8
    with pytest.raises(CorpusError, match=r"has no configuration 'es' \(its README\.md names en, de, fr"):
        open_corpus(CorpusSpec(str(folder), config="es"))
    with pytest.raises(CorpusError, match="has no split 'dev' .it has train, held_out;"):
        open_corpus(CorpusSpec(str(folder), config="en", split="dev"))
    (folder / "README.md").write_text(CARD.replace("  default: true\n", ""))
    with pytest.raises(CorpusError, match=r"several configurations, and none is the default \(its README.md names en"):
        open_corpus(CorpusSpec(str(folder)))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("../secret.jsonl", "names '../secret.jsonl' as data"),
        ("/etc/hosts", "names '/etc/hosts' as data"),
        ("https://example.org/a.jsonl", "names 'https://example.org/a.jsonl' as data"),
        ("zip://a.jsonl::b.zip", "as data"),
        ("nowhere/*.jsonl", "names no file that can be read"),
        ("a.csv", "names no file that can be read"),
    ],
)
def test_a_card_that_names_what_is_not_in_the_folder_is_refused(tmp_path: Path, path: str, told: str):
    write(tmp_path, "secret.jsonl", "texts/a.jsonl", "texts/a.csv")
    card = f"---\nconfigs:\n- config_name: default\n  data_files: {path!r}\n---\n"
    (tmp_path / "texts" / "README.md").write_text(card)
    with pytest.raises(CorpusError, match=told):
        open_corpus(CorpusSpec(str(tmp_path / "texts")))


@given(
    st.text(max_size=200)
    | st.sampled_from(["configs: 3", "configs: [3]", "configs:\n- config_name: [a]", "a: &a [*a]"])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_card_is_read_or_refused(tmp_path: Path, text: str):
    write(tmp_path, "a.jsonl")
    for content in (text, f"---\n{text}\n---\n"):
        (tmp_path / "README.md").write_text(content, encoding="utf-8", errors="replace")
        try:
            assert read(tmp_path) == ["a.jsonl"]
        except FeatureInterpError as error:
            assert "README.md" in str(error)


def test_a_readme_without_a_header_says_nothing(tmp_path: Path):
    write(tmp_path, "a.jsonl")
    (tmp_path / "README.md").write_bytes("Texte für alle".encode("latin-1"))
    assert read(tmp_path) == ["a.jsonl"]


def test_files_that_are_passed_over_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = write(tmp_path, "train.jsonl", "test.jsonl", "b/notes.md", "c.csv", "d.csv", ".hidden")
    (folder / "broken.jsonl").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.txt")
    with caplog.at_level(logging.WARNING):
        assert read(folder) == ["train.jsonl"]
    told = "files read: 1; passed over: 5 of another kind (.csv, .jsonl, .md, .txt), 1 of another split"
    assert f"corpus folder {folder}: {told}" in caplog.text
    caplog.clear()
    read(write(tmp_path / "clean", "a.jsonl"))
    assert caplog.text == ""


def test_an_option_that_means_nothing_for_a_corpus_is_refused(tmp_path: Path):
    write(tmp_path, "a.jsonl", "b.txt", "texts/c.txt", "both/d.txt", "both/e.jsonl")
    table = str(tmp_path / "a.jsonl")
    refused = [
        ("python-docs", {"split": "test"}, "--dataset-split 'test' does not apply to 'python-docs'"),
        ("python-docs", {"config": "en"}, "--dataset-config 'en' does not apply to 'python-docs'"),
        ("python-docs", {"text_column": "body"}, "--text-column 'body' does not apply to 'python-docs'"),
        (table, {"split": "test"}, "--dataset-split 'test' does not apply to the single file .*a.jsonl"),
        (table, {"config": "en"}, "--dataset-config 'en' does not apply to the single file"),
        (str(tmp_path / "b.txt"), {"text_column": "body"}, "--text-column 'body' does not apply to .*no columns"),
        (str(tmp_path / "texts"), {"text_column": "body"}, "--text-column 'body' does not apply to"),
    ]
    for name, options, told in refused:
        with pytest.raises(InputError, match=told):
            open_corpus(CorpusSpec(name, **options))
    with pytest.raises(CorpusError, match="has no configuration 'en' .it has no README.md"):
        open_corpus(CorpusSpec(str(tmp_path / "texts"), config="en"))
    assert read(tmp_path / "texts", config="default") == ['{"text": "texts/c.txt"}']


def test_a_saved_dataset_has_the_split_and_the_configuration_it_was_saved_with(tmp_path: Path):
    made = datasets.Dataset.from_dict({"text": ["one"]})
    made.save_to_disk(tmp_path / "single")
    with pytest.raises(CorpusError, match=r"has no split 'test' \(it has no splits"):
        read(tmp_path / "single", split="test")
    with pytest.raises(CorpusError, match="does not have the configuration 'en' .its configuration is unknown"):
        read(tmp_path / "single", config="en")
    test = datasets.Dataset.from_dict({"text": ["two"]}, split="test")
    test.info.config_name = "en"
    test.save_to_disk(tmp_path / "test")
    assert read(tmp_path / "test", split="test", config="en") == ["two"]
    with pytest.raises(CorpusError, match=r"has no split 'dev' \(it is the split test"):
        read(tmp_path / "test", split="dev")
