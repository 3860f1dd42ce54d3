"""Prints what preflight must know of a host, as JSON. Standard library only, changes nothing.

Arguments: the slice that the bench's services live in, then PORT=WHAT for each port that they need, and absolute
paths, with wildcards, of what is looked for.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

LISTEN = "0A"  # state of a listening socket in /proc/net/tcp
LOOKS = 10
LOOK_AGAIN_S = 0.2


def listeners() -> dict[int, str]:
    """Inode of the listening TCP socket by port."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN:
                found[int(fields[1].rsplit(":", 1)[1], 16)] = fields[9]
    return found


def owner(inode: str) -> "int | None":
    """The process that holds the socket, None when it is not visible."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return int(process.name)
        except OSError:  # the process ended while we looked
            continue
    return None


def taker(port: int, slice_name: str) -> "dict | None":
    """Who outside of the slice listens at the port; None if nobody does.

    A service that starts or stops meanwhile (what a killed plan left prepares a session) leaves a socket without an
    owner for a moment, so one whose owner is not visible is looked at again.
    """
    for look in range(LOOKS):
        time.sleep(LOOK_AGAIN_S if look else 0)
        inode = listeners().get(port)
        if inode is None:
            return None
        pid = owner(inode)
        try:
            if pid is not None:
                process = Path(f"/proc/{pid}")
                if slice_name in (process / "cgroup").read_text():
                    return None
                return {"process": (process / "comm").read_text().strip(), "pid": pid}
        except OSError:  # it ended while we looked
            continue
    return {"process": "a process that is not visible", "pid": None}


def main() -> None:
    slice_name, *wanted = sys.argv[1:]
    patterns = [item for item in wanted if item.startswith("/")]
    ports = [item for item in wanted if item not in patterns]
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    taken = []
    for port, what in (item.split("=", 1) for item in ports):
        found = taker(int(port), slice_name)
        if found:
            taken.append({"port": int(port), "what": what, **found})
    print(
        json.dumps(
            {
                "root": os.geteuid() == 0,
                "distribution": release.get("ID", "").strip('"'),
                "version": release.get("VERSION_ID", "").strip('"'),
                "pretty": release.get("PRETTY_NAME", "").strip('"'),
                "init": Path("/proc/1/comm").read_text().strip(),
                "cpus": Path("/sys/devices/system/cpu/online").read_text().strip(),
                "python": platform.python_version(),
                "taken": taken,
                "found": sorted(str(path) for pattern in patterns for path in Path("/").glob(pattern[1:])),
            },
        ),
    )


main()
