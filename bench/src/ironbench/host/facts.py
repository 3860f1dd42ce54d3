"""What a host is: hardware, kernel, packages, and the effective settings of its services."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from ironbench.errors import IronbenchError
from ironbench.host import awake, containers, proc, quiet, system, topology
from ironbench.records import SCHEMA, Host, HostFacts

PACKAGES = ("postgresql*", "pgbouncer", "valkey*", "sysstat", "docker*", "containerd*", "runc")
KERNEL_OPTIONS = ("HZ", "NO_HZ_FULL", "TICK_CPU_ACCOUNTING", "VIRT_CPU_ACCOUNTING_GEN", "IRQ_TIME_ACCOUNTING")


def describe(host: Host) -> HostFacts:
    """Return the facts that go into the bundle; the same host tells the same twice."""
    return HostFacts(
        schema=SCHEMA,
        name=host.name,
        cpu_model=topology.cpu_model(),
        cpu_count=os.cpu_count() or 0,
        topology=topology.rows(),
        kernel=kernel(),
        kernel_config=kernel_config(),
        os=release(),
        memory_mib=memory_mib(),
        virtualization=_virtualization(),
        governors=governors(),
        boost=boost(),
        packages=_packages(),
        python=platform.python_version(),
        ironbench=version("ironbench"),
        layout=host.layout,
        somaxconn=int(Path("/proc/sys/net/core/somaxconn").read_text()),
        overcommit_memory=int(Path("/proc/sys/vm/overcommit_memory").read_text()),
        nofile=_nofile(host),
        cgroup_version=_cgroup_version(),
        cpuset=_cpuset(),
        kept_awake=_kept_awake(host),
        quiet=quiet.told(),
        images={s.name: containers.image(s) for s in host.services if s.slice and system.active(s.unit)},
        machine=host.machine,
        nominal_mhz=topology.nominal_mhz(),
        services=sorted(service.name for service in host.services),
    )


def kernel() -> str:
    """Return the kernel's name, release, build and architecture."""
    return " ".join(platform.uname()[i] for i in (0, 2, 3, 4))


def release() -> str:
    """Return the name of the operating system's release."""
    told = platform.freedesktop_os_release()
    return told.get("PRETTY_NAME", told["ID"])


def memory_mib() -> int:
    """Return the memory that the kernel has to give, in MiB; 0 where it does not tell."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(memory[1]) // 1024 if memory else 0


def governors() -> dict[str, str]:
    """Return the frequency governor of each CPU that has one, by the CPU's number."""
    found = {}
    for directory in proc.CPU_DIRECTORY.glob("cpu[0-9]*"):
        text = proc.read_or_none(directory / "cpufreq/scaling_governor")
        if text is not None:
            found[directory.name.removeprefix("cpu")] = text
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def kernel_config() -> dict[str, str]:
    """Options of KERNEL_OPTIONS from the kernel's own or the package's copy of its configuration."""
    text = proc.read_or_none(Path(f"/boot/config-{platform.release()}"))
    if text is None:
        done = subprocess.run(["zcat", "/proc/config.gz"], check=False, capture_output=True, text=True)
        text = done.stdout
    if not text:
        return {}
    options = dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))
    return {name: options.get(name, "n") for name in KERNEL_OPTIONS}


def _virtualization() -> str:
    # systemd-detect-virt exits with 1 when it prints "none".
    return subprocess.run(["systemd-detect-virt"], check=False, capture_output=True, text=True).stdout.strip()


def boost() -> str | None:
    """Return "on" or "off"; None where no driver tells."""
    for name, on in (("cpufreq/boost", "1"), ("intel_pstate/no_turbo", "0")):
        text = proc.read_or_none(proc.CPU_DIRECTORY / name)
        if text is not None:
            return "on" if text == on else "off"
    return None


def _packages() -> dict[str, str]:
    """Return the installed versions; dpkg-query exits with 1 when a pattern matches nothing."""
    show = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
    done = subprocess.run(
        ["dpkg-query", f"--showformat={show}", "--show", *PACKAGES],
        check=False,
        capture_output=True,
        text=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {package: number for status, package, number in sorted(rows) if status.startswith("ii")}


def _nofile(host: Host) -> dict[str, tuple[int, int]]:
    limits = {}
    for service in host.services:
        for unit in system.active(service.unit.replace("{variant}", "*")):
            limits[service.name] = proc.nofile(containers.main_pid(service, system.show(unit)))
    return limits


def _cgroup_version() -> str:
    try:
        return "v2" if proc.unified_mount() == Path("/sys/fs/cgroup") else "hybrid"
    except IronbenchError:
        return "v1"


def _kept_awake(host: Host) -> Literal["no", "yes", "not controllable here"]:
    if not host.keep_awake:
        return "no"
    return "yes" if awake.DEVICE.exists() else "not controllable here"


def _cpuset() -> bool:
    controllers = proc.read_or_none(Path("/sys/fs/cgroup/cgroup.controllers"))
    return "cpuset" in (controllers or "").split()
