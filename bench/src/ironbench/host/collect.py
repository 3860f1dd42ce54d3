"""After the window: wait for the generator, stop the observers, pack what they left."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

from ironbench.collect.sar import SECOND_NS
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, sync_directory, write_atomic
from ironbench.host import sar, snapshot, system
from ironbench.host.generate import OVERDUE_S
from ironbench.host.place import OBSERVERS, app_pattern
from ironbench.host.stop import stop_transient
from ironbench.records import SCHEMA, LoadResult, Record, Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from ironbench.host.place import Place

END_S = 10.0
"""For systemd to end an overdue generator (after OVERDUE_S) and to notice."""
LAST_SAMPLE_S = 0.3
"""After the whole second on which sar takes the sample that covers the window's end, to have it written."""


class Collected(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench host collect``."""

    schema: int
    archive: str
    generator_exit: int | None
    """Exit status, or less the number of the signal; None on a host that generates no load."""
    bytes: int


def collect(place: Place) -> Collected:
    """Pack the session and return where; called again, it returns the same."""
    if place.answer.exists() and place.archive.exists():
        return read_record(place.answer, Collected)
    before_file = place.directory / "before.json"
    if not before_file.exists():
        raise IronbenchError(
            f"there is no session {place.key} on this host; run `ironbench host prepare` first."
        )
    before = read_record(before_file, Snapshot)
    generator_exit = _generator_exit(place)
    _wait_for_last_sample(place)
    after = snapshot.write(place, "after.json")
    for kind in OBSERVERS:
        system.stop(place.session_unit(kind))
    _write_sar_reports(place)
    if generator_exit or _changed(before, after):
        _write_journal(place, before)
    for name, record in (("session.json", place.session), ("host.json", place.host)):
        write_atomic(place.directory / name, encode_record(record))
    stop_transient()
    if pattern := app_pattern(place.host):
        system.stop(pattern)
    _pack(place)
    answer = Collected(
        schema=SCHEMA,
        archive=str(place.archive),
        generator_exit=generator_exit,
        bytes=place.archive.stat().st_size,
    )
    write_atomic(place.answer, encode_record(answer))
    shutil.rmtree(place.directory)
    return answer


def _generator_exit(place: Place) -> int | None:
    """Wait for the generator's end, without using the CPU, and say how it ended."""
    if "load_generators" not in place.host.groups:
        return None
    unit = place.session_unit("load")
    shown = system.show(unit)
    if shown["ActiveState"] == "inactive":
        raise IronbenchError(
            f"the generator of {place.key} was not started; run `ironbench host load` first."
        )
    deadline = time.monotonic() + place.session.longest_s + OVERDUE_S + END_S
    _wait_for_process(int(shown["MainPID"]), deadline - time.monotonic())
    while (shown := system.show(unit))["SubState"] not in ("exited", "failed"):
        if time.monotonic() > deadline:
            raise system.failed(unit, "did not end in time")
        time.sleep(0.05)
    status = int(shown["ExecMainStatus"])
    return status if int(shown["ExecMainCode"]) == os.CLD_EXITED else -status


def _wait_for_last_sample(place: Place) -> None:
    """Let sar take the sample in which the window ended; where that is not known, the next one."""
    result = place.directory / "load" / "load.json"
    ended_ns = read_record(result, LoadResult).drained_ns if result.exists() else 0
    whole_s = -(-(ended_ns or time.time_ns()) // SECOND_NS)
    time.sleep(max(0.0, whole_s + LAST_SAMPLE_S - time.time()))


def _wait_for_process(pid: int, seconds: float) -> None:
    if not pid:
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(0, seconds) * 1000)
    finally:
        os.close(descriptor)


def _changed(before: Snapshot, after: Snapshot) -> bool:
    """Whether a unit was restarted, ended or lost a process, or an observer died."""

    def state(snapshot: Snapshot) -> list[tuple]:
        return [(u.unit, u.active, u.result, u.invocation, u.main_pid, u.restarts) for u in snapshot.units]

    return state(before) != state(after) or set(after.observers.values()) != {"active"}


def _write_sar_reports(place: Place) -> None:
    """Write sar.json and sar.txt; sar that left nothing leaves neither, and the judge says so."""
    environment = os.environ | sar.ENVIRONMENT
    data = str(place.sar_data)
    as_json = subprocess.run(
        ["sadf", "-j", data, "--", *sar.SELECTION], check=False, capture_output=True, env=environment
    )
    if as_json.returncode:
        return
    (place.directory / "sar.json").write_bytes(as_json.stdout)
    texts = [
        subprocess.run(["sar", *part, "-f", data], check=True, capture_output=True, env=environment).stdout
        for part in sar.REPORTS
    ]
    (place.directory / "sar.txt").write_bytes(b"\n".join(texts))


def _write_journal(place: Place, before: Snapshot) -> None:
    units = [place.service_unit(service) for service in place.host.services]
    units += [place.session_unit(kind) for kind in (*OBSERVERS, "load")]
    text = system.run(
        [
            "journalctl",
            "--no-pager",
            "--output=short-iso-precise",
            f"--since=@{before.ns // 1_000_000_000}",
            *[f"--unit={unit}" for unit in units],
        ]
    )
    (place.directory / "journal.txt").write_text(text)


def _pack(place: Place) -> None:
    """Pack everything but the users and the spec, whole or not at all."""
    left_here = {place.users.name, place.spec.name}
    temporary = place.archive.with_name(f".{place.archive.name}.tmp")

    def without_secrets(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if member.name in left_here else member

    with tarfile.open(temporary, "w:gz", compresslevel=6) as archive:
        for path in sorted(place.directory.iterdir()):
            archive.add(path, arcname=path.name, filter=without_secrets)
    _sync(temporary)
    temporary.replace(place.archive)
    sync_directory(place.archive.parent)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
