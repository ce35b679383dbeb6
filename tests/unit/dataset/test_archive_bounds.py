"""Archives and tensors made to fill the disk or the memory."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import zstandard

from featureinterp.dataset import archive as archives
from featureinterp.dataset.archive import unpack
from featureinterp.errors import DataFolderError, SharingError
from featureinterp.interop.original.tensors import read_tokens


class Zeros(io.RawIOBase):
    """Zeros without end."""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def archive_of(path: Path, *members: tarfile.TarInfo, format_: int = tarfile.PAX_FORMAT) -> Path:
    with (
        path.open("wb") as file,
        zstandard.ZstdCompressor(3).stream_writer(file) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=format_) as tar,
    ):
        for member in members:
            tar.addfile(member, Zeros())
    return path


def entry(name: str, size: int, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    for key, value in more.items():
        setattr(made, key, value)
    return made


def refused(archive: Path, told: str) -> None:
    with pytest.raises(SharingError, match=told):
        unpack(archive, archive.parent / "data", lambda _: None)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test reaches in a moment."""
    monkeypatch.setattr(archives, "UNPACKED_FLOOR", 2**20)
    monkeypatch.setattr(archives, "FILES_FLOOR", 50)


@pytest.mark.parametrize("sizes", [[2**26], [2**18] * 256])
def test_an_archive_that_unpacks_to_much_more_than_its_size_is_refused(tmp_path: Path, small: None, sizes: list[int]):
    archive = archive_of(tmp_path / "a.tar.zst", *(entry(f"file{n}", size) for n, size in enumerate(sizes)))
    refused(archive, r"a\.tar\.zst unpacks to more than .* bytes, 100 times its size and 1,048,576")


def test_an_archive_of_very_many_empty_files_is_refused(tmp_path: Path, small: None):
    archive = archive_of(tmp_path / "a.tar.zst", *(entry(f"file{n}", 0) for n in range(1000)))
    refused(archive, "holds more than .* files, too many for its size")


def test_a_file_with_holes_is_refused(tmp_path: Path):
    """GNU's sparse files: 512 bytes in the archive, eight terabytes when read."""
    block = bytearray(entry("a", 0).tobuf(tarfile.GNU_FORMAT))
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[386:410] = b"00000000000\0" + b"00000000000\0"
    block[483:495] = b"77777777777\0"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    archive = tmp_path / "a.tar.zst"
    archive.write_bytes(zstandard.compress(bytes(block) + bytes(1024)))
    refused(archive, "'a' that is neither a file nor a folder")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_name_without_end_is_refused(tmp_path: Path, kind: bytes):
    archive = archive_of(tmp_path / "a.tar.zst", entry("long", 2**24, type=kind), format_=tarfile.GNU_FORMAT)
    refused(archive, "a name of 16,777,216 bytes; the limit is 65,536")


def test_a_folder_that_packs_well_is_unpacked(tmp_path: Path):
    """All zeros, to less than the bound."""
    archive = archive_of(tmp_path / "a.tar.zst", entry("records/h/1.json", 2**24), entry("é" * 60, 10))
    unpack(archive, tmp_path / "data", lambda _: None)
    assert (tmp_path / "data" / "records" / "h" / "1.json").stat().st_size == 2**24
    assert (tmp_path / "data" / ("é" * 60)).read_bytes() == bytes(10)


def test_a_tensor_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path):
    path = tmp_path / "tokens.pt"
    torch.save(torch.zeros(1, dtype=torch.int32).expand(10**9, 10**4), path)
    assert path.stat().st_size < 2**14
    with pytest.raises(
        DataFolderError, match=r"holds int32 \[1000000000, 10000\] \(expected no more than fits in the file"
    ):
        read_tokens(path)
    torch.save(torch.sparse_coo_tensor(torch.zeros((2, 1), dtype=torch.int64), torch.ones(1), (10**9, 10**4)), path)
    with pytest.raises(DataFolderError, match="expected a tensor that holds all its numbers"):
        read_tokens(path)
    torch.save(torch.empty((10**9, 10**4), device="meta", dtype=torch.int32), path)
    with pytest.raises(DataFolderError, match=r"tokens\.pt holds int32 .*expected a tensor that holds all its numbers"):
        read_tokens(path)


def test_a_tensor_whose_parts_are_compressed_is_refused(tmp_path: Path):
    plain, packed = tmp_path / "plain.pt", tmp_path / "packed.pt"
    torch.save(torch.arange(12, dtype=torch.int64).reshape(4, 3), plain)
    assert read_tokens(plain).tokens.shape == (4, 3)
    for padding, compression, told in (
        (0, zipfile.ZIP_DEFLATED, "is compressed"),
        (2**24, zipfile.ZIP_DEFLATED, "is compressed"),
        (2**21, zipfile.ZIP_STORED, "its parts exceed the size of the file"),
    ):
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", compression) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name) + b"\0" * padding * name.endswith("data.pkl"))
        with pytest.raises(DataFolderError, match=rf"packed\.pt cannot be read as a tensor: .*{told}"):
            read_tokens(packed)


@pytest.mark.parametrize("wrong", [-1, 2**31, 2**40])
def test_token_ids_that_no_model_has_are_refused(tmp_path: Path, wrong: int):
    torch.save(torch.tensor([[1, 2], [3, wrong]]), tmp_path / "tokens.pt")
    with pytest.raises(DataFolderError, match=f"has the token id {wrong}"):
        read_tokens(tmp_path / "tokens.pt")


def test_any_bytes_are_a_tensor_or_refused(tmp_path: Path):
    path = tmp_path / "tokens.pt"
    torch.save(torch.arange(12).reshape(4, 3), path)
    whole = path.read_bytes()
    chosen = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[chosen.integers(len(whole))] ^= 1 << chosen.integers(8)
        path.write_bytes(bytes(damaged) if chosen.random() < 0.7 else whole[: chosen.integers(len(whole))])
        try:
            assert read_tokens(path).tokens.shape == (4, 3)
        except DataFolderError as error:
            assert str(path) in str(error)
