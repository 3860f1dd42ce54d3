"""When sar is started."""

from __future__ import annotations

import os
import time

from ironbench.host import sar


def test_sar_starts_a_tick_after_a_whole_second(monkeypatch):
    """Its own start comes on top, and may take next to nothing."""
    became = []
    monkeypatch.setattr(os, "execvp", lambda _, command: became.append((time.time_ns(), command)))
    sar.main("FILE", "1")
    ((started_ns, command),) = became
    assert started_ns % sar.SECOND_NS >= sar.TICK_NS
    assert command[-4:] == ["-o", "FILE", "1", "1"]
