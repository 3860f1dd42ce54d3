"""The article's layout on a host that has its CPUs: what /proc and the cgroups say of every process."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "shared"))
from plans import until

AT_LEAST = {"app": 3, "database": 6, "cache": 1}
"""Processes by owner: a supervisor and two workers; PostgreSQL's own and PgBouncer; one."""
PATIENCE_S = 600.0
HEALTHY = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=60)"


def show(host, unit: str, *names: str) -> list[str]:
    lines = host.check_output(f"systemctl show --property={','.join(names)} {unit}").splitlines()
    values = dict(line.split("=", 1) for line in lines)
    return [values[name] for name in names]


def services(processes) -> list[str]:
    return sorted({one.unit for one in processes if one.slice == "bench.slice"})


def leave_as_converged(host, units):
    pass


def restart(host, units):
    host.check_output(f"systemctl restart {' '.join(units)}")


def reload(host, units):
    reloadable = [unit for unit in units if show(host, unit, "CanReload") == ["yes"]]
    assert len(reloadable) == 2, "PostgreSQL and PgBouncer can"
    host.check_output(f"systemctl daemon-reload && systemctl reload {' '.join(reloadable)}")


def crash(host, units):
    """Kill the main processes; systemd makes of it what the unit says, and whoever needs the service starts it."""
    before = {unit: show(host, unit, "MainPID", "Restart") for unit in units}
    host.check_output("kill -9 " + " ".join(pid for pid, _ in before.values()))
    for unit, (pid, restarts) in before.items():

        def ended(unit=unit, pid=pid) -> str:
            main, state = show(host, unit, "MainPID", "ActiveState")
            return state if state == "failed" or (state == "active" and main not in ("0", pid)) else ""

        assert until(ended, f"an end of the crash of {unit}", PATIENCE_S) == (
            "failed" if restarts == "no" else "active"
        )
    host.check_output(f"systemctl start {' '.join(units)}")


def test_the_host_has_the_articles_cpus_and_kernel_settings(host):
    assert host.check_output("cat /sys/devices/system/cpu/online") == "0-7"
    assert "cpuset" in host.file("/sys/fs/cgroup/cgroup.controllers").content_string.split()
    assert host.sysctl("net.core.somaxconn") == 2048
    assert host.sysctl("vm.overcommit_memory") == 1


@pytest.mark.parametrize("what", [leave_as_converged, restart, reload, crash])
def test_every_process_has_what_the_inventory_says_after(what, host, look):
    before = look()
    what(host, services(before))
    until(lambda: host.run("python3 -c %s", HEALTHY).rc == 0, "a healthy app", PATIENCE_S)
    after = [one for one in look() if one.slice == "bench.slice"]
    assert [one for one in after if one.has != one.should_have] == []
    owners = Counter(one.owner for one in after)
    assert {owner for owner, least in AT_LEAST.items() if owners[owner] < least} == set(), owners
    if what in (restart, crash):
        assert not {one.pid for one in before if one.slice == "bench.slice"} & {one.pid for one in after}


def test_no_process_leaves_its_cgroups_cpus_when_it_asks(host, layout):
    """What AllowedCPUs= adds: an affinity that a process gives itself stays within."""
    (main,) = show(host, "valkey-server", "MainPID")
    asked = host.run(f"taskset --pid --cpu-list {layout['app']} {main}")
    assert asked.rc != 0, asked.stdout
    host.check_output(f"taskset --all-tasks --pid --cpu-list 0-7 {main}")
    assert host.check_output(f"grep Cpus_allowed_list /proc/{main}/status").split()[1] == layout["cache"]
