"""What blocked an event loop: asyncio's debug log, out of the journal's JSON lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.records import LoopBlocks

if TYPE_CHECKING:
    from ironbench.records import LoadResult

LATE_NS = 100_000_000
"""What the journal may take to stamp the line of a callback that ended with the last answer."""

_LINE = re.compile(r"Executing .* took (\d+\.\d{3}) seconds$", re.DOTALL)
"""As asyncio and uvloop write it, to the millisecond."""


class _Entry(msgspec.Struct):
    at_us: str = msgspec.field(name="__REALTIME_TIMESTAMP")
    """When the journal received it: the end of the callback."""
    message: str | list[int] | None = msgspec.field(name="MESSAGE", default=None)
    """A list of bytes where the text is not UTF-8, None where it is too long."""


def loop_blocks(text: bytes, load: LoadResult) -> LoopBlocks:
    """Return what blocked the event loops from the first send until everything had drained.

    Raises IronbenchError when the text is not what ``journalctl --output=json`` writes.
    """
    durations = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = msgspec.json.decode(line, type=_Entry)
            at_ns = int(entry.at_us) * 1000
        except (msgspec.DecodeError, ValueError) as error:
            raise IronbenchError(f"line {number} is none of journalctl's JSON: {error}.") from error
        found = _LINE.search(entry.message) if isinstance(entry.message, str) else None
        if found and load.first_send_ns <= at_ns <= load.drained_ns + LATE_NS:
            durations.append(round(1000 * float(found[1])))
    total = sum(durations)
    return LoopBlocks(
        callbacks=len(durations),
        total_ms=total,
        per_request_ms=total / load.expected if load.expected else 0.0,
        durations_ms=sorted(map(float, durations)),
    )
