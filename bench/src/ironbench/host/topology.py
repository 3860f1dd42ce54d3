"""What the kernel tells of this machine's CPUs, in its own words. Standard library only, changes nothing.

As a script it prints that as JSON, on a host that has no ironbench yet: what ``ironbench layout --from`` reads.
"""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

SYSTEM = Path("/sys/devices/system")
CPU_TYPES = ("cpu_core", "cpu_atom")
"""Directories in /sys/devices of Intel's two kinds of cores."""
FILES = {
    "core_id": "topology/core_id",
    "package_id": "topology/physical_package_id",
    "thread_siblings": "topology/thread_siblings_list",
    "capacity": "cpu_capacity",
    "max_khz": "cpufreq/cpuinfo_max_freq",
}
CPUINFO = {"vendor_id": "vendor", "cpu family": "family"}


def rows() -> list[dict[str, str]]:
    """Return one row for each CPU that is online; "" where the kernel does not tell.

    Keys: cpu, those of FILES and CPUINFO, l2 and l3 (the CPUs that share that cache), node (NUMA), type (of
    CPU_TYPES), hypervisor ("yes" in a virtual machine that says so).
    """
    types = {name: _cpus(_read(Path("/sys/devices") / name / "cpus")) for name in CPU_TYPES}
    cpuinfo = _cpuinfo()
    found = []
    for cpu in _cpus(_read(SYSTEM / "cpu/online")):
        directory = SYSTEM / f"cpu/cpu{cpu}"
        told = cpuinfo.get(str(cpu), {})
        found.append(
            {
                "cpu": str(cpu),
                **{name: _read(directory / file) for name, file in FILES.items()},
                **{name: told.get(key, "") for key, name in CPUINFO.items()},
                "l2": _sharers(directory, "2"),
                "l3": _sharers(directory, "3"),
                "node": next((path.name[len("node") :] for path in directory.glob("node[0-9]*")), ""),
                "type": next((name for name, cpus in types.items() if cpu in cpus), ""),
                "hypervisor": "yes" if "hypervisor" in told.get("flags", "").split() else "",
            },
        )
    return found


def cpu_model() -> str:
    """Return the first CPU's name; the architecture's where /proc/cpuinfo has none."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return model[1] if model else platform.machine()


def nominal_mhz() -> float | None:
    """Return the clock that the first CPU is sold with, in MHz; None where nothing tells it.

    A virtual machine without a cpufreq driver of its own has it in /proc/cpuinfo, where a real one has the clock of
    this moment.
    """
    base = _read(SYSTEM / "cpu/cpu0/cpufreq/base_frequency")
    if base:
        return int(base) / 1000
    named = re.search(r"@ ([\d.]+)GHz", cpu_model())
    if named:
        return round(float(named[1]) * 1000, 3)
    first = next(iter(_cpuinfo().values()), {})
    flags = first.get("flags", "").split()
    told = "hypervisor" in flags and "aperfmperf" not in flags and not (SYSTEM / "cpu/cpu0/cpufreq").exists()
    return float(first["cpu MHz"]) if told and "cpu MHz" in first else None


def _cpuinfo() -> dict[str, dict[str, str]]:
    """Return the paragraphs of /proc/cpuinfo by the CPU's number."""
    found: dict[str, dict[str, str]] = {}
    for paragraph in Path("/proc/cpuinfo").read_text().split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines())
        told = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in told:
            found[told["processor"]] = told
    return found


def _sharers(directory: Path, level: str) -> str:
    for cache in sorted(directory.glob("cache/index[0-9]*")):
        if _read(cache / "level") == level and _read(cache / "type") != "Instruction":
            return _read(cache / "shared_cpu_list")
    return ""


def _cpus(text: str) -> list[int]:
    # As ironbench.cpus has it, which a host without ironbench has not.
    ranges = (part.partition("-") for part in text.split(",") if part)
    return [cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1)]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    print(json.dumps({"cpu_model": cpu_model(), "topology": rows()}))
