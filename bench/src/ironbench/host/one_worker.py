"""The app with one worker on one CPU, for a recording: a drop-in of the running system that goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.host import system

if TYPE_CHECKING:
    from ironbench.host.place import Place
    from ironbench.records import Host

RUNTIME = Path("/run/systemd/system")
NAME = "zz-ironbench-recording.conf"
"""After the drop-ins of /etc, whose CPUs it replaces: systemd.unit(5) sorts all directories' by name."""


def apply(place: Place) -> None:
    """Give the app's unit one worker if the session is a recording, else take that back."""
    recording = place.session.recording
    app = next((service for service in place.host.services if service.name == "app"), None)
    if recording is None or app is None:
        revert(place.host)
        return
    environment = place.host.commands.one_worker if place.host.commands else {}
    if not environment:
        raise IronbenchError(
            "this host's description has no commands.one_worker; run the playbook of the bench role."
        )
    lines = ["[Service]", *(f"Environment={name}={value}" for name, value in environment.items())]
    lines += ["CPUAffinity=", f"CPUAffinity={first_cpu(app.cpus)}"]
    directory = RUNTIME / f"{place.service_unit(app)}.d"
    revert(place.host)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).write_text("\n".join(lines) + "\n")
    system.run(["systemctl", "daemon-reload"])


def revert(host: Host) -> None:
    """Take every such drop-in back; the units that run keep what they have until they start again."""
    app = next((service for service in host.services if service.name == "app"), None)
    if app is None:
        return
    found = list(RUNTIME.glob(f"{app.unit.replace('{variant}', '*')}.d/{NAME}"))
    for path in found:
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    if found:
        system.run(["systemctl", "daemon-reload"])


def first_cpu(cpus: str) -> int:
    """Return the first CPU of a list."""
    return min(parse_cpu_list(cpus))
