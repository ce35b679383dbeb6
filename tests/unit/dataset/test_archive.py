from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from featureinterp.dataset.archive import pack, unpack
from featureinterp.errors import DataFolderError, InputError, SharingError


def nothing(folder: Path) -> None:
    """Every folder will do."""


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    (made / "records" / "hook").mkdir(parents=True)
    (made / "manifest.json").write_text("{}")
    (made / "empty").write_bytes(b"")
    (made / "records" / "hook" / "7.json").write_bytes(bytes(range(256)) * 5000)
    (made / ".manifest.json.1.tmp").write_text("half")
    (made / ".shards-1").mkdir()
    (made / ".shards-1" / "0.safetensors").write_text("half")
    return made


def test_a_folder_comes_back_without_its_half_finished_files(folder: Path, tmp_path: Path):
    pack(folder, tmp_path / "a.tar.zst")
    unpack(tmp_path / "a.tar.zst", tmp_path / "again", nothing)
    expected = {name: content for name, content in contents(folder).items() if "half" not in str(content)}
    assert contents(tmp_path / "again") == expected and len(expected) == 3
    pack(tmp_path / "again", tmp_path / "b.tar.zst")
    assert (tmp_path / "a.tar.zst").read_bytes() == (tmp_path / "b.tar.zst").read_bytes()


def archive_of(path: Path, *members: tarfile.TarInfo) -> Path:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for member in (tarfile.TarInfo("manifest.json"), *members):
            member.size = 3 if member.isfile() else 0
            tar.addfile(member, io.BytesIO(b"bad"))
    path.write_bytes(zstandard.compress(made.getvalue()))
    return path


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/tmp/evil", "a/..", "..\\evil", "C:\\evil", "\\evil", "C:evil", "."]
)
def test_a_path_outside_of_the_folder_is_refused(tmp_path: Path, name: str):
    archive = archive_of(tmp_path / "a.tar.zst", tarfile.TarInfo(name))
    with pytest.raises(SharingError, match="lies outside of its folder"):
        unpack(archive, tmp_path / "data", nothing)
    assert [p.name for p in tmp_path.rglob("*")] == ["a.tar.zst"]


@pytest.mark.parametrize(
    "member",
    [
        link("link", "../../evil", tarfile.SYMTYPE),
        link("inner", "manifest.json", tarfile.SYMTYPE),
        link("hard", "/etc/hostname", tarfile.LNKTYPE),
        link("device", "", tarfile.CHRTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
    ],
    ids=lambda member: member.name,
)
def test_a_link_or_device_is_refused(tmp_path: Path, member: tarfile.TarInfo):
    with pytest.raises(SharingError, match=f"{member.name}' that is neither a file nor a folder"):
        unpack(archive_of(tmp_path / "a.tar.zst", member), tmp_path / "data", nothing)
    assert [p.name for p in tmp_path.rglob("*")] == ["a.tar.zst"]


def test_a_damaged_archive_is_told_and_leaves_nothing(folder: Path, tmp_path: Path):
    pack(folder, tmp_path / "a.tar.zst")
    whole = (tmp_path / "a.tar.zst").read_bytes()
    for damaged in (b"no archive", whole[:-20], whole[: len(whole) // 2], zstandard.compress(b"no tar" * 1000)):
        (tmp_path / "b.tar.zst").write_bytes(damaged)
        with pytest.raises(SharingError, match=r"b\.tar\.zst is not an archive, or is damaged"):
            unpack(tmp_path / "b.tar.zst", tmp_path / "again", nothing)
        assert {p.name for p in tmp_path.iterdir()} == {"data", "a.tar.zst", "b.tar.zst"}


def test_what_the_check_refuses_does_not_appear(folder: Path, tmp_path: Path):
    def refuse(made: Path) -> None:
        assert (made / "manifest.json").read_text() == "{}"
        raise DataFolderError("no data folder")

    pack(folder, tmp_path / "a.tar.zst")
    with pytest.raises(DataFolderError):
        unpack(tmp_path / "a.tar.zst", tmp_path / "again", refuse)
    assert not (tmp_path / "again").exists()


def test_a_folder_that_is_there_is_not_touched(folder: Path, tmp_path: Path):
    pack(folder, tmp_path / "a.tar.zst")
    before = contents(folder)
    with pytest.raises(InputError, match="data already exists"):
        unpack(tmp_path / "a.tar.zst", folder, nothing)
    assert contents(folder) == before
