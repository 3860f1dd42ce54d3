"""The state of a host's services and clocks at one moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from ironbench.files import encode_record, write_atomic
from ironbench.host import containers, holder, proc, system
from ironbench.records import SCHEMA, Service, Snapshot, UnitState

if TYPE_CHECKING:
    from pathlib import Path

    from ironbench.host.place import Place


def take(place: Place) -> Snapshot:
    """Look at every service of the host and at the session's observers."""
    mount = proc.unified_mount()
    return Snapshot(
        schema=SCHEMA,
        ns=time.time_ns(),
        monotonic_ns=time.monotonic_ns(),
        units=[_unit_state(place, service, mount) for service in place.host.services],
        throttled=proc.throttled(),
        observers=observers(place),
        quiet=holder.quiet_now(),
    )


def observers(place: Place) -> dict[str, str]:
    """ActiveState of the session's observers, by unit."""
    units = [place.session_unit(kind) for kind in place.observers]
    return {unit: system.show(unit)["ActiveState"] for unit in units}


def write(place: Place, name: str) -> Snapshot:
    """Take a snapshot and keep it in the session's directory."""
    snapshot = take(place)
    write_atomic(place.directory / name, encode_record(snapshot))
    return snapshot


def mark_killed(place: Place, before: Snapshot, after: Snapshot) -> Snapshot:
    """Mark, in the session's ``after.json`` too, the services whose main process was killed between the two."""
    units = [
        msgspec.structs.replace(unit, killed=system.killed(unit.unit, before.ns)) for unit in after.units
    ]
    marked = msgspec.structs.replace(after, units=units)
    write_atomic(place.directory / "after.json", encode_record(marked))
    return marked


def _unit_state(place: Place, service: Service, mount: Path) -> UnitState:
    unit = place.service_unit(service)
    shown = system.show(unit)
    cgroup = containers.cgroup(service, shown)
    pids = proc.cgroup_pids(mount / cgroup.lstrip("/")) if cgroup else []
    main_pid = containers.main_pid(service, shown)
    soft, hard = proc.nofile(main_pid) if main_pid else (0, 0)
    affinity = [proc.affinity(service.name, pid, service.cpus) for pid in pids]
    return UnitState(
        service=service.name,
        unit=unit,
        active=shown["ActiveState"],
        result=shown["Result"],
        invocation=shown["InvocationID"],
        main_pid=main_pid,
        restarts=int(shown["NRestarts"]),
        pids=pids,
        cgroup=cgroup,
        nofile_soft=soft,
        nofile_hard=hard,
        affinity=[a for a in affinity if a is not None],
    )
