"""Atomic files and folders; reading of regular files only.

The package writes only by `atomic_write`, `atomic_path` and `atomic_folder`. Links are followed: the
file at their end is replaced. A device or a pipe is written to, never replaced. Leftovers of a killed process
(`.name.fi-PID-MACHINE.tmp`) are removed by the next write to their folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from featureinterp.errors import DataFolderError, InputError, StorageError

_LONGEST_NAME = 200
"""Maximum bytes of a file's name in its temporary name: file systems allow 255."""
_LEFTOVER = re.compile(r"\..*\.fi-(\d{1,9})-([0-9a-f]{8})\.tmp", re.DOTALL)
_AGE_ELSEWHERE_S = 7 * 24 * 3600.0
"""Seconds without a change after which a temporary file of another machine counts as abandoned."""
_WAIT_FOR_READER_S = 10.0
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}


def read_file(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        FileNotFoundError: if it does not exist.
        DataFolderError: if it cannot be read, or is a folder, pipe or device.
    """
    try:
        check_regular(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataFolderError(f"{path} cannot be read: {error.strerror}", "use a readable file") from error


def check_regular(path: Path) -> None:
    """Raise an error unless a path is a regular file (a pipe or device may block or never end).

    Raises:
        OSError: if it does not exist, or is a folder, pipe or device.
    """
    kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind}; expected a regular file", str(path))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def real_path(path: Path) -> Path:
    """Return a path with its links followed, also if they are broken or circular."""
    return Path(os.path.realpath(path))


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Missing folders are created.

    Raises:
        StorageError: if the disk is full, the folder read-only, or writing fails otherwise.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds.

    Missing folders are created. If `path` is a link, the file at its end is replaced; if it is a device or a pipe,
    the content is written to it.

    Raises:
        StorageError: if writing fails; the temporary file is removed and an existing file is unchanged.
    """
    with _storage_errors(path):
        if _takes_bytes(path):
            with tempfile.TemporaryDirectory() as place:
                temporary = Path(place) / "content"
                yield temporary
                _pour(temporary, path)
            return
        real = real_path(path)
        with _beside(real) as temporary:
            yield temporary
            temporary.replace(real)


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `out` that becomes `out` when the block succeeds.

    Raises:
        InputError: if `out` exists and is not an empty folder, or is the current folder.
        StorageError: if writing fails; no output is left.
    """
    with _storage_errors(out):
        real = real_path(out)
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(out.stat().st_mode) or any(real.iterdir()):
                raise InputError(f"{out} already exists", "name another folder, or delete it first")
            if real == real_path(Path.cwd()):
                raise InputError(f"{out} is the current folder, which cannot be replaced", "name a new folder")
        with _beside(real) as temporary:
            temporary.mkdir()
            yield temporary
            temporary.replace(real)


@contextmanager
def _beside(real: Path) -> Iterator[Path]:
    """Yield the temporary path of a file or folder in its own (created) folder; it is removed afterwards."""
    real.parent.mkdir(parents=True, exist_ok=True)
    sweep(real.parent)
    name = os.fsdecode(os.fsencode(real.name)[:_LONGEST_NAME])
    temporary = real.with_name(f".{name}.fi-{os.getpid()}-{_machine()}.tmp")
    _remove(temporary)
    try:
        yield temporary
    finally:
        _remove(temporary)


@cache
def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left in a folder, once per process and folder.

    Those of running processes of this machine are kept, and those of other machines for a week.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _LEFTOVER.fullmatch(entry.name)
            if found and _is_abandoned(entry, int(found[1]), found[2]):
                _remove(Path(entry.path))


def _is_abandoned(entry: os.DirEntry[str], process: int, machine: str) -> bool:
    if machine != _machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _AGE_ELSEWHERE_S
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it runs, as another user
        return False
    return False


@cache
def _machine() -> str:
    """Return an id of this machine: its name, and the container that shares its process numbers."""
    numbered_in = ""
    with suppress(OSError):
        numbered_in = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{platform.node()} {numbered_in}".encode()).hexdigest()[:8]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _takes_bytes(path: Path) -> bool:
    """Return whether a path is written through: a pipe, a device, or an open file of this process such as /dev/stdout.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return False
    if kind in (stat.S_IFDIR, stat.S_IFBLK, stat.S_IFSOCK):
        raise OSError(errno.EINVAL, f"it is {_KINDS[kind]}; expected a file", str(path))
    return kind in (stat.S_IFCHR, stat.S_IFIFO) or _is_open_file(path)


def _is_open_file(path: Path) -> bool:
    """Return whether a path names an open file of this process by its descriptor."""
    while path.is_symlink():
        folder = real_path(path.parent)
        if folder.parts[:2] == ("/", "proc"):
            return True
        path = folder / path.readlink()
    return False


def _pour(source: Path, target: Path) -> None:
    with source.open("rb") as content, os.fdopen(_open_sink(target), "wb") as opened:
        shutil.copyfileobj(content, opened)


def _open_sink(path: Path) -> int:
    """Open a device, or a pipe once it has a reader (with a short timeout)."""
    deadline = time.monotonic() + _WAIT_FOR_READER_S
    while True:
        try:
            opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > deadline:
                raise OSError(errno.ENXIO, "it is a pipe without a reader", str(path)) from error
            time.sleep(0.05)
        else:
            os.set_blocking(opened, True)
            return opened


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}",
            "free space or use another path; an existing file is unchanged",
        ) from error
