"""Keeping everything but the bench off the bench's CPUs while a plan runs, and putting it back.

What is done lasts no longer than the lease, a transient unit that is started before the first change: however it
ends, systemd runs its ExecStopPost=, which puts everything back from the state in STATE. Each session renews it.
Everything is at runtime only, so that a reboot ends it too.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from ironbench.cpus import bench_cpus, parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, write_atomic
from ironbench.host import proc, system
from ironbench.records import SCHEMA, Host, Quiet, QuietStep, Record

LEASE = "ironbench-quiet.service"
LEASE_S = 900.0
"""Life of the lease beyond a session: the controller's way from one to the next."""
DIRECTORY = Path("/run/ironbench")
STATE = DIRECTORY / "quiet.json"
UNTIL = DIRECTORY / "quiet.until"
"""The lease's end, seconds of CLOCK_MONOTONIC."""

SLICES = ("system.slice", "user.slice", "init.scope")
UNITS = (
    # It would move interrupts back.
    "irqbalance.service",
    # They wake up by the clock and do real work.
    "anacron.timer",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "fwupd-refresh.timer",
    "logrotate.timer",
    "man-db.timer",
    "mdcheck_continue.timer",
    "mdcheck_start.timer",
    "plocate-updatedb.timer",
    "sysstat-collect.timer",
    "sysstat-rotate.timer",
    "sysstat-summary.timer",
    "systemd-tmpfiles-clean.timer",
    "xfs_scrub_all.timer",
)
IRQS = Path("/proc/irq")
CONTROL = Path("/run/systemd/system.control")
"""Where systemd keeps what ``systemctl set-property --runtime`` was told."""


class State(Record, frozen=True, kw_only=True):
    """STATE: what was before, written before the first change, and what was done then."""

    schema: int
    housekeeping: str
    units: list[str]
    """Of UNITS, those that were active."""
    allowed: dict[str, str | None]
    """AllowedCPUs= that a slice had been given at runtime; None: nothing. Only slices that can be confined."""
    irqs: dict[str, str]
    """CPUs of the interrupts that may be moved."""
    quiet: Quiet | None = None
    fixed: list[str] = msgspec.field(default_factory=list)
    """Of ``irqs``, those that stayed where they were."""


def quiet(host: Host) -> Quiet:
    """Confine the rest of the host to the housekeeping CPUs for a plan; return what could be done.

    What an earlier plan left is put back first.
    """
    unquiet(host)
    wanted = host.layout.housekeeping
    container = _container()
    no_cpuset = _why_no_cpuset()
    state = State(
        schema=SCHEMA,
        housekeeping=wanted,
        units=system.active(*UNITS),
        allowed={} if no_cpuset else {name: _allowed(name) for name in SLICES},
        irqs={} if container else _irqs_elsewhere(wanted),
    )
    DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    _keep(state)
    _extend(LEASE_S)
    _start_lease(wanted)
    steps = _stop(state.units)
    for name in SLICES:
        steps[name] = _not_here(wanted, no_cpuset) if no_cpuset else _confine(name, wanted)
    elsewhere = "they are the whole machine's, and this is a container"
    fixed = [] if container else _move(state.irqs, wanted)
    steps["interrupts"] = _not_here(wanted, elsewhere) if container else _moved(state.irqs, fixed, wanted)
    done = Quiet(
        housekeeping=wanted,
        shared=sorted(bench_cpus(host) & set(parse_cpu_list(wanted))),
        steps=steps,
    )
    _keep(msgspec.structs.replace(state, quiet=done, fixed=fixed))
    return done


def unquiet(_host: Host) -> dict[str, bool]:
    """Put back what ``quiet`` changed; return whether there was anything.

    Raises IronbenchError with what could not be put back.
    """
    there = STATE.exists()
    # Its ExecStopPost= puts back, and systemctl waits for that.
    system.stop(LEASE)
    if STATE.exists():
        restore()
    return {"put_back": there}


def keep(host: Host, session_s: float) -> str:
    """Let the lease last for a session of so many seconds; where it has ended, do everything again.

    Return why it had to be done again; empty: it had lasted.
    """
    invocation, undone = now()
    if invocation and not undone:
        _extend(session_s + LEASE_S)
        # The lease may have been over while its end was put off.
        invocation, undone = now()
    if invocation and not undone:
        return ""
    quiet(host)
    _extend(session_s + LEASE_S)
    return f"{', '.join(undone)} had been undone" if undone else f"{LEASE} had ended"


def now() -> tuple[str, list[str]]:
    """Return which invocation of the lease's unit keeps the host quiet, empty if none does, and what is undone.

    What is undone are the steps that were taken and no longer hold: a timer that somebody started, a slice that has
    its CPUs back, an interrupt that was moved back.
    """
    shown = system.show(LEASE)
    done = told()
    if done is None or shown["ActiveState"] != "active":
        return "", []
    state = read_record(STATE, State)
    units = [name for name in state.units if done.steps[name].ok]
    running = system.active(*units) if units else []
    slices = [name for name in SLICES if done.steps[name].ok]
    undone = [name for name in units if name in running]
    undone += [name for name in slices if _cpus(_effective(name)) != _cpus(done.housekeeping)]
    undone += [
        f"interrupt {irq}"
        for irq in state.irqs
        if irq not in state.fixed and not _is_at(irq, done.housekeeping)
    ]
    return shown["InvocationID"], undone


def told() -> Quiet | None:
    """What is in force now."""
    return read_record(STATE, State).quiet if STATE.exists() else None


def restore() -> None:
    """Put back everything in STATE, and forget it.

    Raises IronbenchError, and keeps STATE, when something could not be put back.
    """
    state = read_record(STATE, State)
    complaints: list[str] = []
    ours = parse_cpu_list(state.housekeeping)
    for irq, before in state.irqs.items():
        now = proc.read_or_none(IRQS / irq / "smp_affinity_list")
        # Gone with its device, or moved by somebody else since.
        if now is not None and parse_cpu_list(now) == ours and not _write(irq, before):
            complaints.append(f"interrupt {irq} to {before}")
    for name, before in state.allowed.items():
        try:
            _give_back(name, before)
        except IronbenchError as error:
            complaints.append(str(error))
    if any(before is None for before in state.allowed.values()):
        system.run(["systemctl", "daemon-reload"])
    for unit in state.units:
        try:
            system.start(unit)
        except IronbenchError as error:
            complaints.append(str(error))
    if complaints:
        raise IronbenchError(f"could not put back: {'; '.join(complaints)}.")
    STATE.unlink(missing_ok=True)
    UNTIL.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else has something there
        DIRECTORY.rmdir()


def _keep(state: State) -> None:
    write_atomic(STATE, encode_record(state))


def _extend(seconds: float) -> None:
    write_atomic(UNTIL, f"{time.monotonic() + seconds}\n".encode())


def _start_lease(cpus: str) -> None:
    # By the path that we were called by: a link that outlives the virtualenv of this version.
    called = Path(sys.argv[0]).with_name("python")
    module = [
        str(called) if called.is_absolute() and called.exists() else sys.executable,
        "-m",
        "ironbench.host.lease",
    ]
    system.start_transient(
        LEASE, [*module, "wait"], {"CPUAffinity": cpus, "ExecStopPost": " ".join([*module, "end"])}
    )


def _container() -> bool:
    # Exit status 1 when it is none.
    return subprocess.run(["systemd-detect-virt", "--container", "--quiet"], check=False).returncode == 0


def _not_here(wanted: str, reason: str) -> QuietStep:
    return QuietStep(
        wanted=wanted, effective="as before", ok=False, reason=f"not controllable here: {reason}"
    )


# --- units ---------------------------------------------------------------------------------------


def _stop(units: list[str]) -> dict[str, QuietStep]:
    if not units:
        return {}
    system.run(["systemctl", "stop", "--", *units])
    running = system.active(*units)
    return {
        unit: QuietStep(
            wanted="inactive",
            effective="active" if unit in running else "inactive",
            ok=unit not in running,
        )
        for unit in units
    }


# --- slices --------------------------------------------------------------------------------------


def _why_no_cpuset() -> str:
    mount = proc.unified_mount()
    if "cpuset" not in (proc.read_or_none(mount / "cgroup.controllers") or "").split():
        return "there is no cpuset controller in cgroup v2, and CPUAffinity= of the manager would need a new start of it"
    return ""


def _drop_in(name: str) -> Path:
    return CONTROL / f"{name}.d" / "50-AllowedCPUs.conf"


def _property(name: str) -> str:
    return system.run(["systemctl", "show", "--property=AllowedCPUs", "--value", "--", name]).strip()


def _allowed(name: str) -> str | None:
    return _property(name) if _drop_in(name).exists() else None


def _set(name: str, cpus: str) -> None:
    system.run(["systemctl", "set-property", "--runtime", "--", name, f"AllowedCPUs={cpus}"])


def _confine(name: str, wanted: str) -> QuietStep:
    _set(name, wanted)
    effective = _effective(name)
    return QuietStep(wanted=wanted, effective=effective, ok=_cpus(effective) == _cpus(wanted))


def _effective(name: str) -> str:
    # A slice without a cgroup, such as user.slice before the first login, gets it from the property.
    return proc.read_or_none(proc.unified_mount() / name / "cpuset.cpus.effective") or _property(name)


def _cpus(text: str) -> list[int]:
    """Of a kernel CPU list or of systemd's, which has spaces."""
    return parse_cpu_list(text.replace(" ", ","))


def _give_back(name: str, before: str | None) -> None:
    # The kernel empties no cpuset that has processes (ENOSPC, which systemd only writes to the journal): a slice that
    # had no CPUs of its own gets all there are, which is the same.
    had = before or (proc.unified_mount() / "cpuset.cpus.effective").read_text().strip()
    _set(name, had)
    if _cpus(_effective(name)) != _cpus(had):
        raise IronbenchError(f"{name} to CPUs {had}")
    if before is None:
        # An empty property would stay, and hide one that is set elsewhere.
        _drop_in(name).unlink(missing_ok=True)
        if _drop_in(name).parent.is_dir() and not any(_drop_in(name).parent.iterdir()):
            _drop_in(name).parent.rmdir()


# --- interrupts ----------------------------------------------------------------------------------


def _irqs_elsewhere(wanted: str) -> dict[str, str]:
    """CPUs of each interrupt that may arrive at others than those wanted."""
    irqs = sorted((path.name for path in IRQS.iterdir() if path.name.isdigit()), key=int)
    cpus = {irq: proc.read_or_none(IRQS / irq / "smp_affinity_list") for irq in irqs}
    return {irq: found for irq, found in cpus.items() if found and not _is_at(irq, wanted)}


def _write(irq: str, cpus: str) -> bool:
    try:
        (IRQS / irq / "smp_affinity_list").write_text(cpus)
    except OSError:  # the kernel's own, or a device's that spreads its queues itself
        return False
    return True


def _is_at(irq: str, wanted: str) -> bool:
    """Whether an interrupt arrives at no other CPUs; one that is gone arrives nowhere."""
    cpus = proc.read_or_none(IRQS / irq / "smp_affinity_list")
    return not cpus or set(parse_cpu_list(cpus)) <= set(parse_cpu_list(wanted))


def _move(irqs: dict[str, str], wanted: str) -> list[str]:
    """Move interrupts, and return those that stayed where they were."""
    for irq in irqs:
        _write(irq, wanted)
    return [irq for irq in sorted(irqs, key=int) if not _is_at(irq, wanted)]


def _moved(irqs: dict[str, str], fixed: list[str], wanted: str) -> QuietStep:
    return QuietStep(
        wanted=wanted,
        effective=f"{len(irqs) - len(fixed)} moved, {len(fixed)} not",
        ok=not fixed,
        reason=f"not controllable here: the kernel keeps {', '.join(fixed)} where they are" if fixed else "",
    )
