"""Opens a run for serving, binds the port, and serves until it is interrupted."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable

import uvicorn

from featureinterp.analysis.runs import WAITING
from featureinterp.errors import InputError
from featureinterp.experiment.run_folder import data_folder_of
from featureinterp.experiment.store import FILE_NAME
from featureinterp.report.server.app import make_app
from featureinterp.report.server.bench import Bench
from featureinterp.report.server.connections import bounded
from featureinterp.report.server.guard import LOCAL_NAMES, Access, ASGIApp
from featureinterp.report.server.limits import Limits
from featureinterp.report.server.served_run import ServedRun
from featureinterp.report.server.spec import ServeSpec
from featureinterp.report.server.subject import RunSubject

_SHORTEST_TOKEN = 16
_IDLE_SECONDS = 5
"""Seconds that an idle connection is kept open."""


def serve(spec: ServeSpec, announce: Callable[[str], None]) -> None:
    """Serve a run until it is interrupted.

    Args:
        spec: run, data folder and address.
        announce: called with the URL to open, and with what is missing.

    Raises:
        DataFolderError: if the run does not exist or has another version, or the data folder is not that of the run.
        InputError: if the folder holds several runs, the port is in use, the host is unknown, or the token is too
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
            announce(f"The run is not finished: {waiting}; what is there is served.")
        missing = subject.missing()
        if missing:
            announce(f"No sentences can be tried: {missing}")
        announce(f"Serving {spec.run}: {address(spec.host, host, port, access_token)}")
        announce("Ctrl-C ends it.")
        _serve_until_interrupted(make_server(app, limits), listener)


def open_run(spec: ServeSpec) -> tuple[ServedRun, RunSubject, Bench]:
    """Open a run's pages, its subject and its bench; nothing large is loaded.

    Raises:
        DataFolderError: if the run does not exist or has another version, or the data folder is not that of the run.
        InputError: if the folder holds several runs.
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
    folder = spec.data or data_folder_of(run, served.about)
    subject = RunSubject(folder, served.configuration, served.layers, spec.device)
    if spec.data is not None:
        subject.check()
    return served, subject, Bench(subject, served.configuration, spec.device, spec.simulation, spec.request_seconds)


def token_of(spec: ServeSpec) -> str | None:
    """Return the access token: the given one, or a new one if the host is not loopback.

    Raises:
        InputError: if the given token is too short.
    """
    if spec.token is None:
        return None if is_local(spec.host) else secrets.token_urlsafe(24)
    if len(spec.token) < _SHORTEST_TOKEN or not all(c.isascii() and (c.isalnum() or c in "-_") for c in spec.token):
        raise InputError(
            f"the token needs at least {_SHORTEST_TOKEN} characters, letters, digits, - and _ only",
            "omit it to generate one",
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
        InputError: if it is in use or not allowed, or the host is unknown.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(f"host {host!r} with port {port} is not an address of this machine", "omit --host") from error
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
    """Return the URL to open, with the token."""
    name = socket.gethostname() if ipaddress.ip_address(host).is_unspecified else asked
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def make_server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """Return the server of an application; it logs no requests, because a URL may hold the token."""
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
    except KeyboardInterrupt:  # uvicorn re-raises it after an orderly shutdown
        return
