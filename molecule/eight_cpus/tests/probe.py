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


def processes(listing):
    """Those of one cgroup; none when its unit has ended since it was listed."""
    unit = listing.parent
    # A cgroup without the controller has the CPUs of the next one above it that has it.
    effective = (above / "cpuset.cpus.effective" for above in (unit, *unit.parents))
    try:
        allowed = next(path.read_text().strip() for path in effective if path.exists())
        there = filter(None, map(process, map(int, listing.read_text().split())))
    except OSError:
        return []
    where = {"slice": unit.relative_to(CGROUPS).parts[0], "unit": unit.name, "allowed": allowed}
    return [one | where for one in there]


def main():
    listings = sorted(CGROUPS.glob("*/**/cgroup.procs"))
    print(json.dumps([one for listing in listings for one in processes(listing)]))


main()
