"""Whole runs of requests: faults, kills and inconsiderate servers change no result and cost nothing twice."""

import asyncio
import io
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
import zlib
from pathlib import Path

import pytest

from featureinterp.chat import ChatRequest, Message, Usage
from featureinterp.errors import FeatureInterpError
from featureinterp.llm.api.client import ChatClient, open_chat_model
from featureinterp.llm.api.connection import ChatParams
from featureinterp.llm.api.ledger import Ledger
from featureinterp.llm.api.spending import MeteredModel
from tests.llm_server import Fault, LLMServer, always, at_rate

ROOT = Path(__file__).parents[3]
FEATURES = 200


def brain(body) -> str:
    """Answer by the whole conversation and the sample, so that a mix-up would show."""
    return f"{zlib.crc32(json.dumps(body, sort_keys=True).encode()):x}"


async def explain(model: ChatClient, feature: int) -> tuple[list[str], Usage]:
    """Ask as a search does: two samples, and a revision whose question holds the first answer."""
    metered = MeteredModel(model)
    question = Message("user", f"feature {feature}")
    roots = await metered.answer(ChatRequest((question,)), n=2)
    revision = ChatRequest((question, Message("assistant", roots[0].text), Message("user", "better, please")))
    texts = [answer.text for answer in (*roots, *await metered.answer(revision))]
    return texts, metered.meter.usage


async def run(model: ChatClient, features: int = FEATURES) -> list[tuple[list[str], Usage]]:
    async with model:
        return list(await asyncio.gather(*(explain(model, feature) for feature in range(features))))


def test_a_run_through_faults_loses_nothing_asks_nothing_twice_and_ends_the_same(tmp_path) -> None:
    params = ChatParams(concurrency=32, attempts=12, backoff_seconds=0.005)
    found = {}
    for rate in (0.0, 0.2):
        with LLMServer(brain, at_rate(rate), cost=0.01) as server:
            server.slow_seconds = 0.1
            model = open_chat_model(f"local:m@{server.url}", ledger=tmp_path / f"{rate}.sqlite", params=params)
            found[rate] = asyncio.run(run(model))
            failed = server.seen.faults.total()
            assert len(server.seen.requests) == 3 * FEATURES + failed
            assert set(server.seen.answered.values()) == {1}
            assert len(server.seen.answered) == 3 * FEATURES
            charged = 3 * FEATURES + server.seen.faults[Fault.EMPTY_CHOICES]  # the server says what these cost, too
            assert model.budget.spent.cost == pytest.approx(0.01 * charged)
            assert (rate == 0) == (failed == 0)
            assert failed == 0 or 0.15 < failed / len(server.seen.requests) < 0.25
    assert found[0.0] == found[0.2]


def test_a_killed_run_goes_on_and_pays_only_for_what_is_missing(tmp_path) -> None:
    ledger = tmp_path / "llm.sqlite"
    with LLMServer(brain) as server:
        server.delay = 0.03
        name, params = f"local:m@{server.url}", ChatParams(concurrency=4)
        program = (
            "import asyncio\nfrom pathlib import Path\nfrom tests.unit.llm.test_whole_runs import *\n"
            f"model = open_chat_model({name!r}, ledger=Path({str(ledger)!r}), params=ChatParams(concurrency=4))\n"
            "asyncio.run(run(model, 30))\n"
        )
        killed = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        while len(server.seen.answered) < 30 and killed.poll() is None:
            time.sleep(0.005)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        time.sleep(0.1)
        with Ledger(ledger) as stored:
            before = len(stored)
        assert 0 < before < 90
        assert len(server.seen.answered) - before <= 4  # on their way when it was killed
        asked = len(server.seen.requests)
        resumed = asyncio.run(run(open_chat_model(name, ledger=ledger, params=params), 30))
        assert len(server.seen.requests) - asked == 90 - before
        fresh = asyncio.run(
            run(open_chat_model(name, ledger=tmp_path / "fresh", params=ChatParams(concurrency=64)), 30)
        )
        assert resumed == fresh
        asked = len(server.seen.requests)
        offline = open_chat_model("local:m@http://127.0.0.1:9/v1", ledger=ledger, params=ChatParams(offline=True))
        assert asyncio.run(run(offline, 30)) == fresh
        assert len(server.seen.requests) == asked


CANARY = "sk-canary-4f1d2b9a7c"


@pytest.mark.parametrize("fault", [None, *Fault], ids=lambda fault: fault.name if fault else "NONE")
def test_the_key_appears_in_nothing_that_is_written_or_raised(fault, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", CANARY)
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    ledger = tmp_path / "llm.sqlite"
    told = [""]
    try:
        with LLMServer(lambda body: f"your key is {CANARY}", always(fault) if fault else lambda number: None) as server:
            server.slow_seconds = 0.05
            params = ChatParams(attempts=2, backoff_seconds=0.001)
            model = open_chat_model(f"openrouter:a/b@{server.url}", ledger=ledger, params=params)
            try:
                told.append(repr(asyncio.run(run(model, 1))))
            except FeatureInterpError as error:
                told.append(str(error))
                whole = traceback.TracebackException.from_exception(error, capture_locals=True)
                told.append("".join(whole.format()))
                told.append(repr([error.__context__, error.__cause__, error.__dict__]))
            told.append(f"{model!r} {model.endpoint!r}")
            assert set(server.seen.keys) == {CANARY}
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert len(told) > 2
    assert log.getvalue()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    with sqlite3.connect(ledger) as connection:
        rows = connection.execute("SELECT asked FROM request UNION ALL SELECT answer FROM answer").fetchall()
        stored += b"".join(zlib.decompress(row[0]) for row in rows)
    connection.close()
    assert (b"your key is [key]" in stored) == (fault in (None, Fault.WRONG_MODEL))
    assert CANARY not in log.getvalue() + "".join(told)
    assert CANARY.encode() not in stored
    assert CANARY in os.environ["OPENROUTER_API_KEY"]
