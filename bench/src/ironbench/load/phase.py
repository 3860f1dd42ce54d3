"""Sends the requests of one schedule when they are due and keeps what became of each."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from time import monotonic_ns, process_time_ns
from typing import TYPE_CHECKING, get_args

from ironbench.load.client import ErrorKind
from ironbench.load.pool import Handler
from ironbench.load.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.load.client import Connection
    from ironbench.load.pool import Pool
    from ironbench.load.schedule import Lane, Schedule

UNSENT = 0
ERRORS: dict[ErrorKind, int] = {kind: -1 - number for number, kind in enumerate(get_args(ErrorKind))}
"""Outcomes below 0; those above 0 are HTTP statuses."""


class _Queue:
    """A lane at work."""

    __slots__ = ("count", "due", "free", "next", "requests")

    def __init__(self, lane: Lane, start_ns: int) -> None:
        self.due = [start_ns + due for due in lane.due_ns]
        self.requests = lane.requests
        self.count = len(self.due)
        self.next = 0
        self.free: deque[Connection] = deque()


class Phase(Handler):
    """One phase: arrays by request number, times in nanoseconds of time.monotonic_ns().

    Everything is laid out before the start; in the phase itself only numbers are written into arrays.
    """

    def __init__(self, schedule: Schedule, requests: Sequence[bytes], pool: Pool, start_ns: int) -> None:
        count = schedule.count
        self.count = count
        self.start_ns = start_ns
        self.end_ns = start_ns + schedule.length_ns
        self.drained_ns = 0
        self.due_ns = array("q", bytes(8 * count))
        self.sent_ns = array("q", bytes(8 * count))
        self.done_ns = array("q", bytes(8 * count))
        self.free_ns = array("q", bytes(8 * count))
        self.connection = array("i", bytes(4 * count))
        self.outcome = array("i", bytes(4 * count))
        self.ticks = array("q")
        """When the timer ran: at each due time, as soon as the process got to it."""
        self.cpu_ns = 0
        """CPU time of the process from the start (it sleeps until the first send) to drained."""
        self._queues = [_Queue(lane, start_ns) for lane in schedule.lanes]
        self._queue_of: dict[int, _Queue] = {}
        for lane, queue in zip(schedule.lanes, self._queues, strict=True):
            for request, due in zip(queue.requests, queue.due, strict=True):
                self.due_ns[request] = due
            self._queue_of |= dict.fromkeys(lane.connections, queue)
        self._wakes = [start_ns + instant for instant in schedule.instants] + [self.end_ns]
        self._wake = 0
        self._requests = requests
        self._pool = pool
        self._in_flight = 0
        self._ended = asyncio.Event()
        self._drained = asyncio.Event()
        self._timer = Timer(asyncio.get_running_loop(), self._tick)

    async def run(self, drain_s: float) -> None:
        """Send until the end, then wait for the answers for at most ``drain_s``.

        What is in flight after that has the outcome ``timeout``.
        """
        for connection in self._pool.free():
            self._queue_of[connection.index].free.append(connection)
        self._pool.handler = self
        cpu_ns = process_time_ns()
        self._timer.arm(self._wakes[0])
        try:
            await self._ended.wait()
            async with asyncio.timeout(drain_s):
                await self._drained.wait()
        except TimeoutError:
            self._pool.abandon()
        finally:
            self.drained_ns = monotonic_ns()
            self.cpu_ns = process_time_ns() - cpu_ns
            self._pool.handler = Handler()
            self._timer.close()

    def answered(self, request: int, status: int, ns: int) -> None:
        """Keep the answer's time and status."""
        self.outcome[request] = status
        self._finish(request, ns)

    def failed(self, request: int, kind: ErrorKind, ns: int) -> None:
        """Keep the failure's time and kind."""
        self.outcome[request] = ERRORS[kind]
        self._finish(request, ns)

    def freed(self, connection: Connection) -> None:
        """Queue the connection behind those that have been free longer, and use it if one is due."""
        queue = self._queue_of[connection.index]
        queue.free.append(connection)
        self._pump(queue)

    def gone(self, connection: Connection) -> None:
        """Take a closed connection out of the queue of free ones."""
        self._queue_of[connection.index].free.remove(connection)

    def _tick(self) -> None:
        now = monotonic_ns()
        wake = self._wake
        wakes = self._wakes
        self.ticks.append(now)
        while wake < len(wakes) and wakes[wake] <= now:
            wake += 1
        self._wake = wake
        for queue in self._queues:
            self._pump(queue)
        # Armed whether or not a connection is free: only a late tick tells that the generator stood still.
        if wake < len(wakes):
            self._timer.arm(wakes[wake])
        else:
            self._timer.disarm()
            self._ended.set()
            if not self._in_flight:
                self._drained.set()

    def _pump(self, queue: _Queue) -> None:
        while queue.free and queue.next < queue.count:
            now = monotonic_ns()
            if queue.due[queue.next] > now or now >= self.end_ns:
                return
            request = queue.requests[queue.next]
            queue.next += 1
            connection = queue.free.popleft()
            self.connection[request] = connection.index
            self.free_ns[request] = connection.free_ns
            self.sent_ns[request] = now
            self._in_flight += 1
            connection.send(request, self._requests[request], now)

    def _finish(self, request: int, ns: int) -> None:
        self.done_ns[request] = ns
        self._in_flight -= 1
        if not self._in_flight and self._ended.is_set():
            self._drained.set()
