"""What the command line says of a corpus: what was read of it, what was left out, and which option keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featureinterp.dataset.folder import DataFolder
from tests.cli.tiny import TinyWorld


def options(tiny: TinyWorld, corpus: Path, out: Path) -> list[object]:
    sizes = ("--max-dataset-size", 60, "--max-seq-length", 8, "--top-sample-n", 9, "--complementary-sample-n", 9)
    return ["--out", out, *tiny.subject(), "--dataset-name", corpus, *sizes, "--max-features", 6, "--layers", "0"]


@pytest.fixture
def quotes(tiny: TinyWorld, tmp_path: Path) -> Path:
    """A corpus in which 4 of 5 documents have a curly quote, beside a file that is no corpus."""
    rows = [json.loads(line) for line in tiny.corpus.read_text().splitlines()[:40]]
    path = tmp_path / "quotes" / "train.jsonl"
    path.parent.mkdir()
    texts = (f"\u201c{row['text']}" if n % 5 else row["text"] for n, row in enumerate(rows))
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (path.parent / "test.jsonl").write_text('{"text": "TESTMARK"}\n')
    (path.parent / "notes.md").write_text("notes")
    return path.parent


def test_documents_beyond_ascii_are_counted_and_kept_on_demand(
    cli, tiny: TinyWorld, quotes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    plain = cli("records", *options(tiny, quotes, tmp_path / "plain"))
    assert plain.code == 0, plain.err
    assert "of 40 documents 32 were left out: 32 not ASCII (keep them with --no-ascii-only)" in caplog.text
    assert "files read: 1; passed over: 1 of another kind (.md), 1 of another split" in caplog.text
    caplog.clear()
    kept = cli("records", *options(tiny, quotes, tmp_path / "kept"), "--no-ascii-only")
    assert kept.code == 0 and "not ASCII" not in caplog.text
    folder = DataFolder.open(next((tmp_path / "kept").iterdir()))
    assert folder.manifest.spec.ascii_only is False and folder.corpus_counts()["not_ascii"] == 0
    hook = folder.hook_names[0]
    latent = next(n for n, report in folder.latent_report(hook).items() if report.status == "ok")
    assert folder.index_record(hook, latent).most_act_records


def test_a_split_that_is_not_there_is_refused_before_a_model_is_opened(cli, tiny: TinyWorld, quotes: Path, tmp_path):
    made = cli("records", *options(tiny, quotes, tmp_path / "out"), "--dataset-split", "no-such-split")
    assert made.code == 2 and "has no split 'no-such-split' (it has train, test;" in made.err
    assert not (tmp_path / "out").exists()
