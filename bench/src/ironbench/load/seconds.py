"""Latency by second of the window, small enough to be kept with every run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ironbench.records import Second

if TYPE_CHECKING:
    from collections.abc import Iterable

_NS = 1_000_000_000
_NS_PER_US = 1000
_US_PER_MS = 1000


def by_second(waits: Iterable[tuple[int, int]], length_ns: int) -> list[Second]:
    """Summarise latencies by the second in which their requests were due.

    ``waits`` holds when each request that was answered or given up was due, from the window's start, and how
    long that took, in nanoseconds; ``length_ns`` is the window's length.
    """
    seconds: list[list[int]] = [[] for _ in range(math.ceil(length_ns / _NS))]
    for due_ns, duration_ns in waits:
        seconds[due_ns // _NS].append((duration_ns + _NS_PER_US // 2) // _NS_PER_US)
    return [_second(sorted(durations_us)) for durations_us in seconds]


def _second(durations_us: list[int]) -> Second:
    count = len(durations_us)
    if not count:
        return Second(count=0, mean=0, p50=0, p99=0, max=0)
    return Second(
        count=count,
        mean=sum(durations_us) / count / _US_PER_MS,
        p50=_at(durations_us, 50) / _US_PER_MS,
        p99=_at(durations_us, 99) / _US_PER_MS,
        max=durations_us[-1] / _US_PER_MS,
    )


def _at(ordered: list[int], percentile: int) -> int:
    """Return the sample that ``ironbench.load.histogram`` takes for a percentile."""
    return ordered[max(1, math.floor(percentile / 100 * len(ordered) + 0.5)) - 1]
