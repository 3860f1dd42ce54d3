"""A relay between the app and PgBouncer that notes which connections and statements pass.

Messages as in PostgreSQL's frontend/backend protocol 3.0 ("Message Formats"); no TLS.
"""

import asyncio
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import msgspec

SSL_REQUEST = 80877103
DEADLINE_S = 20.0


class Traffic(msgspec.Struct, frozen=True):
    """What passed between two looks: connections opened, and statements as they were executed."""

    connections: int
    statements: list[str]
    """SQL text of each Query and each Execute, the only messages that run something."""
    parses: int
    """Parse messages: a statement that was prepared before needs none."""


class Relay:
    """Listens on ``port`` of 127.0.0.1 and passes everything on."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._live: set[_Connection] = set()
        self._opened = 0
        self._statements: list[str] = []
        self._parses = 0
        self.port = 0

    @classmethod
    @contextmanager
    def to(cls, host: str, port: int) -> Iterator[Self]:
        """Run in a thread until the end of the block."""
        relay, up, loop = cls(host, port), threading.Event(), asyncio.new_event_loop()

        async def serve(end: asyncio.Event) -> None:
            server = await asyncio.start_server(relay._accept, "127.0.0.1", 0)
            relay.port = server.sockets[0].getsockname()[1]
            up.set()
            await end.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        end = asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=[serve(end)], daemon=True)
        thread.start()
        assert up.wait(DEADLINE_S), "the relay does not listen"
        try:
            yield relay
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join(DEADLINE_S)
            loop.close()

    def observe(self, request: Callable[[], object]) -> Traffic:
        """Run a request and return its traffic. Nothing else may use the app meanwhile."""
        self._settle()
        opened, statements, parses = self._opened, len(self._statements), self._parses
        request()
        # A transaction may end after the answer was sent.
        self._settle()
        return Traffic(self._opened - opened, self._statements[statements:], parses=self._parses - parses)

    def _settle(self) -> None:
        end = time.monotonic() + DEADLINE_S
        while any(connection.busy for connection in list(self._live)):
            assert time.monotonic() < end, "a transaction stays open"
            time.sleep(0.002)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.close()
            return
        self._live.add(connection)
        try:
            await asyncio.gather(
                _pass_on(reader, server_writer, connection.from_client),
                _pass_on(server_reader, writer, connection.from_server),
            )
        finally:
            self._live.discard(connection)

    def note_connection(self) -> None:
        self._opened += 1

    def note_statement(self, text: bytes) -> None:
        self._statements.append(text.decode())

    def note_parse(self) -> None:
        self._parses += 1


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None]
) -> None:
    try:
        while data := await reader.read(65_536):
            note(data)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # An end that hangs up without a word is none of the relay's business.
    finally:
        writer.close()


class _Connection:
    """Reads both directions of one connection."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._started = False
        self._ssl_answer_due = False
        self._client, self._server = bytearray(), bytearray()
        self._texts: dict[bytes, bytes] = {}
        """Prepared statement -> its SQL."""
        self._portals: dict[bytes, bytes] = {}
        """Portal -> the SQL that was bound to it."""
        self.busy = True
        """Not yet ready for a query, or inside a transaction."""

    def from_client(self, data: bytes) -> None:
        self._client += data
        while not self._started:
            if len(self._client) < 8:
                return
            length, code = struct.unpack_from("!ii", self._client)
            if len(self._client) < length:
                return
            del self._client[:length]
            if code == SSL_REQUEST:
                self._ssl_answer_due = True
            else:
                self._started = True
                self._relay.note_connection()
        for kind, body in _messages(self._client):
            self._take(kind, body)

    def from_server(self, data: bytes) -> None:
        self._server += data
        if self._ssl_answer_due:
            assert self._server.startswith(b"N"), "the relay cannot read TLS"
            del self._server[:1]
            self._ssl_answer_due = False
        for kind, body in _messages(self._server):
            if kind == b"Z":  # ReadyForQuery
                self.busy = body != b"I"

    def _take(self, kind: bytes, body: bytes) -> None:
        self.busy = kind != b"X"  # Terminate
        if kind == b"Q":  # Query
            self._relay.note_statement(body.rstrip(b"\0"))
        elif kind == b"P":  # Parse
            name, text, _ = body.split(b"\0", 2)
            self._texts[name] = text
            self._relay.note_parse()
        elif kind == b"B":  # Bind
            portal, name, _ = body.split(b"\0", 2)
            self._portals[portal] = self._texts[name]
        elif kind == b"E":  # Execute
            self._relay.note_statement(self._portals[body.partition(b"\0")[0]])


def _messages(buffer: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Take whole messages from the front: a type byte, a length that counts itself, a body."""
    while len(buffer) >= 5:
        (length,) = struct.unpack_from("!i", buffer, 1)
        if len(buffer) < 1 + length:
            return
        message = bytes(buffer[: 1 + length])
        del buffer[: 1 + length]
        yield message[:1], message[5:]
