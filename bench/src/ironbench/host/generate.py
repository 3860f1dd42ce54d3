"""Starting the load generator, detached; alone, or with its share of a load beside generators elsewhere."""

from __future__ import annotations

import os
import pwd
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.collect.sar import SECOND_NS
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record
from ironbench.host import clocks, system
from ironbench.host.placement import Duty
from ironbench.load.clock import window_start
from ironbench.records import SCHEMA, LoadSpec, PlacementService

if TYPE_CHECKING:
    from ironbench.host.place import Place
    from ironbench.records import LoadShare

OVERDUE_S = 30.0
"""What the generator may take beyond ``longest_s`` before systemd ends it."""
NOFILE = 65535


HEAD_S = 5.0
"""From the moment when the app's host is ready until the last of several generators has been started, at most; and
for the answers of the warm-up."""


def users(place: Place) -> dict:
    """Return the seeded users of the app's host, and when several generators are to start the window."""
    session = place.session
    if not place.directory.is_dir():
        raise IronbenchError(f"{place.key} is not prepared on this host; run `ironbench host prepare` first.")
    seconds = HEAD_S + session.expected_s - session.window_s
    return {
        "users": place.users.read_text() if session.experiment.users else "",
        "window_start_ns": window_start(time.time_ns() + round(seconds * SECOND_NS)),
    }


def share(place: Place, told: LoadShare) -> dict:
    """Read the other hosts' clocks and start the generator with its share of the load."""
    if place.host.name not in told.generators:
        raise IronbenchError(f"{place.host.name} is none of the generators {', '.join(told.generators)}.")
    if not place.directory.is_dir():
        raise IronbenchError(f"{place.key} is not prepared on this host; run `ironbench host prepare` first.")
    if place.session.experiment.users:
        _write_secret(place.users, told.users.encode())
    clocks.read_before(place)
    return load(place, told)


def load(place: Place, told: LoadShare | None = None) -> dict:
    """Start the generator as a transient unit that systemd still knows after its end."""
    if "load_generators" not in place.host.groups:
        raise IronbenchError(
            f"{place.host.name} is not in the group load_generators; run this on one that is."
        )
    session = place.session
    if not place.directory.is_dir():
        raise IronbenchError(f"{place.key} is not prepared on this host; run `ironbench host prepare` first.")
    if session.experiment.users and not place.users.exists():
        raise IronbenchError(
            f"{place.users} is missing; with the app on another host, run `ironbench host share` with what "
            "`ironbench host users` prints there."
        )
    owner = _owner(place)
    _write_secret(place.spec, encode_record(make_spec(place, told)))
    unit = place.session_unit("load")
    ironbench = Path(sys.executable).with_name("ironbench")
    output = place.directory / "load"
    _hand_over(place, output, owner)
    system.start_transient(
        unit,
        [str(ironbench), "load", "--spec", str(place.spec), "--out", str(output)],
        {
            "Slice": place.host.slice,
            "CPUAffinity": place.host.layout.load_generator,
            "AllowedCPUs": place.host.layout.load_generator,
            "LimitNOFILE": str(NOFILE),
            "RemainAfterExit": "yes",
            "RuntimeMaxSec": str(session.longest_s + OVERDUE_S),
            "StandardOutput": f"append:{place.directory / 'generator.txt'}",
            "StandardError": f"append:{place.directory / 'generator.txt'}",
            **_unprivileged(place),
        },
    )
    return {"unit": unit, "expected_s": session.expected_s}


def _unprivileged(place: Place) -> dict[str, str]:
    """Return what takes the generator root's rights away: it parses whatever a service answers."""
    if not place.host.load_user:
        return {}
    return {"User": place.host.load_user, "NoNewPrivileges": "yes", "CapabilityBoundingSet": ""}


def _owner(place: Place) -> tuple[int, int]:
    """Return UID and GID of the generator; raises IronbenchError where its user is missing."""
    user = place.host.load_user or "root"
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise IronbenchError(
            f"The user {user} that {place.description} has for the load generator is missing; run site.yml again."
        ) from None
    return entry.pw_uid, entry.pw_gid


def _hand_over(place: Place, output: Path, owner: tuple[int, int]) -> None:
    """Let the generator read its own two files and write to ``output``, and nothing else of the session's.

    It may pass through the directories above and not list them; what lies there has modes of its own.
    """
    output.mkdir(mode=0o700, exist_ok=True)
    for path in (place.spec, place.users, output):
        if path.exists():
            os.chown(path, *owner)
    for directory in (place.directory, *place.directory.parents[:2]):
        os.chown(directory, 0, owner[1])
        directory.chmod(0o710)


def _write_secret(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "wb") as out:  # noqa: PTH123 - of a descriptor, for its mode
        out.write(content)


def make_spec(place: Place, told: LoadShare | None = None) -> LoadSpec:
    """Return what the generator is to do in this session."""
    session = place.session
    generators = told.generators if told else [place.host.name]
    return LoadSpec(
        schema=SCHEMA,
        run=session.run.key,
        base_url=place.host.base_url,
        request=session.experiment.request,
        load=session.experiment.load,
        seed=session.seed,
        warmup_s=session.warmup_s,
        window_s=session.window_s,
        idle_s=session.idle_s,
        timeout_s=session.timeout_s,
        drain_s=session.drain_s,
        users_file=str(place.users) if session.experiment.users else None,
        requests_file=session.experiment.requests_file,
        background=session.experiment.background,
        placement_service=_placement_service(place),
        generator=generators.index(place.host.name),
        generators=len(generators),
        # A generator that is alone need not wait for anybody.
        window_start_ns=told.window_start_ns if told and len(generators) > 1 else None,
        search=session.experiment.search,
    )


def _placement_service(place: Place) -> PlacementService | None:
    """Return how the app's host is asked, if it answers and the generator may not ask the kernel here by itself."""
    port, token = place.host.placement_port, place.session.placement_token
    if "app" in place.host.groups:
        if not place.host.load_user or not place.duty.exists():  # nobody observes while py-spy records
            return None
        token = read_record(place.duty, Duty).token
    return PlacementService(port=port, token=token) if port and token else None
