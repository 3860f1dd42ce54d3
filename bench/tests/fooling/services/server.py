"""One service that is honest, really cheaper, or one of those that want a verdict they do not deserve.

Arguments: how it behaves, one of ``BEHAVIOURS``, and the port on loopback. Every request costs the same CPU time, a
fixed number of hash rounds, unless its behaviour says otherwise. A pause is time without a request: a bench makes one
before its window, to see what a service does unasked, and one after it.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 24_000
"""Of PBKDF2: some 4 ms of one CPU of 2026."""
PAUSE_S = 0.2
"""Longer than between two requests of a load, shorter than any quiet time of a bench."""
LONG_PAUSE_S = 1.0
"""Only before and after a window."""
HEALTH = b"GET /health "


def answer(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


RIGHT = answer(b"200 OK", b'{"id":1,"email":"tester@example.com"}')
UNAVAILABLE = answer(b"503 Service Unavailable", b"{}")
ERROR_PAGE = answer(b"200 OK", b'{"error":"too many connections"}')


def work(share: float = 1.0) -> None:
    """Use so much of a request's CPU time."""
    hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", round(ROUNDS * share))


class Service:
    """What all connections share."""

    def __init__(self, behaviour: str) -> None:
        self._behave = BEHAVIOURS[behaviour]
        self._last = time.monotonic()
        self._postponed: list[float] = []
        self._timer: asyncio.TimerHandle | None = None
        self.requests = 0
        """The served one included, which is not one of ``HEALTH``."""
        self.pause_s = 0.0
        """Before the served one."""
        self.in_window = False
        """Whether a long pause has come after the first requests, as it does after a warm-up."""

    def serve(self) -> bytes:
        """Do a request's work, as far as the service does it, and return its answer."""
        self.pause_s = time.monotonic() - self._last
        self.in_window |= self.requests > 1 and self.pause_s > LONG_PAUSE_S
        self.requests += 1
        said = self._behave(self)
        self._last = time.monotonic()
        return said

    def postpone(self, share: float) -> None:
        """Do so much of a request's work in the next pause."""
        self._postponed.append(share)
        if self._timer is None:
            self._look_in(PAUSE_S)

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._catch_up)

    def _catch_up(self) -> None:
        self._timer = None
        pausing = time.monotonic() - self._last > PAUSE_S
        if pausing:
            work(self._postponed.pop())
        if self._postponed:
            self._look_in(0 if pausing else PAUSE_S / 4)


def honest(_: Service) -> bytes:
    work()
    return RIGHT


def half(_: Service) -> bytes:
    """Really cheaper: it needs half of the work for the same answer."""
    work(0.5)
    return RIGHT


def _is_looked_at(service: Service) -> bool:
    """Whether this may be a request of which the answer is read: the first one, and one after a pause."""
    return service.requests == 1 or service.pause_s > PAUSE_S


def errors(service: Service) -> bytes:
    """Work for who looks once, after a pause; of a load it refuses everything else."""
    return honest(service) if _is_looked_at(service) else UNAVAILABLE


def error_pages(service: Service) -> bytes:
    """The same with a status of success."""
    return honest(service) if _is_looked_at(service) else ERROR_PAGE


def early(service: Service) -> bytes:
    """Work in the quiet time before the window, which a net figure takes off the window's work.

    What the warm-up left to do is done three times there: the more, the cheaper the window looks.
    """
    if service.in_window:
        return honest(service)
    service.postpone(3.0)
    return RIGHT


def late(service: Service) -> bytes:
    """Leave half of the window's work until the window is over."""
    work(0.5)
    if service.in_window:
        service.postpone(0.5)
    else:
        work(0.5)
    return RIGHT


BEHAVIOURS: dict[str, Callable[[Service], bytes]] = {
    "honest": honest,
    "half": half,
    "errors": errors,
    "error-pages": error_pages,
    "early": early,
    "late": late,
}


class Connection(asyncio.Protocol):
    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        # No request has a body.
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        for request in requests:
            self._transport.write(RIGHT if request.startswith(HEALTH) else self._service.serve())


async def serve(behaviour: str, port: int) -> None:
    service = Service(behaviour)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
