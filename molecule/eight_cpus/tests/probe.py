"""Prints every process of a unit and what the kernel gives it, as JSON. Run on a host, standard library only."""

import json
import re
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def process(pid):
    """One process, with the CPUs of each of its threads; None when it has ended."""
    try:
        status = "".join(task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/status"))
        limits = Path(f"/proc/{pid}/limits").read_text()
        return {
            "pid": pid,
            "name": re.findall(r"^Name:\s+(.+)$", status, re.MULTILINE)[0],
            "cpus": re.findall(r"^Cpus_allowed_list:\s+(\S+)$", status, re.MULTILINE),
            "nofile": re.findall(r"^Max open files +(\S+) +(\S+)", limits, re.MULTILINE)[0],
        }
    except (OSError, IndexError):
        return None


def main():
    found = []
    for listing in sorted(CGROUPS.glob("*/**/cgroup.procs")):
        unit = listing.parent
        effective = unit / "cpuset.cpus.effective"
        allowed = effective.read_text().strip() if effective.exists() else "none"
        there = filter(None, map(process, map(int, listing.read_text().split())))
        where = {"slice": unit.relative_to(CGROUPS).parts[0], "unit": unit.name, "allowed": allowed}
        found += [one | where for one in there]
    print(json.dumps(found))


main()
