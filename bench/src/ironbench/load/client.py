"""One HTTP/1.1 connection: at most one request at a time, stamped at the socket."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

if TYPE_CHECKING:
    from collections.abc import Sequence

ErrorKind = Literal["reset", "closed", "timeout", "protocol"]

_BUFFER = memoryview(bytearray(256 * 1024))  # shared: a read is parsed before the next one


class Address(NamedTuple):
    """Where the connections go, resolved: HOST and PORT, or the path of a Unix socket."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...] | str

    def __str__(self) -> str:
        """HOST:PORT or the path."""
        if isinstance(self.sockaddr, str):
            return self.sockaddr
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if self.family == socket.AF_INET6 else f"{host}:{port}"


class Owner(Protocol):
    """Who is told what happened to a connection and its request."""

    def answered(self, connection: Connection, request: int, status: int, ns: int) -> None:
        """Tell that the answer is complete since ``ns``; the connection is open or closed by now."""
        ...

    def failed(self, connection: Connection, request: int, kind: ErrorKind, ns: int) -> None:
        """Tell that the request has failed at ``ns``; the connection is closed."""
        ...

    def lost(self, connection: Connection) -> None:
        """Tell that the connection was closed while no request was in flight."""
        ...


class Connection:
    """A socket in the event loop's poll set.

    Not a transport: its writes would leave at the end of the loop's turn, so that the time of a send
    would be a guess. Bodies are parsed where they were received and never copied. An answer that only
    the end of the connection delimits (no Content-Length, not chunked) counts as ``closed``.
    """

    __slots__ = (
        "_keep_alive",
        "_loop",
        "_messages",
        "_owner",
        "_parser",
        "_rest",
        "_sock",
        "_status",
        "address",
        "free_ns",
        "index",
        "local_port",
        "request",
        "sent_ns",
        "used",
    )

    def __init__(self, index: int, address: Address, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self.index = index
        self.address = address
        self.request = -1
        """Number of the request in flight; -1: none."""
        self.sent_ns = 0
        self.free_ns = 0
        """Since when it could carry a request; the owner keeps it."""
        self.local_port = 0
        """0 on a Unix socket."""
        self.used = False
        """A request was sent since it was opened."""
        self._owner = owner
        self._loop = loop
        self._sock: socket.socket | None = None
        self._rest = b""
        self._messages = 0
        self._status = 0
        self._keep_alive = False

    @property
    def is_open(self) -> bool:
        return self._sock is not None

    async def open(self, timeout_s: float) -> None:
        """Connect; raises OSError (TimeoutError after ``timeout_s``)."""
        sock = socket.socket(self.address.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if self.address.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(timeout_s):
                await self._loop.sock_connect(sock, self.address.sockaddr)
            if self.address.family != socket.AF_UNIX:
                self.local_port = sock.getsockname()[1]
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        self.used = False
        self.parse_for(self)
        self._loop.add_reader(sock.fileno(), self._on_readable)

    def parse_for(self, sink: object) -> None:
        """Give the next answers' callbacks to ``sink``, whose on_message_complete must call ours."""
        self._parser = HttpResponseParser(sink)

    def send(self, request: int, data: bytes, ns: int) -> None:
        """Send ``data`` as the request number ``request``, at ``ns`` by the caller's stamp."""
        assert self._sock is not None
        self.request = request
        self.sent_ns = ns
        self.used = True
        try:
            written = self._sock.send(data)
        except BlockingIOError:
            written = 0
        except OSError:
            self.fail("reset", monotonic_ns())
            return
        if written < len(data):
            self._rest = data[written:]
            self._loop.add_writer(self._sock.fileno(), self._on_writable)

    def fail(self, kind: ErrorKind, ns: int) -> None:
        """Give up the request in flight, if any, and close."""
        self.close()
        request, self.request = self.request, -1
        if request < 0:
            self._owner.lost(self)
        else:
            self._owner.failed(self, request, kind, ns)

    def close(self) -> None:
        """Close the socket without telling the owner."""
        if self._sock is not None:
            self._loop.remove_reader(self._sock.fileno())
            if self._rest:
                self._loop.remove_writer(self._sock.fileno())
                self._rest = b""
            self._sock.close()
            self._sock = None

    def on_message_complete(self) -> None:
        """Take note of an answer (httptools' callback); informational ones (1xx) are not answers."""
        status = self._parser.get_status_code()
        if status >= 200:
            self._messages += 1
            self._status = status
            self._keep_alive = self._parser.should_keep_alive()

    def _on_readable(self) -> None:
        assert self._sock is not None
        try:
            size = self._sock.recv_into(_BUFFER)
        except BlockingIOError:
            return
        except OSError:
            self.fail("reset", monotonic_ns())
            return
        now = monotonic_ns()
        if size == 0:
            self.fail("closed", now)
            return
        self._messages = 0
        try:
            self._parser.feed_data(_BUFFER[:size])
        except (HttpParserError, HttpParserUpgrade):
            self.fail("protocol", now)
            return
        if self.request < 0 or self._messages > 1:
            self.fail("protocol", now)  # nobody asked for this
        elif self._messages == 1:
            if not self._keep_alive or self._rest:
                self.close()
            request, self.request = self.request, -1
            self._owner.answered(self, request, self._status, now)

    def _on_writable(self) -> None:
        assert self._sock is not None
        try:
            self._rest = self._rest[self._sock.send(self._rest) :]
        except BlockingIOError:
            return
        except OSError:
            self.fail("reset", monotonic_ns())
            return
        if not self._rest:
            self._loop.remove_writer(self._sock.fileno())


def resolve(host: str, port: int) -> Address:
    """Resolve once, so that no name is looked up later; raises OSError."""
    found: Sequence[tuple[Any, ...]] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, sockaddr = found[0]
    return Address(family, sockaddr)
