"""Atomic files and folders; reading of regular files only.

`atomic_write`, `atomic_path` and `atomic_folder` are the only ways in which the package writes. Links are followed: the
file at their end is replaced. A device or a pipe is written to, never replaced. What a killed process leaves behind
(`.name.fi-PID-MACHINE.tmp`) is swept when something is next written to its folder.
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
"""Bytes of a file's name that its temporary name repeats: file systems take 255."""
_LEFTOVER = re.compile(r"\..*\.fi-(\d{1,9})-([0-9a-f]{8})\.tmp", re.DOTALL)
_AGE_ELSEWHERE_S = 7 * 24 * 3600.0
"""A process of another machine is taken for dead where its temporary file has not changed for so long."""
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
        FileNotFoundError: if there is nothing.
        DataFolderError: if it cannot be read, or is a folder, a pipe or a device.
    """
    try:
        check_regular(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataFolderError(f"{path} cannot be read: {error.strerror}", "name or make a file that can") from error


def check_regular(path: Path) -> None:
    """Raise an error unless a path is a regular file (a pipe or device may block or never end).

    Raises:
        OSError: if there is nothing, or a folder, a pipe or a device.
    """
    kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    if kind is not None:
        raise OSError(errno.EINVAL, f"it is {kind}, a regular file is wanted", str(path))


def real_path(path: Path) -> Path:
    """Return a path with its links followed, also where they lead to nothing or in a circle."""
    return Path(os.path.realpath(path))


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Missing folders are made.

    Raises:
        StorageError: if the disk is full, the folder read-only, or writing fails otherwise.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block succeeds.

    Missing folders are made. Where `path` is a link, the file at its end is replaced; where it is a device or a pipe,
    it gets what was written.

    Raises:
        StorageError: if writing fails; the temporary file is removed and what was at `path` stays.
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
        InputError: if `out` is there already and not an empty folder, or is the current folder.
        StorageError: if writing fails; nothing is left then.
    """
    with _storage_errors(out):
        real = real_path(out)
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(out.stat().st_mode) or any(real.iterdir()):
                raise InputError(f"{out} is there already", "name another folder, or delete it first")
            if real == real_path(Path.cwd()):
                raise InputError(f"{out} is the current folder, which cannot be replaced", "name a new folder")
        with _beside(real) as temporary:
            temporary.mkdir()
            yield temporary
            temporary.replace(real)


@contextmanager
def _beside(real: Path) -> Iterator[Path]:
    """Give the temporary name of a file or folder in its own folder, which is made; whatever has it is gone after."""
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

    Those of running processes of this machine stay, and those of other machines for a week.
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
    except PermissionError:  # it runs, for somebody else
        return False
    return False


@cache
def _machine() -> str:
    """Return a mark of this machine: of its name, and of the container whose process numbers are counted together."""
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
        OSError: if nothing can be written there.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return False
    if kind in (stat.S_IFDIR, stat.S_IFBLK, stat.S_IFSOCK):
        raise OSError(errno.EINVAL, f"it is {_KINDS[kind]}, a file is wanted", str(path))
    return kind in (stat.S_IFCHR, stat.S_IFIFO) or _is_open_file(path)


def _is_open_file(path: Path) -> bool:
    """Return whether a path leads to a file by the number under which this process has it open."""
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
                raise OSError(errno.ENXIO, "it is a pipe that nobody reads", str(path)) from error
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
            "make room or choose another place; what was there before is unchanged",
        ) from error
