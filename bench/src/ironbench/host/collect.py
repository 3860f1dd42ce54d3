"""After the window: wait for the generator, stop the observers, pack what they left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.archive import pack
from ironbench.collect.cgroup import LATE_S, Sample
from ironbench.collect.sar import SECOND_NS
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, write_atomic
from ironbench.host import clocks, sar, snapshot, system
from ironbench.host.generate import OVERDUE_S
from ironbench.host.place import UNIT_KINDS, Place, app_pattern
from ironbench.host.stop import stop_transient
from ironbench.load import STOPPED
from ironbench.records import SCHEMA, Collected, LoadResult, Record, Session, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ironbench.records import Host

END_S = 10.0
"""For systemd to end an overdue generator (after OVERDUE_S) and to notice."""
LAST_SAMPLE_S = 3.0
"""What observers that live may take to write the last that is read of them, on a busy machine too: the sampler its next
tenth of a second, sar its sample of the last whole second. Who has not by then is judged so."""
LAST_SAMPLE_POLL_S = 0.02


class Ended(Record, frozen=True, kw_only=True):
    """How a session ended, looked at before anything of it is stopped."""

    generator_exit: int | None
    before: Snapshot
    after: Snapshot


def collect(place: Place, go_on: Callable[[], None] | None = None) -> Collected:
    """Pack the session; called again, it returns the same.

    ``go_on`` is called as soon as nothing of the session runs any more but the services, and before the packing;
    without it the app is stopped.
    """
    with _alone(place.answer.parent):
        return _collected(place, go_on)


def left(host: Host, plan: str) -> Collected | None:
    """Return what a session of a plan has handed in, and nobody may have sealed yet.

    Whoever collects at this moment is waited for. A session that nobody waits for, though its load has begun, is
    collected here: its playbook died in between. On one of several hosts it is not, since no host knows when the
    load is over.
    """
    sessions = Path(host.state_dir, "sessions")
    with _alone(sessions):
        for kept in sorted(sessions.glob("*/session.json")) if not host.peers else []:
            place = Place(host, read_record(kept, Session))
            if place.session.plan == plan and place.spec.exists():
                # One that came to nothing is begun anew, as any whose playbook was killed.
                with contextlib.suppress(IronbenchError):
                    _collected(place, None)
        found = [read_record(path, Collected) for path in sorted(sessions.glob("*.collected.json"))]
    of_plan = [one for one in found if one.plan == plan]
    return max(of_plan, key=lambda one: one.started_ns, default=None)


def _collected(place: Place, go_on: Callable[[], None] | None) -> Collected:
    _remove_others(place)
    if place.answer.exists():
        return read_record(place.answer, Collected)
    ended = _end(place)
    if go_on is not None:
        go_on()
    elif pattern := app_pattern(place.host):
        system.stop(pattern)
    _write_sar_reports(place)
    if place.session.experiment.slow_callbacks:
        _write_slow_callbacks(place, ended.before)
    if ended.generator_exit or _changed(ended.before, ended.after):
        _write_journal(place, ended.before)
    place.keep_session()
    write_atomic(place.directory / "host.json", encode_record(place.host))
    answer = Collected(
        schema=SCHEMA,
        host=place.host.name,
        key=place.key,
        plan=place.session.plan,
        generator_exit=ended.generator_exit,
        started_ns=int(place.began.read_text()),
        archive=pack(place.directory),
    )
    write_atomic(place.answer, msgspec.json.encode(answer))
    shutil.rmtree(place.directory)
    return answer


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Wait for another that collects: a cut connection may have left one behind."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _end(place: Place) -> Ended:
    """Wait for the generator's end, look at everything, and stop generator and observers."""
    before_file = place.directory / "before.json"
    if not before_file.exists():
        raise IronbenchError(
            f"there is no session {place.key} on this host; run `ironbench host prepare` first."
        )
    before = read_record(before_file, Snapshot)
    generator_exit = _generator_exit(place)
    _wait_for_last_sample(place)
    after = snapshot.write(place, "after.json")
    if _changed(before, after):
        after = snapshot.mark_killed(place, before, after)
    stop_transient()
    return Ended(generator_exit=generator_exit, before=before, after=after)


def wait(place: Place) -> dict[str, int | None]:
    """Wait for the generator's end, without using the CPU, read the other hosts' clocks, and say how it ended."""
    status = _generator_exit(place)
    clocks.read_after(place)
    return {"generator_exit": status}


def _remove_others(place: Place) -> None:
    """Remove what earlier sessions handed in; it is sealed by now, or never will be."""
    for path in place.answer.parent.glob("*.collected.json"):
        if path != place.answer:
            path.unlink(missing_ok=True)


def _generator_exit(place: Place) -> int | None:
    if "load_generators" not in place.host.groups:
        return None
    unit = place.session_unit("load")
    if system.show(unit)["ActiveState"] == "inactive":
        if place.spec.exists():
            raise IronbenchError(
                f"the generator of {place.key} is gone: something else stopped it, or the host has booted since."
            )
        raise IronbenchError(
            f"the generator of {place.key} was not started; run `ironbench host load` first."
        )
    shown = system.wait_for_end(unit, place.session.longest_s + OVERDUE_S + END_S)
    status = int(shown["ExecMainStatus"])
    # A generator that has set up its own end has time to say that it was stopped; its unit has then failed.
    if shown["ActiveState"] == "inactive" or (status == STOPPED and shown["Result"] != "timeout"):
        raise IronbenchError(f"the generator of {place.key} was stopped; the session is lost.")
    return status if int(shown["ExecMainCode"]) == os.CLD_EXITED else -status


def _wait_for_last_sample(place: Place) -> None:
    """Let sar write its last sample of the window, and the sampler those of the work that was put off beyond it."""
    result = place.directory / "load" / "load.json"
    # No generator ran here, and the hosts with one have waited already; or nobody observes, as while py-spy records.
    if not (result.exists() and place.cgroup_record.exists()):
        return
    drained_ns = read_record(result, LoadResult).drained_ns
    second_ns = drained_ns // SECOND_NS * SECOND_NS
    late_ns = drained_ns + round(LATE_S * 1e9)
    deadline = time.monotonic() + LATE_S + LAST_SAMPLE_S
    while time.monotonic() < deadline:
        sar_ns = place.sar_data.stat().st_mtime_ns if place.sar_data.exists() else 0
        if sar_ns >= second_ns and _last_sample_ns(place) >= late_ns:
            return
        time.sleep(LAST_SAMPLE_POLL_S)


def _last_sample_ns(place: Place) -> int:
    """When the sampler took the last sample that it has written whole; 0 before the first."""
    lines = place.cgroup_record.read_bytes().split(b"\n")[1:-1]
    return msgspec.json.decode(lines[-1], type=Sample).ns if lines else 0


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
    units += [place.session_unit(kind) for kind in UNIT_KINDS]
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


def _write_slow_callbacks(place: Place, before: Snapshot) -> None:
    """Keep what the app wrote on stderr, where asyncio's debug mode tells what blocked its event loop."""
    app = next((service for service in place.host.services if service.name == "app"), None)
    if app is None:
        return
    system.run(["journalctl", "--sync"])
    text = system.run(
        [
            "journalctl",
            "--no-pager",
            "--output=json",
            "--all",  # else a long message is left out
            "--output-fields=MESSAGE,__REALTIME_TIMESTAMP",
            f"--since=@{before.ns // 1_000_000_000}",
            f"--unit={place.service_unit(app)}",
        ]
    )
    place.slow_callbacks.write_text(text)
