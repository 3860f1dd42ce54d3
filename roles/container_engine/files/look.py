#!/usr/bin/python3
"""Prints as JSON how the container engine is confined. Arguments: CPUS as a JSON list, all or nothing, UNIT...

Whether cgroup v2 has cpusets, on which CPUs the threads of each unit are, and the most open files that the last
unit can give (0: as many as asked for). With CPUs it moves the threads there first, where there is no cpuset to
do that, and says whether one was elsewhere.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
SYS_RESOURCE = 24


def show(unit: str, what: str) -> str:
    argv = ["systemctl", "show", f"--property={what}", "--value", "--", unit]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def threads(unit: str) -> "list[int]":
    """The threads of all processes of the unit, those below its own cgroup included."""
    unified = CGROUP / "unified"
    cgroup = (unified if unified.is_dir() else CGROUP) / show(unit, "ControlGroup").lstrip("/")
    pids = [pid for listing in cgroup.rglob("cgroup.procs") for pid in listing.read_text().split()]
    found = []
    for pid in pids:
        try:
            found += [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
        except FileNotFoundError:  # it ended while we looked
            continue
    return found


def affinity(thread: int) -> "set[int]":
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:
        return set()


def ceiling(unit: str) -> int:
    pid = show(unit, "MainPID")
    if pid == "0":
        return 0
    capabilities = re.search(r"^CapEff:\s+(\S+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    hard = re.search(r"^Max open files +\S+ +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    if (capabilities and int(capabilities[1], 16) >> SYS_RESOURCE & 1) or not hard:
        return 0
    return int(hard[1])


def main() -> None:
    wanted, *units = sys.argv[1:]
    controllers = CGROUP / "cgroup.controllers"
    cpuset = controllers.exists() and "cpuset" in controllers.read_text().split()
    moved = False
    if wanted and not cpuset:
        cpus = affinity(1) if wanted == "all" else set(json.loads(wanted))
        for thread in [thread for unit in units for thread in threads(unit)]:
            if affinity(thread) not in (cpus, set()):
                os.sched_setaffinity(thread, cpus)
                moved = True
    print(
        json.dumps(
            {
                "cpuset": cpuset,
                "moved": moved,
                "cpus": {unit: sorted(set().union(*map(affinity, threads(unit)))) for unit in units},
                "nofile": ceiling(units[-1]),
            }
        )
    )


main()
