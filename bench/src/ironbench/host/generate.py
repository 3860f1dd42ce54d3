"""Starting the load generator, detached."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.files import encode_record
from ironbench.host import system
from ironbench.records import SCHEMA, LoadSpec, PlacementService

if TYPE_CHECKING:
    from ironbench.host.place import Place

OVERDUE_S = 30.0
"""What the generator may take beyond ``longest_s`` before systemd ends it."""
NOFILE = 65535


def load(place: Place) -> dict:
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
            f"{place.users} is missing; copy it here from the app's host after `ironbench host prepare`."
        )
    spec = make_spec(place)
    file = os.open(place.spec, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "wb") as out:  # noqa: PTH123 - of a descriptor, for its mode
        out.write(encode_record(spec))
    unit = place.session_unit("load")
    ironbench = Path(sys.executable).with_name("ironbench")
    output = place.directory / "load"
    system.start_transient(
        unit,
        [str(ironbench), "load", "--spec", str(place.spec), "--out", str(output)],
        {
            "Slice": place.host.slice,
            "CPUAffinity": place.host.layout.load_generator,
            "LimitNOFILE": str(NOFILE),
            "RemainAfterExit": "yes",
            "RuntimeMaxSec": str(session.longest_s + OVERDUE_S),
            "StandardOutput": f"append:{place.directory / 'generator.txt'}",
            "StandardError": f"append:{place.directory / 'generator.txt'}",
        },
    )
    return {"unit": unit, "expected_s": session.expected_s}


def make_spec(place: Place) -> LoadSpec:
    """Return what the generator is to do in this session."""
    session = place.session
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
        search=session.experiment.search,
    )


def _placement_service(place: Place) -> PlacementService | None:
    """Return how the app's host is asked, if that is another machine and has been told to answer."""
    port, token = place.host.placement_port, place.session.placement_token
    if "app" in place.host.groups or not port or not token:
        return None
    return PlacementService(port=port, token=token)
