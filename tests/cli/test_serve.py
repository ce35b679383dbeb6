"""`featureinterp serve`: it says where it serves, ends on Ctrl-C, and tells what is wrong with what it is given."""

import re
import shutil
import signal
import socket
import sqlite3
import time
import urllib.request
from pathlib import Path

import pytest

from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.store import RunStore
from tests.programs import PATIENCE, Program


def start(*arguments: object) -> Program:
    return Program("-m", "featureinterp.cli", "serve", *arguments, "--port", 0)


def end(process: Program) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    return process.wait(), out, err


def address_of(process: Program) -> tuple[str, str]:
    deadline = time.monotonic() + PATIENCE
    while process.poll(0.05) is None and time.monotonic() < deadline:
        told, _ = process.printed()
        if found := re.search(r"^.*http://.*\n", told, flags=re.MULTILINE):
            return told, found[0].rpartition(" ")[2].strip()
    raise AssertionError(process.printed())


def test_it_serves_and_ends_on_ctrl_c(run: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "further" / "down"
    shutil.copytree(run, unfinished)
    with RunStore.open(unfinished) as store:
        store.ask([FeatureKey("blocks.1.hook_resid_post", 1, 95)])
    process = start(unfinished)
    told, address = address_of(process)
    assert "not finished: 1 feature waits" in told
    assert "No sentences can be tried" in told and "--data FOLDER" in told  # the copy is elsewhere than the run was
    with urllib.request.urlopen(address, timeout=PATIENCE) as response:
        assert b"This run is not finished" in response.read()
    code, _, err = end(process)
    assert (code, err) == (0, "")


def test_elsewhere_it_asks_for_a_token_and_logs_none(run: Path, data: Path) -> None:
    process = start(run, "--host", "0.0.0.0", "--data", data)
    _, address = address_of(process)
    found = re.fullmatch(r"http://.+:(\d+)/\?token=([\w-]{32})", address)
    assert found
    port, token = found.groups()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/run?token={token}", timeout=PATIENCE) as response:
        assert response.status == 200
    code, out, err = end(process)
    assert code == 0
    assert (out + err).count(token) == 1, "in the address alone"


def test_a_port_that_is_taken(cli, run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = cli("serve", run, "--port", port)
    assert outcome.code == 2
    assert f"port {port} on 127.0.0.1 is in use (give another --port" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("{parent}",), "one is served at a time (name one of them, such as "),
        (("{parent}/nothing",), "there is no run in"),
        (("{run}", "--token", "short"), "the token needs at least 16 characters"),
        (("{run}", "--host", "no.such.host.invalid"), "is not an address of this machine"),
        (("{run}", "--data", "{run}"), "has no manifest, and only its manifest names the model"),
    ],
)
def test_what_cannot_be_served(cli, run: Path, arguments: tuple[str, ...], problem: str) -> None:
    outcome = cli("serve", *(argument.format(run=run, parent=run.parent) for argument in arguments))
    assert outcome.code == 2
    assert problem in outcome.err


def test_a_run_of_another_version(cli, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    with sqlite3.connect(other / "run.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    outcome = cli("serve", other)
    assert outcome.code == 2
    assert "is a run of version 99" in outcome.err


def test_a_data_folder_of_another_run(cli, run: Path, rich: Path) -> None:
    outcome = cli("serve", run, "--data", rich)
    assert outcome.code == 2
    assert "the run was made from other records than those in" in outcome.err
