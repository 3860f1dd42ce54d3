"""The state of a host's services and clocks at one moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ironbench.files import encode_record, write_atomic
from ironbench.host import containers, proc, system
from ironbench.host.place import OBSERVERS, Place
from ironbench.records import SCHEMA, Service, Snapshot, UnitState

if TYPE_CHECKING:
    from pathlib import Path


def take(place: Place) -> Snapshot:
    """Look at every service of the host and at the session's observers."""
    mount = proc.unified_mount()
    observers = [place.session_unit(kind) for kind in OBSERVERS]
    return Snapshot(
        schema=SCHEMA,
        ns=time.time_ns(),
        monotonic_ns=time.monotonic_ns(),
        units=[_unit_state(place, service, mount) for service in place.host.services],
        throttled=proc.throttled(),
        observers={unit: system.show(unit)["ActiveState"] for unit in observers},
    )


def write(place: Place, name: str) -> Snapshot:
    """Take a snapshot and keep it in the session's directory."""
    snapshot = take(place)
    write_atomic(place.directory / name, encode_record(snapshot))
    return snapshot


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
