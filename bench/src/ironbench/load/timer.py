"""A timer of the event loop that is exact to some ten microseconds and burns no CPU."""

from __future__ import annotations

import ctypes
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_NS = 1_000_000_000


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """Calls back at absolute times of time.monotonic_ns().

    uvloop's own timers count whole milliseconds; a timerfd (man 2 timerfd_create) in its poll set is
    a high-resolution timer of the kernel. os.timerfd_create exists from Python 3.13 on only.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        """Register with ``loop``; raises OSError when the kernel gives no timer."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime  # looked up once, not at every arming
        self._fd = libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._pointer = ctypes.byref(self._spec)
        self._loop = loop
        loop.add_reader(self._fd, callback)

    def arm(self, monotonic_ns: int) -> None:
        """Call back once at ``monotonic_ns`` (at once when it has passed).

        Arming also clears an expiry, so the callback must arm or disarm, and need not read.
        """
        self._spec.value_s, self._spec.value_ns = divmod(max(1, monotonic_ns), _NS)
        self._set()

    def disarm(self) -> None:
        """Call back no more."""
        self._spec.value_s = self._spec.value_ns = 0
        self._set()

    def close(self) -> None:
        """Leave the loop and free the descriptor."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _set(self) -> None:
        if self._settime(self._fd, _TFD_TIMER_ABSTIME, self._pointer, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
