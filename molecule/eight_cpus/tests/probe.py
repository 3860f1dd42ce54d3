"""Prints every process of bench.slice and what the kernel gives it, as JSON. Run on a host, standard library only."""

import json
import re
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def process(pid):
    """One process, with the CPUs of each of its threads; None when it has ended."""
    try:
        status = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/status")]
        limits = Path(f"/proc/{pid}/limits").read_text()
        return {
            "pid": pid,
            "name": re.search(r"^Name:\s+(.+)$", status[0], re.MULTILINE)[1],
            "cpus": [re.search(r"^Cpus_allowed_list:\s+(\S+)$", text, re.MULTILINE)[1] for text in status],
            "nofile": re.search(r"^Max open files +(\S+) +(\S+)", limits, re.MULTILINE).groups(),
        }
    except (OSError, IndexError):
        return None


def main():
    found = []
    for listing in sorted(CGROUPS.glob("bench.slice/**/cgroup.procs")):
        unit = listing.parent
        effective = unit / "cpuset.cpus.effective"
        allowed = effective.read_text().strip() if effective.exists() else "none"
        there = filter(None, map(process, map(int, listing.read_text().split())))
        found += [one | {"unit": unit.name, "allowed": allowed} for one in there]
    print(json.dumps(found))


main()
