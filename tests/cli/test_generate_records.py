"""The original's command line, from text to a data folder."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from featureinterp.codec import decode_index_record
from featureinterp.dataset.folder import DataFolder

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_records.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_records_are_made_with_the_originals_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    corpus = tmp_path / "corpus.txt"
    sentences = (f"The method number {n} returns the list of all {word} names." for n, word in enumerate("abcd" * 15))
    corpus.write_text("\n\n".join(sentences))
    options = {
        "model-name": "embedded",
        "sae-name": "embedded",
        "sae-id-layer-format-string": "",
        "dataset-name": str(corpus),
        "max-dataset-size": "50",
        "max-features": "40",
        "layers": "1",
        "max-seq-length": "8",
        "top-sample-n": "9",
        "quantile-n": "100",
        "complementary-sample-n": "6",
        "special-n": "10",
        "out": str(tmp_path / "data"),
        "seed": "1",
    }
    run(monkeypatch, *(part for name, value in options.items() for part in (f"--{name}", value)), "--write-records")
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "data" / "corpus_embedded"
    folder = DataFolder.open(path)
    assert folder.layers == (1,) and len(folder.latents("blocks.1.hook_resid_post")) == 40
    files = sorted((path / "records" / "blocks.1.hook_resid_post").iterdir())
    statuses = [report.status for report in folder.latent_report("blocks.1.hook_resid_post").values()]
    assert len(files) == statuses.count("ok") > 0
    record = decode_index_record(files[0].read_bytes())
    assert len(record.most_act_records) == 9 and len(record.most_act_records[0].tokens) == 8


def test_a_mistake_is_one_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "--dataset-name", "nowhere.txt", "--write-sae-acts", "--out", str(tmp_path))
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: there is no corpus 'nowhere.txt' (give 'python-docs', or")
