"""Prints what preflight must know of a host, as JSON. Standard library only, changes nothing.

Arguments: the slice that the bench's services live in, then PORT=WHAT for each port that they need.
"""

import json
import os
import platform
import sys
from pathlib import Path

LISTEN = "0A"  # state of a listening socket in /proc/net/tcp


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


def main() -> None:
    slice_name, *ports = sys.argv[1:]
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    listening = listeners()
    taken = []
    for port, what in (item.split("=", 1) for item in ports):
        if int(port) not in listening:
            continue
        pid = owner(listening[int(port)])
        if pid is None or slice_name not in Path(f"/proc/{pid}/cgroup").read_text():
            name = Path(f"/proc/{pid}/comm").read_text().strip() if pid else "a process that is not visible"
            taken.append({"port": int(port), "what": what, "process": name, "pid": pid})
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
            },
        ),
    )


main()
