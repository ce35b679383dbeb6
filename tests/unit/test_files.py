"""Files are written whole or not at all, wherever a path leads; and nothing is read that could keep one waiting."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from featureinterp import files
from featureinterp.errors import DataFolderError, InputError, StorageError
from featureinterp.files import atomic_folder, atomic_path, atomic_write, check_regular, read_file, sweep


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device that takes everything, as /dev/null; a pipe with a reader where none may be made."""
    path = tmp_path / "devices" / "null"
    path.parent.mkdir()
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        os.mkfifo(path)
        threading.Thread(target=path.read_bytes, daemon=True).start()
    return path


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "file.json"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_an_exception_while_writing_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "file"
    atomic_write(path, b"old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("stop")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path: Path):
    (tmp_path / "occupied").write_bytes(b"")
    with pytest.raises(StorageError, match="could not be written"):
        atomic_write(tmp_path / "occupied" / "file", b"x")


def test_when_no_more_can_be_written_the_old_file_stays(tmp_path: Path):
    """The process may write no file longer than 64 bytes: the operating system fails the write half way."""
    path = tmp_path / "file"
    atomic_write(path, b"old")
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from featureinterp.files import atomic_write\n"
        "from featureinterp.errors import StorageError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\n"
        "try:\n    atomic_write(Path(sys.argv[1]), b'x' * 1000)\n"
        "except StorageError as error:\n    sys.stdout.write(str(error)); sys.exit(2)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert str(path) in done.stdout and "too large" in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_device_is_written_to_and_stays_a_device(device: Path):
    before = device.stat()
    atomic_write(device, b"content")
    after = device.stat()
    assert (after.st_mode, after.st_rdev, after.st_ino) == (before.st_mode, before.st_rdev, before.st_ino)
    assert [p.name for p in device.parent.iterdir()] == ["null"]


def test_a_pipe_gets_what_is_written(tmp_path: Path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with atomic_path(pipe) as temporary, temporary.open("w+b") as file:
        file.truncate(4)  # as writers do that seek
        file.seek(2)
        file.write(b"ab")
    reader.join(timeout=300)
    assert got == [b"\0\0ab"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_that_nobody_reads_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_WAIT_FOR_READER_S", 0.2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="pipe could not be written: it is a pipe without a reader"):
        atomic_write(tmp_path / "pipe", b"x")


def test_an_open_file_of_the_process_is_added_to(tmp_path: Path):
    """`--out /dev/stdout >> all.csv`: what the shell's file holds stays, and the file is no other one."""
    out = tmp_path / "all.csv"
    out.write_bytes(b"first\n")
    program = (
        "from pathlib import Path; from featureinterp.files import atomic_write\n"
        "atomic_write(Path('/dev/stdout'), b'second\\n')\n"
    )
    inode = out.stat().st_ino
    with out.open("ab") as appended:
        subprocess.run([sys.executable, "-c", program], stdout=appended, check=True)
    assert out.read_bytes() == b"first\nsecond\n" and out.stat().st_ino == inode


def test_a_full_device_is_told(tmp_path: Path):
    full = tmp_path / "full"
    try:
        os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except PermissionError:  # then nobody here may replace the machine's own either
        full = Path("/dev/full")
    with pytest.raises(StorageError, match="full could not be written: No space left"):
        atomic_write(full, b"x" * 10)


def test_links_are_followed_and_stay_links(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    target, link, second = tmp_path / "elsewhere" / "target.csv", tmp_path / "link.csv", tmp_path / "second.csv"
    target.write_bytes(b"old")
    link.symlink_to("elsewhere/target.csv")
    second.symlink_to(link)
    atomic_write(second, b"new")
    assert target.read_bytes() == b"new" and link.is_symlink() and second.is_symlink() and not target.is_symlink()
    (tmp_path / "dangling").symlink_to("new folder/made.csv")
    atomic_write(tmp_path / "dangling", b"made")
    assert (tmp_path / "new folder" / "made.csv").read_bytes() == b"made"
    (tmp_path / "folder").symlink_to("elsewhere")
    with atomic_folder(tmp_path / "folder" / "export") as made:
        (made / "a").write_bytes(b"a")
    assert (tmp_path / "elsewhere" / "export" / "a").read_bytes() == b"a"


def bad_paths(folder: Path) -> dict[str, Path]:
    """Paths to which nothing can be written, by what is wrong."""
    (folder / "file").write_bytes(b"")
    (folder / "loop").symlink_to("loop")
    (folder / "to").symlink_to("fro")
    (folder / "fro").symlink_to("to")
    return {
        "long": folder / ("n" * 256),
        "long in bytes": folder / ("\u00e9" * 130),
        "under a file": folder / "file" / "out",
        "loop": folder / "loop",
        "loop of two": folder / "to" / "out",
    }


@pytest.mark.parametrize("wrong", ["long", "long in bytes", "under a file", "loop", "loop of two"])
def test_a_path_that_cannot_be_is_told_and_nothing_is_left(tmp_path: Path, wrong: str):
    path = bad_paths(tmp_path)[wrong]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageError, match="could not be written"):
        atomic_write(path, b"x")
    with pytest.raises(StorageError, match="could not be written"), atomic_folder(path):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_the_longest_name_that_a_file_can_have_can_be_written(tmp_path: Path):
    for name in ("n" * 255, "\u00e9" * 127):
        atomic_write(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"


@pytest.mark.parametrize("folder", [".", "..", "/"])
def test_a_folder_is_no_file(folder: str):
    with pytest.raises(StorageError, match=r"it is a folder; expected a file"):
        atomic_write(Path(folder), b"x")


def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="current folder"), atomic_folder(Path()):
        pass
    assert tmp_path.is_dir()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(tmp_path / "out") as made:
        (made / "half").write_bytes(b"")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as made:
        (made / "whole").write_bytes(b"")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole"]
    with pytest.raises(InputError, match="already exists"), atomic_folder(tmp_path / "out"):
        pass


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
def test_only_regular_files_are_read(tmp_path: Path, device: Path, kind: str):
    path = {"device": device}.get(kind, tmp_path / kind)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.mknod(path, 0o666 | stat.S_IFSOCK)
    (tmp_path / "link").symlink_to(path)
    for each in (path, tmp_path / "link"):
        with pytest.raises(DataFolderError, match=r"cannot be read: it is a \w+; expected a regular file"):
            read_file(each)
    with pytest.raises(FileNotFoundError):
        check_regular(tmp_path / "nothing")


def killed_while_writing(path: Path, writer: str) -> None:
    """Let a process begin to write a file or a folder, and kill it."""
    program = (
        f"import sys, time; from pathlib import Path; from featureinterp.files import {writer}\n"
        f"with {writer}(Path(sys.argv[1])) as made:\n"
        "    (made / 'half' if made.is_dir() else made).write_bytes(b'half')\n"
        "    print('begun', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("writer", ["atomic_path", "atomic_folder"])
def test_what_a_killed_process_left_is_swept_at_the_next_start(tmp_path: Path, writer: str):
    killed_while_writing(tmp_path / "out", writer)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.fi-")
    atomic_write(tmp_path / "another", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["another"]


def test_what_running_processes_and_other_machines_write_stays(tmp_path: Path):
    with atomic_path(tmp_path / "first") as first:
        first.write_bytes(b"under way")
        own, elsewhere, old = first.name, ".x.fi-999999-0123abcd.tmp", ".y.fi-1-0123abcd.tmp"
        parent = f".z.fi-{os.getppid()}-{files._machine()}.tmp"
        others = (".vimrc.tmp", ".name.123.tmp", "plain.tmp")
        for name in (elsewhere, old, parent, *others):
            (tmp_path / name).write_bytes(b"")
        eight_days_ago = time.time() - 8 * 24 * 3600
        os.utime(tmp_path / old, (eight_days_ago, eight_days_ago))
        sweep.cache_clear()
        sweep(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == {own, elsewhere, parent, *others}
    assert (tmp_path / "first").read_bytes() == b"under way"
