"""Who is served and how much: hosts, tokens, sizes, rates, methods; slow, rude and many clients."""

import asyncio
import json
import re
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from featureinterp.report.server.guard import POLICY
from featureinterp.report.server.limits import Limits, RateLimiter, RefusalError
from featureinterp.report.server.queue import ClientGoneError, ModelQueue
from featureinterp.report.server.spec import ServeSpec
from tests.report.server.running import Answer, Running, running

TOKEN = "a-token-of-some-length"
PAGES = ("/", "/docs", "/report.css", "/openapi.json", "/api/run", "/nowhere", "/features/nothing.html")


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_tells_browsers_what_they_may_do(server: Running, path: str) -> None:
    headers = {name.lower(): value for name, value in server.get(path).headers.items()}
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY and "*" not in POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control")]


def test_no_page_has_a_script_or_style_of_its_own(server: Running) -> None:
    name = server.get("/api/features").json["features"][0]["name"]
    for path in ("/", "/docs", f"/features/{name}.html", "/nowhere"):
        html = server.get(path).body.decode()
        assert not re.search(r"<style|<[^>]+ style=|<[^>]+ on\w+=|javascript:", html), path
        inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", html)
        assert all('type="application/json"' in attributes for attributes in inline), path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:80:80", ""])
def test_a_name_that_was_made_to_point_here_is_refused(server: Running, host: str) -> None:
    assert server.get("/api/run", Host=host).status in (400, 421)
    assert server.get("/", Host=f"localhost:{server.port}").status == 200


def test_a_token_is_asked_for_and_then_kept_in_a_cookie(run: Path) -> None:
    with running(ServeSpec(run, host="0.0.0.0", token=TOKEN)) as server:
        for path in ("/", "/api/run", "/?token=wrong", "/report.css", "/openapi.json"):
            assert server.get(path).status == 401, path
        assert server.post("/api/top", {"text": "a"}).status == 401
        answer = server.get(f"/docs?token={TOKEN}&x=1")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert (answer.status, headers["location"]) == (303, "/docs?x=1")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
        kept = cookie.partition(";")[0]
        assert server.get("/", Cookie=kept).status == 200
        assert server.get("/", Cookie=kept[:-1]).status == 401
        assert server.get(f"/api/run?token={TOKEN}").status == 200
        location = {k.lower(): v for k, v in server.get(f"//evil.example/?token={TOKEN}").headers.items()}["location"]
        assert location.startswith("/") and not location.startswith("//")


def test_bodies_are_small_json_and_come_in_time(run: Path) -> None:
    limits = Limits(body_bytes=1000, body_seconds=0.5, burst=1000, per_second=1000)
    with running(ServeSpec(run), limits) as server:
        assert server.post("/api/top", {"text": "a" * 2000}).status == 413
        assert server.post("/api/top", b"{}", **{"Content-Type": "text/plain"}).status == 415
        assert server.post("/api/top", b"no json").status == 422
        for body in (b"[" * 900, b'{"text": "\xff"}', "{}".encode("utf-16"), b"\x00", b"9" * 900):
            refused = server.post("/api/top", body)
            assert refused.status in (400, 422)
            assert refused.json["problem"]
        assert server.post("/api/top", b'{"text": NaN}').status == 422
        assert server.get("/api/top").status == 405
        head = f"POST /api/top HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
        with server.raw(f"{head}Content-Length: 50\r\n\r\n".encode()) as slow:
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        with server.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n7d0\r\n{'a' * 2000}\r\n".encode()) as large:
            assert large.recv(100).startswith(b"HTTP/1.1 413")


def test_a_client_that_asks_too_much_is_told_when_to_come_back(run: Path) -> None:
    with running(ServeSpec(run), Limits(burst=3, per_second=0.5)) as server:
        assert [server.get("/api/run").status for _ in range(4)] == [200, 200, 200, 429]
        answer = server.get("/api/run")
        assert 1 <= int({k.lower(): v for k, v in answer.headers.items()}["retry-after"]) <= 2
        assert "too many requests" in answer.json["problem"]
        assert server.get("/").status == 200


def test_a_bucket_fills_at_its_rate_and_clients_are_forgotten() -> None:
    now = [0.0]
    limiter = RateLimiter(2, 1.0, clock=lambda: now[0])
    limiter.take("a")
    limiter.take("a")
    with pytest.raises(RefusalError):
        limiter.take("a")
    limiter.take("b")
    now[0] = 1.0
    limiter.take("a")
    for client in range(5000):
        limiter.take(str(client))
    assert len(limiter._buckets) <= 1024


def held() -> int:
    """Return the bytes that this process holds now, server and clients together; the most so far where none says."""
    now = Path("/proc/self/statm")
    if now.exists():
        return int(now.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def crowd(server: Running, first: int, pool: ThreadPoolExecutor) -> tuple[list[Answer], int]:
    """Send 200 requests at once; return their answers, and the most bytes held until all had come."""
    texts = [{"text": f"sentence {n} of many"} for n in range(first, first + 200)]
    waited, most = [pool.submit(server.post, "/api/top", text) for text in texts], held()
    while not all(one.done() for one in waited):
        most = max(most, held())
        time.sleep(0.02)
    return [one.result() for one in waited], most


def test_two_hundred_at_once_are_answered_or_refused(run: Path) -> None:
    with running(ServeSpec(run), Limits(waiting=16, burst=10_000, per_second=10_000)) as server:
        server.post("/api/top", {"text": "warm"})  # the model is loaded once
        before = held()
        with ThreadPoolExecutor(200) as pool:
            crowds = [crowd(server, first, pool) for first in (0, 200, 400)]
        answers = [answer for these, _ in crowds for answer in these]
        peaks = [most - before for _, most in crowds]
        # The first crowd brings its threads and the model's work space; those after it bring next to nothing.
        assert peaks[0] < 250e6
        assert peaks[2] - peaks[0] < 50e6
        statuses = {answer.status for answer in answers}
        assert statuses <= {200, 503}
        assert 200 in statuses
        for answer in answers:
            if answer.status == 503:
                assert "retry-after" in {name.lower() for name in answer.headers}
                assert "wait for the model" in answer.json["problem"]
        assert server.post("/api/top", {"text": "afterwards"}).status == 200


def test_what_nobody_waits_for_never_begins() -> None:
    begun: list[str] = []

    async def whole() -> None:
        queue, hold = ModelQueue(most_waiting=2, most_seconds=60), asyncio.Event()

        async def job(name: str) -> str:
            begun.append(name)
            await asyncio.sleep(0.2)
            return name

        async def never() -> None:
            await asyncio.Event().wait()

        first = asyncio.create_task(queue.run(lambda: job("first"), never))
        left = asyncio.create_task(queue.run(lambda: job("left"), hold.wait))
        third = asyncio.create_task(queue.run(lambda: job("third"), never))
        await asyncio.sleep(0.05)
        with pytest.raises(RefusalError):
            await queue.run(lambda: job("fourth"), never)
        hold.set()
        with pytest.raises(ClientGoneError):
            await left
        assert [await first, await third] == ["first", "third"]
        await asyncio.to_thread(queue.close, lambda: asyncio.sleep(0))

    asyncio.run(whole())
    assert begun == ["first", "third"]


def test_clients_that_leave_cost_nothing(server: Running) -> None:
    body = json.dumps({"text": "word " * 120, "n": 5}).encode()
    head = f"POST /api/top HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    for _ in range(60):
        server.raw(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body).close()
    deadline = time.monotonic() + 30
    answer = server.post("/api/top", {"text": "still there"})
    while answer.status == 503 and time.monotonic() < deadline:  # a busy machine has not seen all of them leave
        time.sleep(0.2)
        answer = server.post("/api/top", {"text": "still there"})
    assert answer.status == 200


def test_no_request_that_the_description_allows_breaks_it(server: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    api = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    seen: set[str] = set()
    for operation in (each.ok() for each in api.get_all_operations()):

        @given(case=operation.as_strategy())
        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
        def ask(case) -> None:
            answer = case.call()
            assert answer.status_code < 500, answer.text
            seen.add(f"{case.method} {case.path} {answer.status_code}")

        ask()
    assert len({line.rpartition(" ")[0] for line in seen}) == 6
    assert any(line.endswith(" 422") or line.endswith(" 404") for line in seen)
