"""What the kernel tells in /proc, /sys, and the cgroup hierarchy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.records import Affinity

if TYPE_CHECKING:
    from collections.abc import Iterable

CPU_DIRECTORY = Path("/sys/devices/system/cpu")


def unified_mount() -> Path:
    """Where the cgroup v2 hierarchy is mounted, alone or beside v1 (hybrid).

    Raises IronbenchError when there is none, or the kernel (before 4.15) keeps no cpu.stat there.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        mount = Path(fields.split()[4])
        if tail.startswith("cgroup2 ") and (mount / "init.scope" / "cpu.stat").exists():
            return mount
    raise IronbenchError(
        "this host has no cgroup v2 hierarchy with cpu.stat; boot with systemd.unified_cgroup_hierarchy=1."
    )


def cgroup_pids(cgroup: Path) -> list[int]:
    """Return the processes of a cgroup and those below; none when it does not exist."""
    pids: set[int] = set()
    for listing in [cgroup / "cgroup.procs", *cgroup.rglob("*/cgroup.procs")]:
        try:
            pids.update(map(int, listing.read_text().split()))
        except FileNotFoundError:
            continue
    return sorted(pids)


def workers(cgroup: Path) -> list[int]:
    """Return the processes of a cgroup that hold threads of an event loop: not those that have children in it.

    A server with one worker is that worker; a supervisor has its workers as children, and beside them
    multiprocessing's resource tracker, which serves nobody. One that ends meanwhile is none.
    """
    parents, commands = {}, {}
    for pid in cgroup_pids(cgroup):
        try:
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            commands[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [
        pid
        for pid, command in commands.items()
        if pid not in parents.values() and b"resource_tracker" not in command
    ]


def first_of_namespace(pids: Iterable[int]) -> int:
    """Return the process that is number 1 in a PID namespace of its own: a container's first one; 0 without one."""
    for pid in pids:
        status = read_or_none(Path(f"/proc/{pid}/status")) or ""
        numbers = status.partition("NSpid:")[2].split("\n", 1)[0].split()
        if len(numbers) > 1 and numbers[-1] == "1":
            return pid
    return 0


def affinity(service: str, pid: int, wanted: str) -> Affinity | None:
    """Effective CPUs of all threads of a process; None when it is gone.

    ``ok`` asks for the very CPUs wanted, for every thread: systemd drops CPUs that do not exist from
    CPUAffinity= in silence, so a subset is not as laid out. ``effective`` joins threads that differ
    with ``+``.
    """
    lists: dict[str, None] = {}
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            status = (task / "status").read_text()
            lists[status.partition("Cpus_allowed_list:")[2].split("\n", 1)[0].strip()] = None
    except (FileNotFoundError, ProcessLookupError):
        if not Path(f"/proc/{pid}").exists():
            return None
    ok = bool(lists) and all(parse_cpu_list(seen) == parse_cpu_list(wanted) for seen in lists)
    return Affinity(service=service, pid=pid, wanted=wanted, effective="+".join(sorted(lists)), ok=ok)


def nofile(pid: int) -> tuple[int, int]:
    """Return (soft, hard) limit of open files of a process; (0, 0) when it is gone, -1 for unlimited."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    line = next(line for line in lines if line.startswith("Max open files"))
    soft, hard = (-1 if value == "unlimited" else int(value) for value in line.split()[3:5])
    return soft, hard


def throttled() -> dict[str, int]:
    """Thermal throttle counts by CPU; empty where the kernel does not tell."""
    return {
        path.parent.parent.name.removeprefix("cpu"): int(path.read_text())
        for path in sorted(CPU_DIRECTORY.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    }


def read_or_none(path: Path) -> str | None:
    """Return the stripped text of a file that not every kernel has."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
