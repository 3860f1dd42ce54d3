"""Looking at the host's processes, and the table of all that was seen."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

VARIABLES = Path(__file__).parents[2] / "inventory/eight_cpus/group_vars/all.yml"
LAYOUT = yaml.safe_load(VARIABLES.read_text())["core_layout"]
OWNERS = {
    "auth-app@": "app",
    "postgresql@": "database",
    "pgbouncer.": "database",
    "valkey-server.": "cache",
    "ironbench-load-": "load_generator",
}
"""Start of a unit's name -> whose CPUs of the layout it has."""
NOFILE = "65535"
PROBE = (Path(__file__).parent / "probe.py").read_text()
SEEN = pytest.StashKey[list["Process"]]()


class Process(NamedTuple):
    slice: str
    unit: str
    name: str
    pid: int
    cpus: list[str]
    """Of each thread, as the kernel writes them."""
    nofile: list[str]
    """Soft and hard limit."""
    allowed: str
    """Of the unit's cgroup, likewise."""

    @property
    def owner(self) -> str:
        return next(owner for start, owner in OWNERS.items() if self.unit.startswith(start))

    @property
    def has(self) -> tuple[set[str], str, list[str]]:
        return set(self.cpus), self.allowed, self.nofile

    @property
    def should_have(self) -> tuple[set[str], str, list[str]]:
        return {LAYOUT[self.owner]}, LAYOUT[self.owner], [NOFILE, NOFILE]


@pytest.fixture
def layout() -> dict[str, str]:
    """The inventory's: CPUs by owner, as the kernel writes them."""
    return {owner: text for owner, text in LAYOUT.items() if owner != "name"}


@pytest.fixture
def look(host, request):
    """Return what all processes of units have now. Those of the bench are kept for the table."""
    seen = request.config.stash.setdefault(SEEN, [])

    def now() -> list[Process]:
        found = [Process(**one) for one in json.loads(host.check_output("python3 -c %s", PROBE))]
        # In brackets: systemd's own, which is still to become the unit's.
        found = [one for one in found if not one.name.startswith("(")]
        seen.extend(one for one in found if one.slice == "bench.slice")
        return found

    return now


def pytest_terminal_summary(terminalreporter, config):
    seen: dict[tuple[str, str], list[Process]] = defaultdict(list)
    for one in config.stash.get(SEEN, []):
        unit = one.unit.partition("-baseline-")[0] if one.owner == "load_generator" else one.unit
        seen[unit, one.name].append(one)
    head = ["unit", "process", "seen", *("CPUs", "are"), *("allowed CPUs", "are"), *("nofile", "is")]
    table = [head]
    for (unit, name), same in sorted(seen.items()):
        wanted = LAYOUT[same[0].owner]
        effective = [
            {cpus for one in same for cpus in one.cpus},
            {one.allowed for one in same},
            {limit for one in same for limit in one.nofile},
        ]
        pairs = zip([wanted, wanted, NOFILE], effective, strict=True)
        cells = [cell for expected, found in pairs for cell in (expected, "+".join(sorted(found)))]
        table.append([unit, name, f"{len({one.pid for one in same})}", *cells])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    terminalreporter.section("what each process should have, and what it had whenever it was looked at")
    for row in table:
        terminalreporter.line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
