"""sar as an observer: ``python -m ironbench.host.sar FILE COUNT`` starts it just after a whole second.

sar samples each second from the moment when it starts, so its samples then fall 10 to some 40 ms after
whole seconds of CLOCK_REALTIME; the generator's window starts 50 ms after one.
"""

from __future__ import annotations

import os
import sys
import time

SELECTION = ["-u", "ALL", "-P", "ALL", "-r", "-B", "-n", "DEV,TCP,ETCP,SOCK", "-w", "-q", "-d"]
"""What the article recorded, with -q and the sockets that its reports also show."""
REPORTS = (["-u", "ALL", "-P", "ALL"], ["-w", "-q"])
"""Parts of sar.txt."""
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "S_TIME_FORMAT": "ISO"}

SECOND_NS = 1_000_000_000
TICK_NS = 10_000_000
"""sar's stamp of a sample, time(2), and a file's time are those of the kernel's last tick, which is at most so old
(CONFIG_HZ is 100 or more). Nearer to a whole second a sample would have the stamp of the one before it."""


def main(file: str, count: str) -> None:
    """Wait for the next whole second and a tick, and become sar."""
    time.sleep((SECOND_NS - time.time_ns() % SECOND_NS + TICK_NS) / 1e9)
    os.execvp("sar", ["sar", *SELECTION, "-o", file, "1", count])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
