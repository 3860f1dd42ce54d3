"""Keeps the connections open: reopening, request timeouts, and who hears of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic_ns
from typing import TYPE_CHECKING

from ironbench.load.client import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ironbench.load.client import Address, ErrorKind

_RETRY_S = 0.05
"""Pause after a connect that failed, or before reopening a connection that was never used."""


class Handler:
    """Whose turn it is to use the connections; this one lets them rest."""

    def answered(self, request: int, status: int, ns: int) -> None:
        """Take the answer to a request."""

    def failed(self, request: int, kind: ErrorKind, ns: int) -> None:
        """Take the failure of a request."""

    def freed(self, connection: Connection) -> None:
        """Take a connection that may carry a request now."""

    def gone(self, connection: Connection) -> None:
        """Forget a connection that was free and is closed."""


class Pool:
    """The connections of one process, by their numbers in the whole run, and the handler that uses them."""

    def __init__(self, address: Address, numbers: Iterable[int], timeout_s: float) -> None:
        self.handler = Handler()
        self.errors: Counter[str] = Counter()
        """Failed attempts to connect; failed requests are their handler's."""
        self._refusal: OSError = TimeoutError("no answer in time")
        """The last of those."""
        self.reconnects = 0
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._timeout_ns = round(timeout_s * 1e9)
        self._reopening: dict[int, asyncio.Task[None]] = {}
        self.connections = [Connection(number, address, self, self._loop) for number in numbers]
        self._sweep = self._loop.call_later(timeout_s, self._time_out)

    async def open(self) -> None:
        """Open the connections that are closed; raises OSError when one cannot be opened."""
        for connection in self.connections:
            if not connection.is_open and connection.index not in self._reopening:
                await connection.open(self._timeout_s)
                connection.free_ns = monotonic_ns()

    def free(self) -> list[Connection]:
        """Return the open connections that carry no request, longest free first."""
        free = [c for c in self.connections if c.is_open and c.request < 0]
        return sorted(free, key=lambda connection: connection.free_ns)

    async def free_one(self) -> Connection:
        """Return an open connection that carries no request; where all are closed, the first that opens again.

        Raises OSError when none does in time.
        """
        if not self.free() and self._reopening:
            await asyncio.wait(
                self._reopening.values(), timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        if free := self.free():
            return free[0]
        raise self._refusal

    def abandon(self) -> None:
        """Give up every request in flight as timed out."""
        now = monotonic_ns()
        for connection in self.connections:
            if connection.request >= 0:
                connection.fail("timeout", now)

    def close(self) -> None:
        """Close everything; nobody is told."""
        self._sweep.cancel()
        for task in self._reopening.values():
            task.cancel()
        for connection in self.connections:
            connection.close()

    def answered(self, connection: Connection, request: int, status: int, ns: int) -> None:
        """Pass the answer on, and the connection if it is still open."""
        self.handler.answered(request, status, ns)
        if connection.is_open:
            connection.free_ns = ns
            self.handler.freed(connection)
        else:
            self._reopen(connection)

    def failed(self, connection: Connection, request: int, kind: ErrorKind, ns: int) -> None:
        """Pass the failure on and reopen."""
        self.handler.failed(request, kind, ns)
        self._reopen(connection)

    def lost(self, connection: Connection) -> None:
        """Reopen a connection that was closed while it was free."""
        self.handler.gone(connection)
        self._reopen(connection)

    def _reopen(self, connection: Connection) -> None:
        self.reconnects += 1
        task = self._loop.create_task(self._keep_opening(connection))
        self._reopening[connection.index] = task
        task.add_done_callback(lambda done: self._reopened(connection.index, done))

    def _reopened(self, number: int, task: asyncio.Task[None]) -> None:
        if self._reopening.get(number) is task:  # the next one may have begun
            del self._reopening[number]
        if not task.cancelled():
            task.result()  # a fault of ours goes to the loop's exception handler

    async def _keep_opening(self, connection: Connection) -> None:
        # A server that accepts and closes at once must not make a loop without pauses.
        if not connection.used:
            await asyncio.sleep(_RETRY_S)
        while True:
            try:
                await connection.open(self._timeout_s)
            except OSError as error:
                self._refusal = error
                self.errors["connect"] += 1
                await asyncio.sleep(_RETRY_S)
            else:
                break
        connection.free_ns = monotonic_ns()
        self.handler.freed(connection)

    def _time_out(self) -> None:
        # A request sent from now on cannot expire before now + timeout, so one timer serves all.
        now = monotonic_ns()
        earliest = now
        for connection in self.connections:
            if connection.request >= 0:
                if now - connection.sent_ns >= self._timeout_ns:
                    connection.fail("timeout", now)
                else:
                    earliest = min(earliest, connection.sent_ns)
        # uvloop's timers may come up to 1 ms early.
        delay_s = (earliest + self._timeout_ns - now) / 1e9 + 0.001
        self._sweep = self._loop.call_later(delay_s, self._time_out)
