"""Archives of folders: Zstandard-compressed tar, unpacked safely."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from featureinterp.errors import SharingError
from featureinterp.files import atomic_folder, atomic_path, check_regular

SUFFIX = ".tar.zst"

UNPACKED_TIMES, UNPACKED_FLOOR = 100, 2**28
"""Limit of the unpacked size: a multiple of the archive's size (data folders have 2 to 20) and a constant."""

BYTES_PER_FILE, FILES_FLOOR = 64, 4096
"""Limit of the number of files: one per so many bytes of the archive, and a constant."""

_LARGEST_NAME = 2**16
_LEVEL = 6


def pack(folder: Path, archive: Path) -> None:
    """Write the files of a folder into an archive, without hidden (unfinished) files.

    The same files give the same bytes.

    Raises:
        StorageError: if it cannot be written.
    """
    from zstandard import ZstdCompressor

    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    with (
        atomic_path(archive) as temporary,
        temporary.open("wb") as file,
        ZstdCompressor(_LEVEL).stream_writer(file) as compressed,
        tarfile.open(fileobj=compressed, mode="w|") as tar,
    ):
        for path in paths:
            name = path.relative_to(folder)
            if not any(part.startswith(".") for part in name.parts):
                _add(tar, path, name.as_posix())


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    with path.open("rb") as content:
        member.size = os.fstat(content.fileno()).st_size
        tar.addfile(member, content)


def unpack(archive: Path, folder: Path, check: Callable[[Path], object]) -> None:
    """Unpack an archive into a folder, atomically.

    Args:
        archive: an archive written by `pack`; untrusted.
        folder: output folder.
        check: called with the folder before it is moved into place; raises if it is invalid.

    Raises:
        SharingError: if the archive is damaged, has entries other than files and folders inside it, or unpacks to
            more than the limit.
        InputError: if the folder already exists.
        StorageError: if it cannot be written.
    """
    with atomic_folder(folder) as temporary:
        with _members(archive) as members:
            for member, content in members:
                target = temporary / inside(member.name, str(archive))
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    shutil.copyfileobj(content, file)
        check(temporary)


def inside(name: str, where: str) -> PurePosixPath:
    """Return the relative path of an archive entry; SharingError if it is unsafe.

    Raises:
        SharingError: if it is absolute, leads out of the folder, or is not a path.
    """
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if not path.parts or path.is_absolute() or windows.drive or windows.root or ".." in {*path.parts, *windows.parts}:
        raise SharingError(
            f"{where} has an entry with the path {name!r}, which lies outside of its folder",
            "do not use it: it may be malicious",
        )
    return path


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, IO[bytes]]]]:
    """Open an archive and yield its files."""
    from zstandard import ZstdDecompressor, ZstdError

    try:
        check_regular(archive)
        with (
            archive.open("rb") as file,
            ZstdDecompressor().stream_reader(file) as plain,
            tarfile.open(fileobj=_Bounded(plain, archive), mode="r|", tarinfo=_Member) as tar,
        ):
            yield _files(tar, archive)
    except (tarfile.TarError, ZstdError, EOFError) as error:
        raise SharingError(f"{archive} is not an archive, or is damaged: {error}", "fetch it again") from error


def _files(tar: tarfile.TarFile, archive: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    most = FILES_FLOOR + archive.stat().st_size // BYTES_PER_FILE
    for number, member in enumerate(tar, start=1):
        inside(member.name, str(archive))
        if number > most:
            raise SharingError(f"{archive} holds more than {most:,} files, too many for its size", _FILLS_THE_DISK)
        # A sparse file's holes are not in the archive: it would be as large as it claims.
        content = tar.extractfile(member) if member.isfile() and not member.issparse() else None
        if content is not None:
            yield member, content
        elif not member.isdir():
            raise SharingError(
                f"{archive} has an entry {member.name!r} that is neither a file nor a folder",
                "do not use it: a link can lead out of its folder",
            )


_FILLS_THE_DISK = "do not use it: it may be a decompression bomb"


class _Member(tarfile.TarInfo):
    """Archive entry with a limit on the size of extended names."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> tarfile.TarInfo:
        """Read a header."""
        made = super().frombuf(buf, encoding, errors)
        if made.type in (*_ABOUT_THE_NEXT, tarfile.SOLARIS_XHDTYPE) and made.size > _LARGEST_NAME:
            raise tarfile.ReadError(f"a name of {made.size:,} bytes; the limit is {_LARGEST_NAME:,}")
        return made


_ABOUT_THE_NEXT = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class _Bounded(io.RawIOBase):
    """Unpacked stream with a size limit."""

    def __init__(self, plain: IO[bytes], archive: Path) -> None:
        self._plain = plain
        self._archive = archive
        self._most = UNPACKED_FLOOR + UNPACKED_TIMES * archive.stat().st_size
        self._n = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read some bytes."""
        block = self._plain.read(size)
        self._n += len(block)
        if self._n > self._most:
            raise SharingError(
                f"{self._archive} unpacks to more than {self._most:,} bytes, {UNPACKED_TIMES} times its size and "
                f"{UNPACKED_FLOOR:,}",
                _FILLS_THE_DISK,
            )
        return block
