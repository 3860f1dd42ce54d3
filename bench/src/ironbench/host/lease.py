"""What the lease's unit runs: ``wait`` until the lease is over, and ``end`` it however the wait ended."""

from __future__ import annotations

import sys
import time

from ironbench.errors import IronbenchError
from ironbench.host import quiet


def wait() -> None:
    """Sleep until the lease is over. It uses no CPU but once for each end that was put off."""
    while quiet.UNTIL.exists() and (left := float(quiet.UNTIL.read_text()) - time.monotonic()) > 0:
        time.sleep(left)


def end() -> None:
    """Put back what was changed, if nobody has."""
    if quiet.STATE.exists():
        quiet.restore()


if __name__ == "__main__":
    try:
        {"wait": wait, "end": end}[sys.argv[1]]()
    except IronbenchError as error:
        sys.exit(f"ironbench: {error}")
