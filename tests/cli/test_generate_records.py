"""The original's command line, from text to a data folder."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import wandb

from featureinterp.codec import decode_index_record
from featureinterp.dataset.archive import pack
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.manifest import Manifest
from featureinterp.dataset.spec import DataSpec
from tests.unit.dataset.artifact import Artifact, go_offline, logged

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_records.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_records_are_made_with_the_originals_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(topics[name] for name in sorted(topics)[:12]), encoding="utf-8")
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
    assert capsys.readouterr().err.startswith("error: there is no corpus 'nowhere.txt' (give 'python-docs', a .txt")


def test_a_data_folder_is_sent_and_fetched_without_making_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    go_offline(monkeypatch, tmp_path / "wandb")
    folder = tmp_path / "here" / "python-docs_embedded"
    Manifest(DataSpec(), {}).save(folder)
    run(monkeypatch, "--upload-wandb", "--out", str(folder.parent))
    assert [p.name for p in folder.iterdir()] == ["manifest.json"]
    assert b"python-docs_embedded" in logged(tmp_path / "wandb", b"python-docs_embedded")
    (tmp_path / "served").mkdir()
    pack(folder, tmp_path / "served" / "data.tar.zst")

    class Api:
        def artifact(self, name: str, type: str) -> Artifact:
            assert name == "featureinterp/python-docs_embedded:latest"
            return Artifact(tmp_path / "served")

    monkeypatch.setattr(wandb, "Api", Api)
    run(monkeypatch, "--download-wandb", "--out", str(tmp_path / "there"))
    fetched = tmp_path / "there" / "python-docs_embedded"
    assert (fetched / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    assert capsys.readouterr().out.split() == [str(folder), str(fetched)]


def test_the_embedder_is_the_presets_or_the_one_that_is_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A stand-in takes the place of the making; what it is asked for is what the options mean."""
    asked: list[DataSpec] = []
    monkeypatch.setattr("featureinterp.dataset.share.prepare", lambda spec, _root, **_: asked.append(spec))
    for options in ([], ["--preset", "gpt2"], ["--preset", "gpt2", "--embedder", "mine"]):
        run(monkeypatch, *options, "--out", str(tmp_path))
    assert [spec.embedder for spec in asked] == ["all-MiniLM-L6-v2", "all-mpnet-base-v2", "mine"]
    assert [spec.model_name for spec in asked] == ["embedded", "gpt2", "gpt2"]
