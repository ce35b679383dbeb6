"""A real server on loopback in a thread of its own, and the simplest of clients."""

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from featureinterp.report.server.app import make_app
from featureinterp.report.server.limits import Limits
from featureinterp.report.server.serving import access_of, listen, make_server, open_run, token_of
from featureinterp.report.server.spec import ServeSpec

FREELY = Limits(burst=10_000, per_second=10_000)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    port: int
    token: str | None
    app: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        return self._send(urllib.request.Request(self.url + path, headers=headers))

    def post(self, path: str, body: object, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        return self._send(urllib.request.Request(self.url + path, data, headers, method="POST"))

    def _send(self, request: urllib.request.Request) -> Answer:
        opener = urllib.request.build_opener(NoRedirect)
        try:
            with opener.open(request, timeout=120) as response:
                return Answer(response.status, response.read(), dict(response.headers.items()))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), dict(error.headers.items()))

    def raw(self, data: bytes, timeout: float = 60) -> socket.socket:
        """Send bytes, and return the connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout)
        connection.sendall(data)
        return connection


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows a redirection in the place of following it."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


@contextmanager
def running(spec: ServeSpec, limits: Limits = FREELY) -> Iterator[Running]:
    """Serve a run for as long as the block lasts."""
    served, _, bench = open_run(spec)
    token = token_of(spec)
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = make_app(served, bench, access_of(spec, token, port), limits)
    server = make_server(app, limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive(), "the server did not start"
    yield Running(port, token, app)
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the server did not end"
