"""Fixtures of all scenarios: the host's layout, and the journal when a test fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

LAYOUT = yaml.safe_load((Path(__file__).parent / "inventory/group_vars/all.yml").read_text())["core_layout"]


def cpus(text: str) -> set[int]:
    """The CPUs of a kernel CPU list."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


class Unit:
    """A unit's processes as /proc shows them."""

    def __init__(self, host, name: str) -> None:
        self.host, self.name = host, name

    def show(self, what: str) -> str:
        return self.host.check_output(f"systemctl show --property={what} --value {self.name}").strip()

    @property
    def pids(self) -> list[int]:
        return [
            int(pid)
            for pid in self.host.file(
                f"/sys/fs/cgroup{self.show('ControlGroup')}/cgroup.procs"
            ).content_string.split()
        ]

    @property
    def thread_cpus(self) -> dict[str, set[int]]:
        """Effective CPUs of every thread of every process of the unit."""
        lines = self.host.check_output(
            "grep -H Cpus_allowed_list " + " ".join(f"/proc/{pid}/task/*/status" for pid in self.pids),
        ).splitlines()
        return {line.split(":")[0]: cpus(line.split(":")[2].strip()) for line in lines}

    @property
    def nofile(self) -> list[str]:
        """Soft and hard limit of open files of the main process."""
        limits = self.host.file(f"/proc/{self.show('MainPID')}/limits").content_string
        return next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]


@pytest.fixture
def unit(host):
    return lambda name: Unit(host, name)


@pytest.fixture
def layout() -> dict[str, set[int]]:
    """CPUs by owner, from the inventory that the scenario converged with."""
    return {owner: cpus(text) for owner, text in LAYOUT.items() if owner not in ("name", "packed")}


@pytest.fixture
def nofile_ceiling(host) -> str:
    """The most that this host can give: the hard limit of PID 1, or 65535 where that is higher."""
    limits = host.file("/proc/1/limits").content_string
    hard = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[4]
    return str(min(int(hard), 65535)) if hard.isdigit() else "65535"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    host = getattr(item, "funcargs", {}).get("host")
    if report.when == "call" and report.failed and host is not None:
        journal = host.run("journalctl --no-pager --lines=60 --priority=info").stdout
        report.sections.append(("journal of the host", journal))
