"""Connection limits: total, per client, and timeout of a request's head.

Idle connections never lock out other clients: at the limit, the connection that has been idle
longest is closed, first of the address with the most connections.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Any, Protocol

from uvicorn.protocols.http.h11_impl import H11Protocol

from featureinterp.report.server.limits import Limits

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\n"
    b"content-type: text/plain\r\ncontent-length: 32\r\n\r\nall connections are being served"
)
_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
    b"content-type: text/plain\r\ncontent-length: 36\r\n\r\nthe request's head came too slowly.\n"
)


class Connection(Protocol):
    """State of a connection."""

    origin: str
    """Client of the connection."""

    @property
    def is_busy(self) -> bool:
        """Whether one of its requests is being answered."""
        ...

    def drop(self) -> None:
        """Close the connection at once."""
        ...


class Connections:
    """Open connections, longest idle first."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> bool:
        """Admit a connection; return whether there was room or an idle one could be closed."""
        own = [each for each in self._open if each.origin == connection.origin]
        if len(own) >= self._most_of_one and not self._make_room(own):
            return False
        if len(self._open) >= self._most and not self._make_room(list(self._open)):
            return False
        self._open[connection] = None
        return True

    def wait(self, connection: Connection) -> None:
        """Mark a connection as waiting for a request."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)

    def _make_room(self, among: list[Connection]) -> bool:
        waiting = [each for each in among if not each.is_busy]
        if not waiting:
            return False
        held = Counter(each.origin for each in self._open)
        oldest = max(waiting, key=lambda each: held[each.origin])  # among equals the first, which has been idle longest
        self.leave(oldest)
        oldest.drop()
        return True


class BoundedProtocol(H11Protocol):
    """HTTP protocol with a timeout for the head of each request."""

    limits: Limits
    open_ones: Connections
    """All connections of the server."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        super().__init__(*arguments, **named)
        self.origin = ""
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def drop(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or close the connection at the limit."""
        super().connection_made(transport)
        self.origin = origin_of(self.client[0] if self.client else "")
        if self.open_ones.enter(self):
            self._wait()
        else:
            transport.write(_BUSY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        self.open_ones.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on received data; it does not restart the timeout of the head."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.is_busy:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Start waiting for the next request."""
        super().on_response_complete()
        if not self.is_busy and not self.transport.is_closing():
            self.open_ones.wait(self)
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(self.limits.head_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if not self.is_busy and not self.transport.is_closing():
            if self.conn.trailing_data[0]:
                self.transport.write(_SLOW)
            self.transport.close()


def bounded(limits: Limits) -> type[BoundedProtocol]:
    """Return the connections of one server."""
    open_ones = Connections(limits.connections, limits.connections_of_one)
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits, "open_ones": open_ones})


def origin_of(address: str) -> str:
    """Return the client of a connection: an IPv4 address, or the /64 network of an IPv6 address.

    >>> origin_of("192.0.2.7"), origin_of("::ffff:192.0.2.7"), origin_of("2001:db8::1:2:3:4")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
