"""sar as an observer: ``python -m ironbench.host.sar FILE COUNT`` starts it on a whole second.

sar samples each second from the moment when it starts, so its samples then fall just after whole
seconds of CLOCK_REALTIME; the generator's window starts 50 ms after one.
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


def main(file: str, count: str) -> None:
    """Wait for the next whole second and become sar."""
    time.sleep((SECOND_NS - time.time_ns() % SECOND_NS) / 1e9)
    os.execvp("sar", ["sar", *SELECTION, "-o", file, "1", count])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
