"""Paths of no ordinary files: links are followed, devices written to, and what cannot be is told in one sentence."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_bad_input import assert_told, records


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    """End a test that waits, as one does that opens a pipe nobody writes to."""

    def end(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def rows_of(cli, run: Path) -> str:
    return cli("results", run, "--format", "csv").out


def test_a_link_given_as_out_is_followed(cli, run, tmp_path):
    (tmp_path / "shared").mkdir()
    target, link = tmp_path / "shared" / "rows.csv", tmp_path / "rows.csv"
    target.write_text("old")
    link.symlink_to("shared/rows.csv")
    assert cli("results", run, "--format", "csv", "--out", link).code == 0
    assert link.is_symlink() and target.read_text() == rows_of(cli, run)


@pytest.mark.parametrize("format_", ["csv", "jsonl", "summary", "parquet"])
def test_a_device_given_as_out_stays_one(cli, run, tmp_path, format_):
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        device = Path("/dev/null")  # which nobody here may replace either
    assert cli("results", run, "--format", format_, "--out", device).code == 0
    assert stat.S_ISCHR(device.lstat().st_mode)


OUTS = {
    "long": "n" * 300,
    "under a file": "file/out",
    "loop": "loop",
    "under a loop": "loop/out",
}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    return tmp_path


@pytest.mark.parametrize("out", [*OUTS, "folder"])
def test_results_where_they_cannot_be(cli, run, odd, out):
    assert_told(cli("results", run, "--format", "csv", "--out", odd / OUTS.get(out, out)), "could not be written")


@pytest.mark.parametrize("out", [*OUTS, "file"])
@pytest.mark.parametrize("command", ["report", "explain", "export", "figures", "import", "records"])
def test_folders_where_they_cannot_be(cli, tiny, run, data, rich, odd, command, out):
    path = odd / OUTS.get(out, out)
    before = sorted(odd.rglob("*"))
    commands = {
        "report": ("report", run, "--out", path),
        "explain": ("explain", data, "--out", path),
        "export": ("export", run, "--format", "json", "--out", path),
        "figures": ("experiment", "complementary", "--data", data, "--out", path),
        "import": ("import", rich, "--out", path),
    }
    told = records(cli, tiny, path) if command == "records" else cli(*commands[command])
    assert_told(told)
    assert sorted(odd.rglob("*")) == before


@pytest.mark.parametrize("name", [*OUTS, "folder", "file", "pipe.jsonl"])
@pytest.mark.parametrize("command", ["results", "show", "report", "serve", "explain", "prompt", "compare", "import"])
def test_inputs_that_are_none(cli, data, run, odd, command, name):
    path = odd / OUTS.get(name, name)
    commands = {
        "results": ("results", path),
        "show": ("show", path, 0, 0),
        "report": ("report", path),
        "serve": ("serve", path),
        "explain": ("explain", path, "--out", odd / "run"),
        "prompt": ("prompt", path, 0, 0),
        "compare": ("compare", run, path),
        "import": ("import", path, "--out", odd / "imported"),
    }
    assert_told(cli(*commands[command]))


def test_a_pipe_as_corpus(cli, tiny, odd):
    told = records(cli, tiny, odd / "out", dataset_name=odd / "pipe.jsonl")
    assert_told(told, "pipe.jsonl' is a pipe or a device", "write the output of the pipe to a file")


@pytest.mark.parametrize("name", ["manifest.json", "records/blocks.0.hook_resid_post.latents.json", "record"])
def test_a_pipe_in_a_data_folder(cli, data, odd, name):
    folder = odd / data.name
    shutil.copytree(data, folder)
    path = next((folder / "records").rglob("[0-9]*.json")) if name == "record" else folder / name
    path.unlink()
    os.mkfifo(path)
    told = cli("explain", folder, "--out", odd / "run")
    assert told.code == 2 and "it is a pipe; expected a regular file" in told.err and "Traceback" not in told.err


@pytest.mark.parametrize("name", ["tokens.safetensors", "sae_acts/blocks.0.hook_resid_post.safetensors"])
def test_a_pipe_in_place_of_arrays(cli, tiny, data, odd, name):
    folder = odd / data.name
    shutil.copytree(data, folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    samples = ("--top-sample-n", 12, "--complementary-sample-n", 9, "--max-features", 12)
    told = cli("records", "--out", odd, *tiny.options(), *samples, "--latents", "1")
    assert "Traceback" not in told.err and told.code in (0, 2)  # what can be made again may be


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_a_run_that_is_no_regular_file(cli, data, odd, kind):
    run = odd / "run"
    run.mkdir()
    path = run / "run.sqlite"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")  # only ever read
    assert_told(cli("results", run))
    assert_told(cli("explain", data, "--out", run), "run.sqlite")
