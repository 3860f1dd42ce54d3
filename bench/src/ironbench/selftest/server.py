"""A server with one known behaviour: ``python -m ironbench.selftest.server BEHAVIOUR``.

Prints its port, then serves until stdin is closed. In a process of its own, so that it shares no
interpreter with a generator. The first answer of every behaviour is a good one: it is the gate's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from typing import cast

import uvloop
from httptools import HttpRequestParser

STALL_S = 1.0
STALL_EVERY_S = 10.0
SERVICE_S = 0.02
"""What the slow server takes for a request, one at a time."""
DRIP_S = 0.2
"""From the request to the last byte of its dripped answer."""
DRIPS = 10
FAIL_EVERY = 5
"""One request of so many is failed by the servers that fail some."""

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"


class Server(asyncio.Protocol):
    """One connection; ``answered`` counts the requests of all of them, the gate's first."""

    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        number = Server.answered
        Server.answered += 1
        if number == 0:
            self.transport.write(_OK)
        else:
            self.answer(number)

    def answer(self, number: int) -> None:  # noqa: ARG002 - for those that fail some
        """Answer request ``number``, the first after the gate being 1."""
        self.transport.write(_OK)

    def write(self, data: bytes) -> None:
        """Write if the client is still there."""
        if not self.transport.is_closing():
            self.transport.write(data)


class Stalling(Server):
    """Answers at once, but for the first second of every ten of CLOCK_REALTIME, in which all of it sleeps."""


class Slow(Server):
    """Takes one request after another, ``SERVICE_S`` each."""

    free_s = 0.0
    """When it has done all that it has got; an absolute time, so that late timers do not add up."""

    def answer(self, number: int) -> None:  # noqa: ARG002
        loop = asyncio.get_running_loop()
        Slow.free_s = max(Slow.free_s, loop.time()) + SERVICE_S
        loop.call_at(Slow.free_s, self.write, _OK)


class Erring(Server):
    """Answers 500 to one request of five."""

    def answer(self, number: int) -> None:
        self.transport.write(_OK if number % FAIL_EVERY else _ERROR)


class Resetting(Server):
    """Resets the connection instead of answering one request of five."""

    def answer(self, number: int) -> None:
        if number % FAIL_EVERY:
            self.transport.write(_OK)
        else:
            linger = struct.pack("ii", 1, 0)  # socket(7): SO_LINGER of 0 s makes closing a reset
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()


class Silent(Server):
    """Never answers one request of five."""

    def answer(self, number: int) -> None:
        if number % FAIL_EVERY:
            self.transport.write(_OK)


class Dripping(Server):
    """Sends each answer in pieces, the last one ``DRIP_S`` after the request."""

    def answer(self, number: int) -> None:  # noqa: ARG002
        loop = asyncio.get_running_loop()
        now = loop.time()
        size = -(-len(_OK) // DRIPS)
        for drip in range(DRIPS):
            piece = _OK[drip * size : (drip + 1) * size]
            loop.call_at(now + DRIP_S * (drip + 1) / DRIPS, self.write, piece)


BEHAVIOURS: dict[str, type[Server]] = {
    "stalling": Stalling,
    "slow": Slow,
    "erring": Erring,
    "resetting": Resetting,
    "silent": Silent,
    "dripping": Dripping,
}


async def _serve(behaviour: type[Server]) -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    await loop.create_server(behaviour, sock=listener)
    closed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), closed.set)
    print(listener.getsockname()[1], flush=True)
    if behaviour is Stalling:
        while not closed.is_set():
            rest = STALL_EVERY_S - time.time() % STALL_EVERY_S
            try:
                await asyncio.wait_for(closed.wait(), rest)
            except TimeoutError:
                time.sleep(STALL_S)  # noqa: ASYNC251 - the known stall
    await closed.wait()


if __name__ == "__main__":
    uvloop.run(_serve(BEHAVIOURS[sys.argv[1]]))
