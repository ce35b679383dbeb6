"""Clients that hold connections shut nobody out, and a model stops when nobody waits for its answer."""

import asyncio
import http.client
import json
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featureinterp.experiment.result import FeatureResult
from featureinterp.llm.api.spending import RunLimits
from featureinterp.report.server.connections import Connections, origin_of
from featureinterp.report.server.limits import Limits, RefusalError
from featureinterp.report.server.queue import ModelQueue
from featureinterp.report.server.spec import ServeSpec
from tests.llm_server import LLMServer
from tests.report.server.running import FREELY, Running, running
from tests.report.server.test_answers import address, simulated_by

PATIENT = Limits(burst=10_000, per_second=10_000, head_seconds=120)
HURRIED = Limits(burst=10_000, per_second=10_000, head_seconds=0.5)
STEADY = Limits(burst=10_000, per_second=10_000, head_seconds=2.5)


@contextmanager
def many_files(n: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"POST /api/top HTTP/1.1\r\n"])
def test_a_thousand_half_open_connections_shut_nobody_out(run: Path, said: bytes) -> None:
    with many_files(4096), running(ServeSpec(run), PATIENT) as server, ExitStack() as held:
        for _ in range(1001):
            held.enter_context(server.raw(said))
        started = time.monotonic()
        assert server.get("/").status == 200
        assert server.post("/api/top", {"text": "still served"}).status == 200
        assert time.monotonic() - started < PATIENT.head_seconds / 2  # what waits for the others waits for their heads


def ended(connection: socket.socket, most: float) -> tuple[bytes, float]:
    """Read a connection to its end while a byte a tenth of a second goes out; return what came, and after how long."""
    started, seen = time.monotonic(), b""
    connection.settimeout(0.1)
    while time.monotonic() - started < most:
        try:
            connection.sendall(b"X")
            part = connection.recv(65536)
        except TimeoutError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            break
        if not part:
            break
        seen += part
    return seen, time.monotonic() - started


def test_a_head_that_trickles_is_not_waited_for(run: Path) -> None:
    with running(ServeSpec(run), HURRIED) as server:
        whole = f"GET /report.css HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        for said, answers in ((b"GET / HTTP/1.1\r\nX", 0), (b"G", 0), (whole + b"GET /", 1)):
            with server.raw(said) as connection:
                seen, seconds = ended(connection, 20)
            assert seconds < 15
            assert seen.count(b"HTTP/1.1 200") == answers
            assert seen.count(b"HTTP/1.1 408") <= 1
        with server.raw(b"") as connection:  # says nothing at all
            connection.settimeout(15)
            assert connection.recv(100) == b""


def test_a_connection_is_kept_for_many_requests_in_a_row(run: Path) -> None:
    with running(ServeSpec(run), STEADY) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        client.connect()
        kept = client.sock
        for _ in range(7):  # longer than the head of one request may take
            client.request("GET", "/api/run")
            answer = client.getresponse()
            assert answer.status == 200 and answer.read()
            time.sleep(0.4)
        assert client.sock is kept
        client.close()


@dataclass(eq=False)
class Fake:
    """A connection without a socket."""

    origin: str
    is_busy: bool = False
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60))
def test_there_is_room_for_whoever_is_new_unless_all_are_busy(arrivals: list[tuple[str, bool]]) -> None:
    connections, taken = Connections(8, 3), []
    for origin, busy in arrivals:
        one = Fake(origin, busy)
        open_now = [each for each in taken if not each.dropped]
        own = [each for each in open_now if each.origin == origin]
        all_busy = all(each.is_busy for each in (own if len(own) == 3 else open_now))
        full = len(own) == 3 or len(open_now) == 8
        entered = connections.enter(one)
        assert entered or (full and all_busy) or all(each.is_busy for each in open_now)
        taken += [one] if entered else []
        held = Counter(each.origin for each in taken if not each.dropped)
        assert sum(held.values()) == len(connections) <= 8
        assert max(held.values(), default=0) <= 3
        assert not any(each.is_busy for each in taken if each.dropped)


def test_many_of_one_address_cost_no_other_its_connection() -> None:
    connections = Connections(8, 6)
    owner = Fake("owner")
    assert connections.enter(owner)
    crowd = [Fake(name) for name in "xxxxxxyxyxyxyxxx"]
    assert all(connections.enter(each) for each in crowd)
    assert not owner.dropped


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_whose_a_connection_is(one: str, other: str, same: bool) -> None:
    assert (origin_of(one) == origin_of(other)) is same


def test_what_takes_too_long_is_ended() -> None:
    ended_jobs: list[str] = []

    async def whole() -> None:
        queue = ModelQueue(most_waiting=2, most_seconds=0.1)

        async def endless() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                ended_jobs.append("endless")

        async def never() -> None:
            await asyncio.Event().wait()

        with pytest.raises(RefusalError, match="did not answer within 0.1 seconds") as refused:
            await queue.run(endless, never)
        assert refused.value.status == 504
        await asyncio.to_thread(queue.close, lambda: asyncio.sleep(0))

    asyncio.run(whole())
    assert ended_jobs == ["endless"]


def test_an_endpoint_is_asked_no_further_when_the_client_has_left(
    run: Path, results: list[FeatureResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rules: list[dict[str, Any]] = [{"activates_on": f"the token ' {word}'", "strength": 4} for word in "abcdef"]
    question = {"feature": address(results[0]), "rules": rules}
    with LLMServer(lambda body: "no levels") as llm:
        llm.delay = 0.2
        simulated_by(f"chat:local:m@{llm.url}", run, tmp_path)
        spec = ServeSpec(tmp_path, run / "data" / "python-docs_embedded", simulation=RunLimits(max_cost=5))
        with running(spec, FREELY) as server:
            leave_while_it_works(server, question, lambda: len(llm.seen.requests) >= 16)
            time.sleep(0.5)  # those on their way are answered, and stored
            asked = len(llm.seen.requests)
            time.sleep(1.5)
            assert len(llm.seen.requests) == asked < 16 * 8
            assert server.get("/api/run").status == 200


def leave_while_it_works(server: Running, question: object, begun: Any) -> None:
    body = json.dumps(question).encode()
    head = f"POST /api/score HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    with server.raw(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body):
        deadline = time.monotonic() + 60
        while not begun():
            assert time.monotonic() < deadline
            time.sleep(0.02)
