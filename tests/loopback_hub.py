"""A Hugging Face hub on this machine: the hub's own client asks it, and it breaks off when it is told to."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

SHA = "a" * 40


@dataclass
class LoopbackHub:
    """Repositories by kind and name, and what goes wrong with some of their files."""

    endpoint: str = ""
    files: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    """By `owner/name`, the files of a model or a dataset."""
    gated: set[str] = field(default_factory=set)
    """Repositories that want an account."""
    cut: dict[str, int] = field(default_factory=dict)
    """By file, how many bytes are sent before the connection is closed."""
    stuck: set[str] = field(default_factory=set)
    """Files of which nothing more is sent after the headers, until the client gives up."""


@contextmanager
def loopback_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[LoopbackHub]:
    """Serve a hub, point the hub's client and the dataset library at it, and let neither wait between attempts."""
    hub = LoopbackHub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": hub}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    point_hub_at(monkeypatch, cache, hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 2)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def point_hub_at(monkeypatch: pytest.MonkeyPatch, cache: Path, endpoint: str) -> None:
    """Make an address the hub, with a cache that holds nothing."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HUB_DATASETS_URL", endpoint + "/datasets/{repo_id}/resolve/{revision}/{path}")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")


class _Answers(http.server.BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        path = self.path.partition("?")[0].strip("/").removeprefix("api/")
        of_api, path = self.path.startswith("/api/"), path.removeprefix("datasets/").removeprefix("models/")
        name = "/".join(path.split("/")[:2])
        files = self.hub.files.get(name)
        if not path:
            self._send(b"")
        elif name in self.hub.gated or files is None:
            self._refuse(401, "GatedRepo" if name in self.hub.gated else "RepoNotFound")
        elif of_api:
            entries = [{"type": "file", "oid": "b" * 40, "size": len(f), "path": n} for n, f in files.items()]
            if "/paths-info/" in path:
                entries = [entry for entry in entries if str(entry["path"]) in sent]
            listed = "/tree/" in path or "/paths-info/" in path
            info: Any = {"id": name, "sha": SHA, "private": False, "gated": False, "disabled": False, "tags": []}
            info["siblings"] = [{"rfilename": n} for n in files]
            self._send(json.dumps(entries if listed else info).encode(), "application/json")
        else:
            self._send_file(path.partition("/resolve/")[2].partition("/")[2], files)

    do_HEAD = do_POST = do_GET

    def _send_file(self, name: str, files: Mapping[str, bytes]) -> None:
        if name not in files:
            self._refuse(404, "EntryNotFound")
            return
        whole, wanted = files[name], self.headers.get("Range")
        first, _, last = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
        part = whole[int(first) : int(last or len(whole)) + 1]
        self._send(part, "application/octet-stream", int(first), len(whole) if wanted else None, name)

    def _send(
        self, body: bytes, kind: str = "text/plain", first: int = 0, whole: int | None = None, name: str = ""
    ) -> None:
        self.send_response(200 if whole is None else 206)
        headers = {"Content-Type": kind, "Content-Length": len(body), "X-Repo-Commit": SHA, "ETag": name}
        if whole is not None:
            headers["Content-Range"] = f"bytes {first}-{first + len(body) - 1}/{whole}"
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in self.hub.stuck:
            self.connection.settimeout(5)
            self.rfile.read(1)  # returns when the client has hung up
        elif name in self.hub.cut:
            self.wfile.write(body[: max(0, self.hub.cut[name] - first)])
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_WR)
        else:
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        for key, value in {"X-Error-Code": code, "X-Error-Message": "no", "Content-Length": "0"}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
