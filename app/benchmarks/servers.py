"""The servers of a block: transient units on one CPU, each in a cgroup of its own."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from ironbench.errors import IronbenchError
from ironbench.host import proc, system

from .clients import Argon2Client, HttpClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.records import Host

    from .records import Server

HOME = Path(__file__).parents[1]
"""Holds this package and, named after its lock, a directory with each virtualenv."""

PREFIX = "benchmark-app-"
START_S = 180.0
"""All servers start at once, at about 1.5 s of work each."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    cgroup: Path
    client: HttpClient | Argon2Client

    def usage_us(self) -> int:
        return usage_us(self.cgroup)


@contextmanager
def running(servers: dict[str, Server], cpu: int, host: Host) -> Iterator[dict[str, Running]]:
    """Run the servers side by side on one CPU; what is left of an earlier run ends first.

    They start on all CPUs of the app, since nothing is measured then, and are confined to the one
    when all of them answer. Raises IronbenchError when one does not start, or is not where it should be.
    """
    stop()
    ports = dict(zip(servers, _free_ports(len(servers)), strict=True))
    found: dict[str, Running] = {}
    try:
        for name, server in servers.items():
            _start(name, server, ports[name], host)
        deadline = time.monotonic() + START_S
        for name, server in servers.items():
            client = _connect(name, server, ports[name], deadline)
            found[name] = Running(cgroup=cgroup_of(_unit(name)), client=client)
        for name, each in found.items():
            _confine(cpu, name, each.cgroup)
        yield found
    finally:
        for each in found.values():
            each.client.close()
        stop()


def stop() -> None:
    system.stop(f"{PREFIX}*.service")


def cgroup_of(unit: str) -> Path:
    return proc.unified_mount() / system.show(unit)["ControlGroup"].lstrip("/")


def usage_us(cgroup: Path) -> int:
    """CPU time that a cgroup has used, in microseconds; exact while it is idle."""
    return int((cgroup / "cpu.stat").read_text().split(maxsplit=2)[1])


def _start(name: str, server: Server, port: int, host: Host) -> None:
    programs = HOME / server.lock / "venv" / "bin"
    if server.runs == "variant":
        command = [str(programs / "auth-app"), "serve", "--variant", server.variant]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    else:
        command = [str(programs / "python"), "-m", "benchmarks.serve", server.runs, str(port)]
    properties = {
        "Slice": host.slice,
        "CPUAffinity": host.layout.app,
        "User": "auth-app",
        "Group": "auth-app",
        "WorkingDirectory": str(HOME),
        "LimitNOFILE": "65535",
        "Environment": f"PYTHONPATH={HOME}",
    }
    system.start_transient(_unit(name), command, properties)


def _connect(name: str, server: Server, port: int, deadline: float) -> HttpClient | Argon2Client:
    while True:
        try:
            if server.runs == "argon2":
                return Argon2Client(port)
            client = HttpClient(name, port)
        except OSError as error:
            if system.show(_unit(name))["ActiveState"] != "active":
                raise system.failed(_unit(name), "ended") from error
            if time.monotonic() > deadline:
                raise system.failed(_unit(name), f"does not answer after {START_S:.0f} s") from error
            time.sleep(0.1)
        else:
            client.perform("ping", 1)
            return client


def _confine(cpu: int, name: str, cgroup: Path) -> None:
    """Move every thread to the CPU; those that it starts later inherit that."""
    for pid in proc.cgroup_pids(cgroup):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {cpu})
        seen = proc.affinity(name, pid, str(cpu))
        if seen is None or not seen.ok:
            raise IronbenchError(
                f"{name} cannot be confined to CPU {cpu}: look in {_unit(name)} for what moves it away."
            )


def _unit(name: str) -> str:
    return f"{PREFIX}{name}.service"


def _free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def online_cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))
