"""Guard of the application: access, limits and security headers.

A page of another origin can neither read responses (there are no CORS headers) nor trigger computations (they
require JSON, which such a page cannot send without a preflight). A name that points at this machine (DNS rebinding) is
detected by its Host header; on other addresses a token is required.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi.datastructures import Headers
from fastapi.responses import RedirectResponse, Response

from featureinterp.report.server.limits import Limits, RateLimiter, RefusalError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application and the types of its arguments."""

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

Refuse = Callable[[RefusalError, bool], Response]
"""Creates the response to a rejected request, as a page (True) or as JSON."""


@dataclass(frozen=True)
class Access:
    """Access rules."""

    hosts: frozenset[str] | None = LOCAL_NAMES
    """Allowed host names of the Host header; None for any."""
    token: str | None = None
    """Token required in the URL, or in the cookie set from it."""
    cookie: str = "featureinterp"
    """Name of that cookie; it differs by port, because the ports of a host share cookies."""


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits, refuse: Refuse) -> None:
        self._app = app
        self._access = access
        self._limits = limits
        self._rate = RateLimiter(limits.burst, limits.per_second)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        try:
            self._check_host(scope)
            answer = self._check_token(scope)
            if answer is None:
                self._check_rate(scope)
                whole = await self._body(scope, receive)
                if whole is None:  # the client left before the request was complete
                    return
                receive = whole
        except RefusalError as refusal:
            answer = self._refuse(refusal, wants_page(scope))
            answer.headers["connection"] = "close"  # the rest of the body is not read
        if answer is not None:
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _check_host(self, scope: Scope) -> None:
        hosts = Headers(raw=scope["headers"]).getlist("host")
        if self._access.hosts is None:
            return
        name = _without_port(hosts[0]).lower() if len(hosts) == 1 else ""
        if name not in self._access.hosts:
            raise RefusalError(
                421, "the host name of the URL is not one of this server's", "open the URL printed at its start"
            )

    def _check_token(self, scope: Scope) -> Response | None:
        """Check the token; if it is in the URL of a page, return a redirect that stores it in a cookie."""
        token = self._access.token
        if token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if any(_same(value, token) for value in given):
            if not wants_page(scope):
                return None
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            answer = RedirectResponse(_relative(scope, rest), 303)
            answer.set_cookie(self._access.cookie, token, httponly=True, samesite="strict", path="/")
            return answer
        if _same(_cookie(scope, self._access.cookie), token):
            return None
        raise RefusalError(401, "this server requires a token", "open the URL printed at its start")

    def _check_rate(self, scope: Scope) -> None:
        if scope["path"].startswith("/api/"):
            client = scope.get("client")
            self._rate.take(client[0] if client else "")

    async def _body(self, scope: Scope, receive: Receive) -> Receive | None:
        """Read the body, within its limits, and return a function that passes it to the application."""
        if scope["method"] in ("GET", "HEAD"):
            return receive
        headers = Headers(raw=scope["headers"])
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            raise RefusalError(415, "the request's body is not JSON", "send it with Content-Type: application/json")
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > self._limits.body_bytes:
            raise self._too_large()
        try:
            body = await asyncio.wait_for(self._read(receive), self._limits.body_seconds)
        except asyncio.TimeoutError as error:
            told = f"the request's body did not arrive within {self._limits.body_seconds:g} seconds"
            raise RefusalError(408, told, "send it again") from error
        return None if body is None else _replay(body, receive)

    async def _read(self, receive: Receive) -> bytes | None:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> RefusalError:
        return RefusalError(413, f"the request's body is larger than {self._limits.body_bytes:,} bytes", "send less")


def wants_page(scope: Scope) -> bool:
    """Return whether a request is a browser's for a page, and not one to the API."""
    return scope["method"] in ("GET", "HEAD") and not scope["path"].startswith(("/api/", "/openapi.json"))


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _relative(scope: Scope, query: str) -> str:
    """Return the request's own path: one leading slash, so that it can name no other host."""
    path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").lstrip("/\\")
    return f"{path}?{query}" if query else path


def _cookie(scope: Scope, name: str) -> str:
    cookies = SimpleCookie()
    try:
        cookies.load(Headers(raw=scope["headers"]).get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
