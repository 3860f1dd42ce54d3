#!/usr/bin/python3
"""Waits until a service listens: ADDRESS PORT SECONDS, with the unit's main process in $MAINPID.

Fails when that process has ended, or the time is up.
"""

import os
import socket
import sys
import time
from pathlib import Path

POLL_S = 0.1


def main() -> "str | None":
    address, port, seconds = sys.argv[1:]
    deadline = time.monotonic() + float(seconds)
    while True:
        try:
            socket.create_connection((address, int(port)), timeout=1).close()
        except OSError as error:
            if not Path("/proc", os.environ["MAINPID"]).exists():
                return "the container has ended"
            if time.monotonic() > deadline:
                return f"nothing listens at {address}, port {port}, after {seconds} s: {error}"
            time.sleep(POLL_S)
        else:
            return None


sys.exit(main())
