"""Sending is the real W&B library in its offline mode; fetching is against an artifact that speaks its interface."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import wandb

from featureinterp.dataset import share
from featureinterp.dataset.archive import pack, unpack
from featureinterp.dataset.manifest import HookEntry, Manifest
from featureinterp.dataset.spec import DataSpec
from featureinterp.errors import DataFolderError, InputError, SharingError
from tests.unit.dataset.artifact import Artifact, go_offline, logged


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a manifest and one record."""
    folder = tmp_path / "here" / "texts_model"
    Manifest(DataSpec(), {"python": "3"}, {"blocks.0.hook_resid_post": HookEntry(0, 9, "f")}).save(folder)
    (folder / "records").mkdir()
    (folder / "records" / "7.json").write_text('{"id": 7}')
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def served(data: Path, tmp_path: Path) -> Path:
    """What a server has of the data folder."""
    (tmp_path / "served").mkdir()
    pack(data, tmp_path / "served" / "data.tar.zst")
    return tmp_path / "served"


def test_what_was_sent_is_fetched_again(data: Path, served: Path, tmp_path: Path):
    share.fetch(Artifact(served), tmp_path / "there" / "texts_model")
    assert contents(tmp_path / "there" / "texts_model") == contents(data)


def test_an_artifact_is_logged_offline(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    go_offline(monkeypatch, tmp_path / "wandb")
    assert share.upload(data) == "texts_model"
    assert wandb.run is None
    log = logged(tmp_path / "wandb", b"data.tar.zst")
    assert b"texts_model" in log and b"data.tar.zst" in log
    staged = [p for p in (tmp_path / "wandb").rglob("*") if p.is_file() and p.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"]
    unpack(staged[0], tmp_path / "again", Manifest.load)
    assert contents(tmp_path / "again") == contents(data)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_an_entry_outside_of_its_folder_is_refused_before_anything_is_fetched(served: Path, tmp_path: Path, name: str):
    artifact = Artifact(served, "data.tar.zst", name)
    with pytest.raises(SharingError, match="the artifact has an entry with the path .*evil', which lies outside"):
        share.fetch(artifact, tmp_path / "there")
    assert not artifact.fetched and not (tmp_path / "there").exists()


def test_what_is_no_data_folder_is_refused(served: Path, tmp_path: Path):
    with pytest.raises(SharingError, match=r"is not a data folder \(expected data\.tar\.zst, found model\.pt"):
        share.fetch(Artifact(served, "model.pt"), tmp_path / "there")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("notes")
    pack(tmp_path / "other", served / "data.tar.zst")
    with pytest.raises(DataFolderError, match="is not a data folder"):
        share.fetch(Artifact(served), tmp_path / "there")
    with pytest.raises(DataFolderError, match="is not a data folder"):
        share.upload(tmp_path / "other")
    assert not (tmp_path / "there").exists()


def test_a_wrong_checksum_is_refused(served: Path, tmp_path: Path):
    with pytest.raises(SharingError, match="the download does not match the artifact: Digest mismatch"):
        share.fetch(Artifact(served, intact=False), tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_nothing_that_is_there_is_overwritten(data: Path, served: Path):
    before = contents(data)
    with pytest.raises(InputError, match="already exists"):
        share.fetch(Artifact(served), data)
    assert contents(data) == before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (wandb.errors.AuthenticationError("no key"), "W&B has no credentials: no key .*WANDB_API_KEY"),
        (wandb.errors.UsageError("no key"), "W&B rejects the request: no key .*wandb login"),
        (wandb.errors.CommError("artifact not found\nat line 3"), r"W&B: artifact not found \(check WANDB_PROJECT"),
        (ConnectionError("no route"), "W&B: no route"),
    ],
)
def test_what_wandb_raises_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
):
    def fail() -> None:
        raise error

    monkeypatch.setattr(wandb, "Api", fail)
    with pytest.raises(SharingError, match=told):
        share.download(tmp_path / "texts_model")


def test_the_newest_artifact_of_the_folders_name_is_asked_for(
    data: Path, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[str, str]] = []

    class Api:
        def artifact(self, name: str, type: str) -> Artifact:
            asked.append((name, type))
            return Artifact(served)

    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    share.download(tmp_path / "there" / "texts_model")
    assert asked == [("mine/texts_model:latest", "dataset")]
    assert contents(tmp_path / "there" / "texts_model") == contents(data)


def test_without_wandb_the_extra_is_named(data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SharingError, match=r"W&B is not installed \(pip install featureinterp\[wandb\]\)"):
        share.upload(data)
