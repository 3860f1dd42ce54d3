"""Services in containers: their cgroup, their main process, their image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ironbench.host import proc, system
from ironbench.records import Image

if TYPE_CHECKING:
    from ironbench.records import Service

REFERENCE = "ironbench.image"
"""Label of a container: its image as the inventory asks for it."""
PROGRAMS = {"postgresql": "postgres", "pgbouncer": "pgbouncer", "valkey": "valkey-server"}
"""Each tells its version with --version."""


def cgroup(service: Service, shown: dict[str, str]) -> str:
    """Cgroup of a service's own processes; empty while it does not run.

    ``shown`` is what ``system.show`` tells of its unit.
    """
    if not service.slice:
        return shown["ControlGroup"]
    return system.slice_cgroup(service.slice) if shown["ActiveState"] == "active" else ""


def main_pid(service: Service, shown: dict[str, str]) -> int:
    """Main process of a service; 0 when there is none. Nobody asks the engine, which would be work in a session."""
    if not service.slice:
        return int(shown["MainPID"])
    found = cgroup(service, shown)
    return proc.first_of_namespace(proc.cgroup_pids(proc.unified_mount() / found[1:])) if found else 0


def image(service: Service) -> Image:
    """Return the image that a service's container runs, as the engine and the program in it tell."""
    name = service.unit.removesuffix(".service")
    (running,) = json.loads(system.run(["docker", "container", "inspect", name]))
    (known,) = json.loads(system.run(["docker", "image", "inspect", running["Image"]]))
    version = system.run(["docker", "exec", name, PROGRAMS[service.name], "--version"])
    return Image(
        reference=running["Config"]["Labels"][REFERENCE],
        id=running["Image"],
        digests=sorted(known["RepoDigests"] or []),
        version=version.splitlines()[0],
    )
