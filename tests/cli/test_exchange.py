"""The command `export` on a run made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from featureinterp.codec import decode
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.store import RunStore
from tests.cli.tiny import run_command
from tests.report.features import explained


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    with RunStore.create(tmp_path / "run", {"seed": 0}, {"model": "gpt2", "SAE": "res-jb"}) as store:
        store.put(explained(0, 3, 0.9))
    return tmp_path / "run"


def test_neuronpedia(run_folder, tmp_path):
    told = run_command("export", run_folder, "--format", "neuronpedia", "--out", tmp_path / "np", "--creator", "me")
    assert told.code == 0, told.err
    assert "features: 1" in told.out
    assert '"creatorId":"me"' in (tmp_path / "np/gpt2/0-res-jb/source.jsonl").read_text()
    again = run_command("export", run_folder, "--format", "neuronpedia", "--out", tmp_path / "np")
    assert again.code == 2
    assert "already exists" in again.err


def test_a_feature_is_one_json_that_reads_back_as_it_was(run_folder, tmp_path):
    told = run_command("export", run_folder, "--format", "json", "--out", tmp_path / "json")
    assert told.code == 0, told.err
    (path,) = (tmp_path / "json").iterdir()
    assert path.name == "0-3.json"
    assert decode(path.read_bytes(), FeatureResult) == explained(0, 3, 0.9)


def test_an_account_is_for_neuronpedia_alone(run_folder, tmp_path):
    told = run_command("export", run_folder, "--format", "json", "--out", tmp_path / "json", "--creator", "me")
    assert told.code == 2
    assert "for Neuronpedia alone" in told.err


def test_no_run(tmp_path):
    told = run_command("export", tmp_path, "--format", "neuronpedia", "--out", tmp_path / "np")
    assert told.code == 2
    assert "there is no run" in told.err
    assert not (tmp_path / "np").exists()


def test_what_is_exported_for_openai_can_be_imported(run_folder, tmp_path):
    told = run_command("export", run_folder, "--format", "openai", "--out", tmp_path / "neurons")
    assert told.code == 0, told.err
    told = run_command("import", tmp_path / "neurons", "--out", tmp_path / "data")
    assert told.code == 0, told.err
    assert "1 latents on 1 hooks" in told.out
    again = run_command("import", tmp_path / "neurons", "--out", tmp_path / "data")
    assert again.code == 2
    assert "already exists" in again.err
