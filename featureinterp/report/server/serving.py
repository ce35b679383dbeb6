"""Opens a run for serving, binds the port, and serves until it is interrupted."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from featureinterp.analysis.runs import WAITING
from featureinterp.errors import InputError
from featureinterp.experiment.explain import DATA_FOLDER
from featureinterp.experiment.store import FILE_NAME
from featureinterp.llm.api.spending import RunLimits
from featureinterp.report.server.app import make_app
from featureinterp.report.server.bench import Bench
from featureinterp.report.server.connections import bounded
from featureinterp.report.server.guard import LOCAL_NAMES, Access, ASGIApp
from featureinterp.report.server.limits import Limits
from featureinterp.report.server.served_run import ServedRun
from featureinterp.report.server.subject import RunSubject

_SHORTEST_TOKEN = 16
_IDLE_SECONDS = 5
"""For which a connection is kept for another request."""


@dataclass(frozen=True)
class ServeSpec:
    """What is served, and where."""

    run: Path
    data: Path | None = None
    """The data folder; the one that the run names unless given."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 for any that is free."""
    device: str = "auto"
    token: str | None = None
    """What must be in the address; made up where others can reach it and none is given."""
    simulation: RunLimits | None = None
    """What a simulator behind an endpoint may take; None uses its stored answers only."""
    request_seconds: float = 300.0
    """For one attempt at a request to it."""


def serve(spec: ServeSpec, tell: Callable[[str], None]) -> None:
    """Serve a run until it is interrupted.

    Args:
        spec: what, and where.
        tell: told the address to open, and what is missing.

    Raises:
        DataFolderError: if there is no run or one of another version, or a data folder that is given is not the run's.
        InputError: if the folder holds an experiment's runs, the port is taken, there is no such host, or the token is
            short.
    """
    served, subject, bench = open_run(spec)
    access_token = token_of(spec)
    listener = listen(spec.host, spec.port)
    with listener:
        host, port = listener.getsockname()[:2]
        limits = Limits()
        app = make_app(served, bench, access_of(spec, access_token, port), limits)
        summary = served.summary()
        if not summary.finished:
            n = summary.counts.get(WAITING, 0)
            waiting = f"{n} feature waits" if n == 1 else f"{n} features wait"
            tell(f"The run is not finished: {waiting}; what is there is served.")
        missing = subject.missing()
        if missing:
            tell(f"No sentences can be tried: {missing}")
        tell(f"Serving {spec.run}: {address(spec.host, host, port, access_token)}")
        tell("Ctrl-C ends it.")
        _serve_until_interrupted(make_server(app, limits), listener)


def open_run(spec: ServeSpec) -> tuple[ServedRun, RunSubject, Bench]:
    """Open a run's pages, its subject and its bench; nothing large is loaded.

    Raises:
        DataFolderError: if there is no run or one of another version, or a data folder that is given is not the run's.
        InputError: if the folder holds an experiment's runs.
    """
    run = spec.run
    if not (run / FILE_NAME).is_file() and run.is_dir():
        below = sorted(path.parent for path in run.rglob(FILE_NAME))
        if below:
            raise InputError(
                f"{run} is a folder of {len(below)} run{'' if len(below) == 1 else 's'}, and one is served at a time",
                f"name one of them, such as {below[0]}",
            )
    served = ServedRun(run)
    named = served.about.get(DATA_FOLDER)
    folder = spec.data or (run / named if named else None)
    subject = RunSubject(folder, served.configuration, served.layers, spec.device)
    if spec.data is not None:
        subject.check()
    return served, subject, Bench(subject, served.configuration, spec.device, spec.simulation, spec.request_seconds)


def token_of(spec: ServeSpec) -> str | None:
    """Return the access token: the given one, or a new one if the host is not loopback.

    Raises:
        InputError: if the one given is too short to be safe.
    """
    if spec.token is None:
        return None if is_local(spec.host) else secrets.token_urlsafe(24)
    if len(spec.token) < _SHORTEST_TOKEN or not all(c.isascii() and (c.isalnum() or c in "-_") for c in spec.token):
        raise InputError(
            f"the token needs at least {_SHORTEST_TOKEN} characters, letters, digits, - and _ only",
            "leave it out and one is made",
        )
    return spec.token


def access_of(spec: ServeSpec, token: str | None, port: int) -> Access:
    """Return the access rules: local names on loopback, else the token."""
    hosts = LOCAL_NAMES | {spec.host.lower()} if is_local(spec.host) else None
    return Access(hosts, token, f"featureinterp-{port}")


def is_local(host: str) -> bool:
    """Return whether only programs of this machine reach a host.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Bind a port.

    Raises:
        InputError: if it is taken or not allowed, or there is no such host.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(f"host {host!r} with port {port} is no address of this machine", "leave out --host") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "is in use" if taken else f"cannot be opened: {getattr(error, 'strerror', error)}"
        raise InputError(f"port {port} on {host} {why}", "give another --port, or 0 for any that is free") from error
    return listener


def address(asked: str, host: str, port: int, token: str | None) -> str:
    """Return the address to open, with the token."""
    name = socket.gethostname() if ipaddress.ip_address(host).is_unspecified else asked
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def make_server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """Return the server of an application; it logs no request, because an address may hold the token."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=bounded(limits),
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=3,
        )
    )


def _serve_until_interrupted(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn has shut down in good order, and says so by raising it again
        return
