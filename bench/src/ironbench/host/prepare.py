"""Making a host ready for a session: a fresh state of the services, the app running, a snapshot."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ironbench.errors import IronbenchError
from ironbench.host import holder, measured, one_worker, snapshot, system
from ironbench.host.place import app_pattern
from ironbench.host.stop import stop_transient

if TYPE_CHECKING:
    from ironbench.host.place import Place
    from ironbench.records import HostCommands, Service

HEALTH_DEADLINE_S = 300.0
"""What the app may take from its start until it answers: minutes where CPUs are emulated. One that fails is seen at once."""
HEALTH_POLL_S = 0.05
RECOVERY_S = 20.0
"""What services may take to find a peer again that had been stopped (a pooler waits between logins)."""
RECOVERY_POLL_S = 0.5


def prepare(place: Place) -> dict:
    """Bring the host to the start of the session, whatever an earlier one left; return users and time."""
    began, began_ns = time.monotonic(), time.time_ns()
    app = next((service for service in place.host.services if service.name == "app"), None)
    commands = place.host.commands
    if app and not commands:
        raise IronbenchError(
            "this host has the app and no commands.prepare; run the playbook of the bench role."
        )
    holder.renew(place.host, place.session.plan, place.session.longest_s)
    stop_transient()
    shutil.rmtree(place.directory, ignore_errors=True)
    place.answer.unlink(missing_ok=True)
    place.make_directory()
    place.began.write_text(f"{began_ns}\n")
    place.keep_session()
    started = [system.start(place.service_unit(s)) for s in place.host.services if s is not app]
    users = 0
    if app and commands:
        system.stop(app_pattern(place.host) or app.unit)
        if place.session.experiment.fresh_state:
            # With peers, the services may be starting on another host at this moment.
            users = _seed_after(place, commands, RECOVERY_S if any(started) or place.host.peers else 0.0)
        one_worker.apply(place)
        _start_app(place, app)
    measured.write(place)
    snapshot.write(place, "before.json")
    return {"users": users, "took_s": round(time.monotonic() - began, 3)}


def _seed_after(place: Place, commands: HostCommands, recovery_s: float) -> int:
    """Seed, trying again for as long as services that had been stopped may need to recover."""
    deadline = time.monotonic() + recovery_s
    while True:
        try:
            return _seed(place, commands)
        except IronbenchError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RECOVERY_POLL_S)


def _seed(place: Place, commands: HostCommands) -> int:
    """Run commands.prepare with its stdout going to the users' file, which only root may read."""
    wanted = place.session.experiment.users
    values = {"{variant}": place.session.variant, "{users}": str(wanted)}
    argv = [_substitute(argument, values) for argument in commands.prepare]
    file = os.open(place.users, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        done = subprocess.run(
            argv, check=False, stdout=file, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
    except OSError as error:
        raise IronbenchError(
            f"cannot run commands.prepare ({argv[0]}): {error.strerror}; mend the host's description."
        ) from error
    finally:
        os.close(file)
    if done.returncode:
        raise IronbenchError(f"commands.prepare failed ({done.returncode}): {done.stderr.strip()}")
    lines = place.users.read_bytes().splitlines()
    try:
        for line in lines:
            msgspec.json.decode(line, type=dict)
    except msgspec.DecodeError as error:
        # The line is not shown: it may hold a password.
        raise IronbenchError(
            "commands.prepare must print one JSON object a user and nothing else."
        ) from error
    if len(lines) != wanted:
        raise IronbenchError(
            f"commands.prepare printed {len(lines)} users, and the experiment needs {wanted}."
        )
    return len(lines)


def _substitute(argument: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        argument = argument.replace(name, value)
    return argument


def _start_app(place: Place, app: Service) -> None:
    unit = place.service_unit(app)
    system.start(unit)
    url = urlsplit(place.host.base_url)
    path = url.path.rstrip("/") + place.host.health_path
    deadline = time.monotonic() + HEALTH_DEADLINE_S
    while (answer := _status(url.hostname or "", url.port or 80, path)) != 200:
        if system.show(unit)["ActiveState"] != "active":
            raise system.failed(unit, "ended while it started")
        if time.monotonic() > deadline:
            what = "did not answer" if answer is None else f"answered {answer}"
            raise system.failed(unit, f"{what} at {path} within {HEALTH_DEADLINE_S:.0f} s")
        time.sleep(HEALTH_POLL_S)


def _status(host: str, port: int, path: str) -> int | None:
    """HTTP status of one GET, or None when there is no answer."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
