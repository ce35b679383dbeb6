"""The server's reader: requests to `featureinterp serve`, over a real connection."""

from __future__ import annotations

import json
import urllib.error
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from benchmarks.hostile.cases import Case, Reader, wanted
from benchmarks.hostile.mutations import mutate_bytes, mutate_json

if TYPE_CHECKING:
    from tests.report.server.running import Answer, Running

_OPEN = ExitStack()
_BODIES = {
    "/api/activations": {"layer": 0, "latent": 40, "text": "a list of numbers", "hook": None,
                         "rules": [{"activates_on": "the word 'list'", "strength": 5}]},
    "/api/score": {"feature": {"layer": 0, "latent": 40}, "rules": [{"activates_on": "numbers", "strength": 5}]},
    "/api/top": {"text": "a list of numbers", "n": 3},
}  # fmt: skip
_PATHS = (
    "/", "/index.html", "/features/x.html", "/features/..%2f..%2fetc.json", "/api/features/%00", "/api/features?n=-1",
    "/api/features?layer=99999999999999999999", "/api/features?first=1e9", "/docs", "/%ff", "/a%0d%0ab", "/bench.js%00",
    "/features/" + "x" * 5000 + ".html", "/api/run?" + "a=b&" * 2000,
)  # fmt: skip
_ENDS = (502, 503)
"""Statuses of 500 and more that are told in words."""


@cache
def _server(world: Path) -> Running:
    """Serve the world's run for as long as the process lives."""
    from featureinterp.report.server.spec import ServeSpec
    from tests.report.server.running import running

    return _OPEN.enter_context(running(ServeSpec(world / "run", data=world / "data" / "corpus_model")))


def request(case: Case) -> None:
    """Send a request: hostile JSON, bytes that are none, a strange address, or half a request."""
    rng, server = case.rng, _server(case.world)
    how = rng.random()
    if how >= 0.9:
        return _raw(server, rng)
    try:
        if how < 0.75:
            path = rng.choice(sorted(_BODIES))
            answer = server.post(path, _body(path, rng))
        else:
            answer = server.get(rng.choice(_PATHS))
    except urllib.error.URLError:  # a body that is too large is refused before it has been sent
        return None
    return _check(answer)


def _body(path: str, rng: Random) -> bytes:
    text = json.dumps(_BODIES[path])
    if rng.random() < 0.2:
        return mutate_bytes(text.encode(), rng)
    return mutate_json(text, rng).encode("utf-8", "surrogatepass")


def _raw(server: Running, rng: Random) -> None:
    head = b"POST /api/top HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n" % server.port
    data = mutate_bytes(head + b"Content-Length: 20\r\n\r\n" + b'{"text": "a", "n":3}', rng)
    with server.raw(data, timeout=0.2) as connection:
        try:
            first = connection.recv(100)
        except OSError:
            return
        wanted(b" 500 " not in first, "status 500")


def _check(answer: Answer) -> None:
    wanted(answer.status < 500 or answer.status in _ENDS, f"status {answer.status}: {answer.body[:300]!r}")
    if answer.status >= 400 and answer.headers.get("content-type", "").startswith("application/json"):
        wanted(bool(answer.json.get("problem")), f"status {answer.status} without a sentence: {answer.body[:300]!r}")


READERS = (Reader("requests to the server", request, (), 80),)
