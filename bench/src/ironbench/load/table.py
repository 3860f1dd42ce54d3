"""What becomes of each request of a phase, in memory that the generator's processes share."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ironbench.load.schedule import Schedule

_PAGE = mmap.PAGESIZE


class Table:
    """Columns by request number; times are nanoseconds from the phase's start.

    Made before the processes are, so each writes its requests' cells and the parent reads them all:
    nothing is sent from one to another. ``outcome`` is UNSENT, an HTTP status, or an error's number
    (see ironbench.load.phase).
    """

    def __init__(self, schedule: Schedule) -> None:
        self.count = count = schedule.count
        self._memory: list[memoryview] = []
        self.due_ns = self._column("q", count)
        self.noticed_ns = self._column("q", count)
        """When the timer first ran at or after the due time."""
        self.sent_ns = self._column("q", count)
        self.free_ns = self._column("q", count)
        """When the connection that carried it became free; may be before the start. Of an unsent request:
        when the end of the phase was noticed."""
        self.done_ns = self._column("q", count)
        self.connection = self._column("i", count)
        self.outcome = self._column("i", count)
        for lane in schedule.lanes:
            for request, due in zip(lane.requests, lane.due_ns, strict=True):
                self.due_ns[request] = due

    def touch(self) -> None:
        """Have every page in this process's reach, so that no write in the phase must wait for one."""
        for memory in self._memory:
            memory[::_PAGE] = bytes(memory[::_PAGE])

    def _column(self, code: Literal["q", "i"], count: int) -> memoryview:
        memory = memoryview(mmap.mmap(-1, max(1, count) * 8))
        self._memory.append(memory)
        return memory.cast(code)[:count]
