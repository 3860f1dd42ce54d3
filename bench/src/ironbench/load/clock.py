"""The one conversion between the monotonic clock, which measures, and CLOCK_REALTIME, which records."""

from __future__ import annotations

from time import monotonic_ns, time_ns

MAX_SHIFT_NS = 5_000_000
"""A run in which CLOCK_REALTIME moved further than this against the monotonic clock is remarked on."""

_SECOND = 1_000_000_000
_AFTER_SECOND_NS = 50_000_000


def realtime_offset() -> int:
    """Return CLOCK_REALTIME - CLOCK_MONOTONIC in nanoseconds, from the tightest of some readings."""
    readings = []
    for _ in range(9):
        before = monotonic_ns()
        realtime = time_ns()
        after = monotonic_ns()
        readings.append((after - before, realtime - (before + after) // 2))
    return min(readings)[1]


def window_start(earliest_ns: int) -> int:
    """Return the first time that is 50 ms after a whole second and not before ``earliest_ns``."""
    whole = -(-(earliest_ns - _AFTER_SECOND_NS) // _SECOND)
    return whole * _SECOND + _AFTER_SECOND_NS
