"""Whom a host is held for: one plan at a time, so that no other stops its session or measures beside it.

A hold is a lease: each session renews it, and one that nobody renews ends by itself. It lies on the disk, because a plan
goes on after a boot of its host, and then does again what the boot has ended.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, write_atomic
from ironbench.host import quiet
from ironbench.records import SCHEMA, Hold, QuietNow, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.records import Host

PATH = Path("/var/lib/ironbench/lease.json")


class Lease(Record, frozen=True, kw_only=True):
    """PATH: who holds this host, and for how long."""

    schema: int
    hold: Hold
    since_ns: int
    boot: str
    until_s: float
    """Its end, seconds of CLOCK_BOOTTIME of that boot."""
    again: str = ""
    """Why the host had to be made quiet again before the session that is under way."""


def take(host: Host, wanted: Hold) -> None:
    """Hold this host for a plan.

    The same plan of the same controller may come again: its playbook was interrupted. Raises IronbenchError while
    another plan holds the host.
    """
    with alone():
        lease = read()
        alive = lease is not None and not _lapse(lease)
        if lease and alive and not is_same(lease.hold, wanted):
            raise IronbenchError(_refusal(host, lease))
        _write(lease.since_ns if lease and alive else time.time_ns(), wanted, wanted.longest_s)


def check(host: Host, plan: str) -> None:
    """Raise IronbenchError unless this host is held for the plan."""
    _of(host, plan)


def renew(host: Host, plan: str, session_s: float) -> None:
    """Hold the host for a session of so many seconds, and make it quiet again where that has ended.

    Raises IronbenchError unless the host is held for the plan.
    """
    with alone():
        lease = _of(host, plan)
        again = ""
        if lease.hold.quiet and (why := quiet.keep(host, session_s)):
            again = _lapse(lease) or why
        _write(lease.since_ns, lease.hold, session_s, again)


def quiet_now() -> QuietNow | None:
    """Read back whether the host is quiet; None while no plan holds it."""
    lease = read()
    if lease is None:
        return None
    invocation, undone = quiet.now()
    return QuietNow(wanted=lease.hold.quiet, again=lease.again, invocation=invocation, undone=undone)


def _write(since_ns: int, hold: Hold, seconds: float, again: str = "") -> None:
    until_s = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds + quiet.LEASE_S
    lease = Lease(schema=SCHEMA, hold=hold, since_ns=since_ns, boot=_boot(), until_s=until_s, again=again)
    write_atomic(PATH, encode_record(lease))


def read() -> Lease | None:
    """Read the lease, ended or not."""
    if not PATH.exists():
        return None
    try:
        return read_record(PATH, Lease)
    except IronbenchError as error:
        raise IronbenchError(
            f"{str(error).removesuffix('.')}; remove {PATH} if no plan runs here."
        ) from error


def _of(host: Host, plan: str) -> Lease:
    lease = read()
    if lease is None:
        raise IronbenchError(
            f"{host.name} is not held for the plan {plan}; start its playbook again, or run `ironbench host hold` first."
        )
    if lease.hold.plan != plan:
        raise IronbenchError(_refusal(host, lease))
    return lease


def _lapse(lease: Lease) -> str:
    """Why a lease has ended; empty: it has not."""
    if lease.boot != _boot():
        return "the host has booted since"
    if time.clock_gettime(time.CLOCK_BOOTTIME) > lease.until_s:
        return "no session had renewed the hold in time"
    return ""


def is_same(one: Hold, other: Hold) -> bool:
    """Whether two are of the same plan on the same controller."""
    return (one.plan, one.controller, one.bundle) == (other.plan, other.controller, other.bundle)


def _refusal(host: Host, lease: Lease) -> str:
    hold = lease.hold
    left_s = max(0.0, lease.until_s - time.clock_gettime(time.CLOCK_BOOTTIME))
    until = f"{datetime.fromtimestamp(time.time() + left_s, UTC):%H:%M} UTC"
    return (
        f"{host.name} is held for the plan {hold.plan} of {hold.user}@{hold.controller} ({hold.bundle}) since "
        f"{datetime.fromtimestamp(lease.since_ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC: wait until it has ended, or, if its "
        f"playbook is gone for good, run `ironbench host release --force` on {host.name} as root; without a sign of "
        f"life the hold ends at {until}."
    )


def _boot() -> str:
    """Name this boot; the start of PID 1 tells a container's from the machine's."""
    start = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{start}"


@contextmanager
def alone() -> Iterator[None]:
    """Wait for another that reads and writes the lease."""
    PATH.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(PATH.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
