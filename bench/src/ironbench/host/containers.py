"""Services in containers: their cgroup, their main process, their image."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ironbench.errors import IronbenchError
from ironbench.host import proc, system
from ironbench.records import Container, Image, Service

T = TypeVar("T", bound=msgspec.Struct)

REFERENCE = "ironbench.image"
"""Label of a container: its image as the inventory asks for it."""
VERSION = {
    "postgresql": ("postgres", "--version"),
    "pgbouncer": ("pgbouncer", "--version"),
    "valkey": ("valkey-server", "--version"),
}
"""What each program is asked for its version with."""


class _Config(msgspec.Struct):
    labels: dict[str, str] = msgspec.field(name="Labels", default_factory=dict)


class _Running(msgspec.Struct):
    """What is read of `docker container inspect`."""

    image: str = msgspec.field(name="Image")
    config: _Config = msgspec.field(name="Config")


class _Known(msgspec.Struct):
    """What is read of `docker image inspect`."""

    digests: list[str] | None = msgspec.field(name="RepoDigests", default=None)


def cgroup(service: Service, shown: dict[str, str]) -> str:
    """Cgroup of a service's own processes; empty while it does not run.

    ``shown`` is what ``system.show`` tells of its unit.
    """
    if service.container is None:
        return shown["ControlGroup"]
    return system.slice_cgroup(service.container.slice) if shown["ActiveState"] == "active" else ""


def main_pid(service: Service, shown: dict[str, str]) -> int:
    """Main process of a service; 0 when there is none."""
    if service.container is None:
        return int(shown["MainPID"])
    found = cgroup(service, shown)
    return proc.first_of_namespace(proc.cgroup_pids(proc.unified_mount() / found[1:])) if found else 0


def image(service: str, container: Container) -> Image:
    """Return the image that a service's container runs, as the engine and the program in it tell.

    Raises IronbenchError when the container does not run.
    """
    if not system.run(["docker", "ps", "--quiet", "--filter", f"name=^{container.name}$"]):
        raise IronbenchError(f"the container {container.name} does not run; start {container.name}.service.")
    running = _inspect("container", container.name, _Running)
    version = system.run(["docker", "exec", container.name, *VERSION[service]])
    return Image(
        reference=running.config.labels.get(REFERENCE, ""),
        id=running.image,
        digests=sorted(_inspect("image", running.image, _Known).digests or []),
        version=version.strip().splitlines()[0],
    )


def _inspect(kind: str, name: str, record: type[T]) -> T:
    text = system.run(["docker", kind, "inspect", name])
    try:
        (found,) = msgspec.json.decode(text, type=list[record])
    except (msgspec.DecodeError, ValueError) as error:
        raise IronbenchError(
            f"`docker {kind} inspect {name}` answers in a form that is not known."
        ) from error
    return found
