"""Real processes that are killed, interrupted, or find the disk full."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.programs import PATIENCE, Program, run_program


def start(*arguments: object) -> Program:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    return Program("-m", "featureinterp.cli", *arguments, environment=environment)


def finished_features(printed: str) -> list[str]:
    """The features that the lines of a run name, as `layer/latent`."""
    return re.findall(r"^ *\d+/\d+ +(\d+/\d+) ", printed, flags=re.MULTILINE)


def kill_when(process: Program, there) -> str:
    """Kill a process as soon as something is there, and return what it printed."""
    deadline = time.monotonic() + PATIENCE
    while not there() and process.poll() is None:
        assert time.monotonic() < deadline, "the process did not get that far"
        time.sleep(0.005)
    process.kill()
    return process.communicate()[0]


def printed_rows(cli, run: Path) -> list[dict]:
    found = [json.loads(line) for line in cli("results", run, "--format", "jsonl").out.splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


@pytest.mark.slow
def test_killed_at_several_moments_and_started_again_it_ends_as_if_undisturbed(cli, tiny, tmp_path):
    options = ["--features", 6, "--explainer", "one-shot", *tiny.options()]
    assert cli("demo", "--out", tmp_path / "whole", *options).code == 0
    out = tmp_path / "killed"
    data = out / "data" / "corpus_model"
    moments = (
        lambda: (data / "tokens.safetensors").exists(),
        lambda: len(list((data / "sae_acts").glob("*.safetensors"))) > 0,
        lambda: len(list((data / "records").glob("*/*.json"))) > 2,
        lambda: (out / "run.sqlite").exists(),
        lambda: n_rows(out) >= 1,
        lambda: n_rows(out) >= 4,
    )
    printed = [kill_when(start("demo", "--out", out, *options), there) for there in moments]
    last = start("demo", "--out", out, *options)
    told, errors = last.communicate()
    assert last.returncode == 0, errors
    done = [feature for text in (*printed, told) for feature in finished_features(text)]
    assert len(done) == len(set(done)), "a feature was done twice"
    assert printed_rows(cli, out) == printed_rows(cli, tmp_path / "whole")
    assert len(printed_rows(cli, out)) == 6


def n_rows(run: Path, table: str = "feature") -> int:
    """Finished features (or those of `asked`), counted by another process than the one that writes."""
    import sqlite3

    if not (run / "run.sqlite").exists():
        return 0
    connection = sqlite3.connect(f"file:{run / 'run.sqlite'}?mode=ro", uri=True, timeout=5)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_ctrl_c_says_in_one_line_how_to_go_on(data, tmp_path):
    process = start("explain", data, "--out", tmp_path, "--depth", 5, "--width", 5)
    deadline = time.monotonic() + PATIENCE
    while n_rows(tmp_path, "asked") == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.strip() == "Interrupted; the same command resumes."


def test_a_full_disk_while_a_run_is_written(cli, data, tmp_path):
    out = tmp_path / "run"
    assert cli("explain", data, "--out", out, "--features", 2, "--depth", 1).code == 0
    before = printed_rows(cli, out)
    limited = run_limited((out / "run.sqlite").stat().st_size + 2048, "explain", data, "--out", out, "--depth", 1)
    assert limited.returncode == 2, limited.stderr
    assert len(limited.stderr.strip().splitlines()) == 1
    assert "finished features are kept" in limited.stderr
    kept = printed_rows(cli, out)
    assert [row["latent"] for row in before] == [row["latent"] for row in kept if row in before]


def test_a_full_disk_while_a_page_is_written(cli, run, tmp_path):
    out = tmp_path / "report"
    assert cli("report", run, "--out", out).code == 0
    old = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    limited = run_limited(2000, "report", run, "--out", out)
    assert limited.returncode == 2, limited.stderr
    assert "an existing file is unchanged" in limited.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == old


def test_a_full_disk_while_records_are_made(cli, tiny, tmp_path):
    words = ("records", "--out", tmp_path, *tiny.options(), "--max-features", 4)
    limited = run_limited(15_000, *words)
    assert limited.returncode == 2, limited.stderr
    assert "could not be written" in limited.stderr.strip().splitlines()[-1]
    assert cli(*words).code == 0


def run_limited(n_bytes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command that can make no file larger than so many bytes, as on a full disk."""
    program = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, {n_bytes}))\n"
        "from featureinterp.cli import main\n"
        "sys.argv = ['featureinterp', *sys.argv[1:]]\n"
        "main()\n"
    )
    return run_program("-c", program, *arguments)
