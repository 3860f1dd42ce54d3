"""Keeping idle CPUs from halting: ``python -m ironbench.host.awake SECONDS``.

A virtual CPU that halts between two requests wakes when its hypervisor comes round to it, which takes milliseconds
where neighbours are busy, is counted as steal, and is in every latency. A physical one that sleeps deeply also wakes
late. While somebody holds /dev/cpu_dma_latency open with 0 microseconds, the kernel's idle loop polls instead: no CPU
of the machine sleeps, and its idle time is idle time as before. The kernel forgets the wish when the file is closed,
however that happens (Documentation/power/pm_qos_interface.rst).
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

DEVICE = Path("/dev/cpu_dma_latency")


def hold(seconds: float) -> None:
    """Hold the wish for that many seconds."""
    with DEVICE.open("wb", buffering=0) as device:
        device.write(struct.pack("i", 0))
        time.sleep(seconds)


if __name__ == "__main__":
    hold(float(sys.argv[1]))
