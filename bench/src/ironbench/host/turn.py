"""From one session to the next on a host that runs a whole session by itself: pack the one, prepare the other.

The next session is prepared by a transient unit, so that it goes on while the one before is fetched, judged and
sealed. The playbook starts its load only after that.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record
from ironbench.host import holder, snapshot, system
from ironbench.host.collect import collect
from ironbench.host.observe import SPARE_S
from ironbench.host.place import PREPARE
from ironbench.records import Record, Session, Snapshot

if TYPE_CHECKING:
    from ironbench.host.place import Place
    from ironbench.records import Collected

PREPARE_S = 300.0
"""What preparing may take before systemd ends it: a hundred times the usual."""

START_S = 10.0
"""What the load may take to start once a session is ready."""


class Turn(Record, frozen=True, kw_only=True):
    """The session whose load is under way, and the one that follows whatever its outcome, if that is known."""

    schema: int
    session: Session
    after: Session | None


def turn(place: Place, after: Session | None) -> Collected:
    """Wait for the generator's end, begin to prepare the session after, and pack this one."""
    if after is None:
        return collect(place)
    following = replace(place, session=after)
    return collect(place, lambda: _start_preparing(following))


def ready(place: Place) -> dict[str, bool]:
    """Wait until the session is prepared and observed; begin now if nobody has.

    Raises IronbenchError with what the preparing unit complained of.
    """
    unit = place.session_unit(PREPARE)
    ahead = system.show(unit)["ActiveState"] != "inactive"
    if not ahead:
        _start_preparing(place)
    shown = system.wait_for_end(unit, PREPARE_S)
    if ahead and shown["SubState"] == "exited" and not _is_still_ready(place):
        ahead = False
        system.stop(unit)
        _start_preparing(place)
        shown = system.wait_for_end(unit, PREPARE_S)
    complaint = place.complaint.read_text().strip() if place.complaint.exists() else ""
    system.stop(unit)
    for path in (place.order, place.complaint):
        path.unlink(missing_ok=True)
    if shown["SubState"] != "exited":
        if not complaint:
            raise system.failed(unit, "did not prepare the session")
        raise IronbenchError(complaint.removeprefix("ironbench: "))
    return {"ahead": ahead}


def _is_still_ready(place: Place) -> bool:
    """Whether what was prepared ahead holds for the load: a controller that slept comes back late.

    Observers end by themselves, and so does what keeps the host quiet.
    """
    before = read_record(place.directory / "before.json", Snapshot)
    age_s = (time.monotonic_ns() - before.monotonic_ns) / 1e9
    return (
        age_s < SPARE_S - START_S
        and snapshot.observers(place) == before.observers
        and holder.quiet_now() == before.quiet
    )


def _start_preparing(place: Place) -> None:
    place.order.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.complaint.unlink(missing_ok=True)
    file = os.open(place.order, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(file, "wb") as out:  # noqa: PTH123 - of a descriptor, for its mode
        out.write(encode_record(place.session))
    command = [str(Path(sys.executable).with_name("ironbench")), "host", "prepare", "observe"]
    system.start_transient(
        place.session_unit(PREPARE),
        [*command, "--host", str(place.description)],
        {
            "RemainAfterExit": "yes",
            "RuntimeMaxSec": str(PREPARE_S),
            "StandardInput": f"file:{place.order}",
            "StandardOutput": "null",
            "StandardError": f"append:{place.complaint}",
        },
    )
