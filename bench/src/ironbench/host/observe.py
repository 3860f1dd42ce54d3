"""Starting the observers: sar, the CPU sampler and the placement service, as units that end by themselves."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from ironbench.collect.cgroup import LOAD_GENERATOR, ROOT, SLICE, Header
from ironbench.errors import IronbenchError
from ironbench.host import containers, placement, proc, sar, snapshot, system
from ironbench.host.place import AWAKE, PLACEMENT
from ironbench.load.placement import ask
from ironbench.records import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ironbench.host.place import Place

SPARE_S = 60.0
"""Life of an observer beyond the longest session: the controller's way from step to step."""
START_DEADLINE_S = 60.0
"""What an observer may take until it has written something: interpreters start slowly where CPUs are emulated."""
POLL_S = 0.05


def observe(place: Place) -> dict:
    """Start the observers and return their units once both write.

    With them starts the placement service, where it is wanted. The state before the run is written again,
    now that it includes the observers.
    """
    if not (place.directory / "before.json").exists():
        raise IronbenchError(f"{place.key} is not prepared on this host; run `ironbench host prepare` first.")
    mount = proc.unified_mount()
    for file in (place.sar_data, place.cgroup_record):
        if file.exists():
            raise IronbenchError(
                f"{place.key} has been observed already; run `ironbench host prepare` again."
            )
    place.cgroup_record.write_bytes(msgspec.json.encode(_header(place, mount)) + b"\n")
    life = math.ceil(place.session.longest_s + SPARE_S)
    sampler, sar_unit = place.session_unit("sampler"), place.session_unit("sar")
    module = [sys.executable, "-m", "ironbench.host.sampler"]
    system.start_transient(
        sampler, [*module, str(place.cgroup_record), str(mount), str(life)], _properties(place, life)
    )
    module = [sys.executable, "-m", "ironbench.host.sar"]
    system.start_transient(
        sar_unit,
        [*module, str(place.sar_data), str(life)],
        _properties(place, life) | {"StandardOutput": "null"},
    )
    units = [place.session_unit(kind) for kind in place.observers]
    if AWAKE in place.observers:
        system.start_transient(
            place.session_unit(AWAKE),
            [sys.executable, "-m", "ironbench.host.awake", str(life)],
            _properties(place, life),
        )
    if placement.wanted(place):
        units.append(_start_placement(place, mount, life))
    _wait(sampler, lambda: place.cgroup_record.read_bytes().count(b"\n") > 1)
    # sar begins with the next whole second, long before the window; whether it did is judged from what it
    # recorded, and nobody waits for it.
    snapshot.write(place, "before.json")
    return {"units": units}


def _start_placement(place: Place, mount: Path, life: int) -> str:
    unit = place.session_unit(PLACEMENT)
    address, question = placement.write_duty(place, mount, life)

    def answers() -> bool:
        try:
            ask(address, question)
        except IronbenchError:
            return False
        return True

    system.start_transient(
        unit,
        [sys.executable, "-m", "ironbench.host.placement", str(place.duty)],
        _properties(place, life)
        | {
            # To see the sockets of the app's processes, whose user is another; and nothing else of root's.
            "CapabilityBoundingSet": "CAP_DAC_READ_SEARCH CAP_SYS_PTRACE",
            "NoNewPrivileges": "yes",
            "ProtectSystem": "strict",
        },
    )
    _wait(unit, answers, "did not answer")
    return unit


def _properties(place: Place, life: int) -> dict[str, str]:
    # Outside of the bench's slice: the slice holds what is measured, not who measures.
    return {
        "CPUAffinity": place.host.layout.housekeeping,
        "RuntimeMaxSec": str(life + 10),
        "Environment": " ".join(f"{name}={value}" for name, value in sar.ENVIRONMENT.items()),
    }


def _header(place: Place, mount: Path) -> Header:
    services = {s.name: containers.cgroup(s, system.show(place.service_unit(s))) for s in place.host.services}
    stopped = [name for name, cgroup in services.items() if not cgroup]
    if stopped:
        raise IronbenchError(f"{', '.join(stopped)} does not run; run `ironbench host prepare` first.")
    # A slice that holds nothing yet has no cgroup; its place follows from its name.
    bench = system.show(place.host.slice)["ControlGroup"] or system.slice_cgroup(place.host.slice)
    generator = {}
    if "load_generators" in place.host.groups:
        generator = {LOAD_GENERATOR: f"{bench}/{place.session_unit('load')}"}
    top = [f"/{path.name}" for path in sorted(mount.iterdir()) if path.suffix in (".slice", ".scope")]
    if bench not in top and bench.count("/") == 1:
        top.append(bench)
    with open("/proc/stat") as file:  # noqa: PTH123 - the rest of /proc is read likewise
        cpus = [int(line.split()[0][3:]) for line in file if line[:3] == "cpu" and line[3].isdigit()]
    return Header(
        schema=SCHEMA,
        cgroups={**services, **generator, SLICE: bench, ROOT: "/", **{path: path for path in top}},
        cpus=cpus,
    )


def _wait(unit: str, works: Callable[[], bool], failing: str = "wrote nothing") -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while not works():
        if time.monotonic() > deadline or system.show(unit)["ActiveState"] != "active":
            raise system.failed(unit, failing)
        time.sleep(POLL_S)
