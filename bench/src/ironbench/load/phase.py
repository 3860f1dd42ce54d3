"""Sends one process's share of a phase when it is due and keeps what became of each request."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from time import monotonic_ns, process_time_ns
from typing import TYPE_CHECKING, get_args

from ironbench.load.client import ErrorKind
from ironbench.load.pool import Handler
from ironbench.load.schedule import wakes
from ironbench.load.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.load.bodies import Reader
    from ironbench.load.client import Connection
    from ironbench.load.pool import Pool
    from ironbench.load.schedule import Lane
    from ironbench.load.table import Table

UNSENT = 0
ERRORS: dict[ErrorKind, int] = {kind: -1 - number for number, kind in enumerate(get_args(ErrorKind))}
"""Outcomes below 0; those above 0 are HTTP statuses."""
HEARTBEAT_NS = 10_000_000
"""Longest time between two looks at the clock: a generator that stands still must show."""


class _Queue:
    """A lane at work."""

    __slots__ = ("count", "data", "due", "free", "next", "read", "requests", "seen")

    def __init__(self, lane: Lane, data: Sequence[bytes], read: bytes) -> None:
        self.due = lane.due_ns
        self.requests = lane.requests
        self.data = data
        self.read = read
        """By place, whether the answer's body is read."""
        self.count = len(lane.due_ns)
        self.next = 0
        """The first that was not sent."""
        self.seen = 0
        """The first that the timer has not noticed."""
        self.free: deque[Connection] = deque()


class Phase(Handler):
    """One process's lanes of one phase; ``data`` holds each lane's requests as bytes.

    Everything is laid out before the start; in the phase itself only numbers are written into cells.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        length_ns: int,
        data: Sequence[Sequence[bytes]],
        table: Table,
        reader: Reader,
    ) -> None:
        self.length_ns = length_ns
        self.start_ns = 0
        """Start and the two that follow: nanoseconds of time.monotonic_ns()."""
        self.drained_ns = 0
        self.cpu_ns = 0
        """CPU time of the process from the start (it sleeps until the first send) to drained."""
        self._table = table
        self._reader = reader
        self._queues = [
            _Queue(lane, requests, bytes(number in reader.chosen for number in lane.numbers))
            for lane, requests in zip(lanes, data, strict=True)
        ]
        self._queue_of: dict[int, _Queue] = {}
        for lane, queue in zip(lanes, self._queues, strict=True):
            self._queue_of |= dict.fromkeys(lane.connections, queue)
        self._wakes, self._beats = wakes([lane.due_ns for lane in lanes], length_ns, HEARTBEAT_NS)
        self._wake = 0
        self._beat = 0
        self.beat_lag_ns = array("q", bytes(8 * len(self._beats)))
        """How late the timer ran at each instant between due times."""
        self._in_flight = 0
        self._ended = asyncio.Event()
        self._drained = asyncio.Event()
        table.touch()

    async def run(self, pool: Pool, start_ns: int, drain_s: float) -> None:
        """Send from ``start_ns`` until the end, then wait for the answers for at most ``drain_s``.

        What is in flight after that has the outcome ``timeout``.
        """
        self.start_ns = start_ns
        self._pool = pool
        self._timer = Timer(asyncio.get_running_loop(), self._tick)
        for connection in pool.free():
            self._queue_of[connection.index].free.append(connection)
        pool.handler = self
        cpu_ns = process_time_ns()
        self._timer.arm(start_ns + self._wakes[0])
        try:
            await self._ended.wait()
            async with asyncio.timeout(drain_s):
                await self._drained.wait()
        except TimeoutError:
            pool.abandon()
        finally:
            self.drained_ns = monotonic_ns()
            self.cpu_ns = process_time_ns() - cpu_ns
            pool.handler = Handler()
            self._timer.close()

    def answered(self, request: int, status: int, ns: int) -> None:
        """Keep the answer's time and status."""
        self._table.outcome[request] = status
        self._reader.answered(request, status)
        self._finish(request, ns)

    def failed(self, request: int, kind: ErrorKind, ns: int) -> None:
        """Keep the failure's time and kind."""
        self._table.outcome[request] = ERRORS[kind]
        self._reader.failed(request)
        self._finish(request, ns)

    def freed(self, connection: Connection) -> None:
        """Queue the connection behind those that have been free longer, and use it if one is due."""
        queue = self._queue_of[connection.index]
        queue.free.append(connection)
        if queue.next < queue.count and queue.due[queue.next] <= monotonic_ns() - self.start_ns:
            self._pump(queue)

    def gone(self, connection: Connection) -> None:
        """Take a closed connection out of the queue of free ones."""
        self._queue_of[connection.index].free.remove(connection)

    def _tick(self) -> None:
        now = monotonic_ns() - self.start_ns
        wakes = self._wakes
        wake = self._wake
        while wake < len(wakes) and wakes[wake] <= now:
            wake += 1
        self._wake = wake
        beats = self._beats
        while self._beat < len(beats) and beats[self._beat] <= now:
            self.beat_lag_ns[self._beat] = now - beats[self._beat]
            self._beat += 1
        noticed_ns = self._table.noticed_ns
        for queue in self._queues:
            seen, count, due = queue.seen, queue.count, queue.due
            while seen < count and due[seen] <= now:
                noticed_ns[queue.requests[seen]] = now
                seen += 1
            if seen != queue.seen:
                queue.seen = seen
                self._pump(queue)
        # Armed whether or not a connection is free: only a late tick tells that the generator stood still.
        if wake < len(wakes):
            self._timer.arm(self.start_ns + wakes[wake])
        else:
            self._timer.disarm()
            for queue in self._queues:
                for number in range(queue.next, queue.count):
                    self._table.free_ns[queue.requests[number]] = now
            self._ended.set()
            if not self._in_flight:
                self._drained.set()

    def _pump(self, queue: _Queue) -> None:
        table = self._table
        while queue.free and queue.next < queue.count:
            now = monotonic_ns()
            at = now - self.start_ns
            if queue.due[queue.next] > at or at >= self.length_ns:
                return
            number = queue.next
            request = queue.requests[number]
            queue.next = number + 1
            connection = queue.free.popleft()
            table.connection[request] = connection.index
            table.free_ns[request] = connection.free_ns - self.start_ns
            table.sent_ns[request] = at
            self._in_flight += 1
            if queue.read[number]:
                self._reader.read(request, connection)
            connection.send(request, queue.data[number], now)

    def _finish(self, request: int, ns: int) -> None:
        self._table.done_ns[request] = ns - self.start_ns
        self._in_flight -= 1
        if not self._in_flight and self._ended.is_set():
            self._drained.set()
