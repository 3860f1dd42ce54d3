"""Running commands and asking systemd."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

JOURNAL_LINES = 20
PROCESS_EXIT = "98e322203f7a4ed290d09fe03c09fe15"
"""The journal's message that a unit's process has ended (sd-messages.h, SD_MESSAGE_UNIT_PROCESS_EXIT)."""
CLIENT_OF_KILLED = 128 + signal.SIGKILL
"""How the container engine's client ends that waited for a killed container."""
POLL_S = 0.02
"""From systemd's noticing that a process has ended to ours."""


def run(argv: Sequence[str], *, environment: dict[str, str] | None = None) -> str:
    """Run a command and return its stdout; raise IronbenchError with its stderr when it fails.

    ``environment`` is in addition to ours.
    """
    try:
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | (environment or {}),
        )
    except OSError as error:
        raise IronbenchError(f"cannot run {argv[0]}: {error.strerror}; install it on this host.") from error
    if done.returncode:
        raise IronbenchError(f"{' '.join(argv)} failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout


def show(unit: str) -> dict[str, str]:
    """All properties of a unit that this package uses; of an unknown unit, ActiveState is inactive."""
    names = (
        "ActiveState",
        "ControlGroup",
        "ExecMainCode",
        "ExecMainStatus",
        "InvocationID",
        "MainPID",
        "NRestarts",
        "Result",
        "SubState",
    )
    text = run(["systemctl", "show", f"--property={','.join(names)}", "--", unit])
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


START_LIMIT = "start-limit-hit"
"""Result of a unit that was started too often in a short time (five times in 10 s by default; systemd.unit(5)), as
when a plan is broken off and begun anew again and again. That says nothing of the unit, and is not counted here."""


def start(unit: str) -> bool:
    """Start a unit if it is not active; return whether it was not.

    Raises IronbenchError with the unit's last journal lines when it does not become active.
    """
    if show(unit)["ActiveState"] == "active":
        return False
    argv = ["systemctl", "start", "--", unit]
    try:
        try:
            run(argv)
        except IronbenchError:
            if show(unit)["Result"] != START_LIMIT:
                raise
            run(["systemctl", "reset-failed", "--", unit])
            run(argv)
    except IronbenchError as error:
        raise failed(unit, "did not start") from error
    if show(unit)["ActiveState"] != "active":
        raise failed(unit, "did not stay active")
    return True


def stop(*patterns: str) -> list[str]:
    """Stop every loaded unit that matches one, forget that it failed, and return those that there were."""
    listing = run(["systemctl", "list-units", "--all", "--full", "--plain", "--no-legend", "--", *patterns])
    units = [line.split()[0] for line in listing.splitlines()]
    if units:
        run(["systemctl", "stop", "--", *units])
        # A unit that systemd has unloaded by now is unknown to reset-failed, which is as good.
        subprocess.run(["systemctl", "reset-failed", "--", *units], check=False, stderr=subprocess.DEVNULL)
    return units


def active(*patterns: str) -> list[str]:
    """Return the active units that match one."""
    listing = run(
        ["systemctl", "list-units", "--state=active", "--full", "--plain", "--no-legend", "--", *patterns]
    )
    return [line.split()[0] for line in listing.splitlines()]


def start_transient(unit: str, argv: Sequence[str], properties: dict[str, str]) -> None:
    """Start a command as a transient service that keeps no hold of our stdio.

    The unit is not collected: when it failed, systemd still tells how.
    """
    options = [f"--property={name}={value}" for name, value in properties.items()]
    run(["systemd-run", "--quiet", f"--unit={unit}", "--property=Type=exec", *options, "--", *argv])


def wait_for_end(unit: str, seconds: float) -> dict[str, str]:
    """Wait until the process of a unit that RemainAfterExit= has ended; return what ``show`` does then.

    The wait uses no CPU. A unit that somebody stops is inactive when this returns. Raises IronbenchError when it
    takes longer than so many seconds.
    """
    deadline = time.monotonic() + seconds
    _wait_for_process(int(show(unit)["MainPID"]), seconds)
    while (shown := show(unit))["SubState"] not in ("exited", "failed") and shown[
        "ActiveState"
    ] != "inactive":
        if time.monotonic() > deadline:
            raise failed(unit, "did not end in time")
        time.sleep(POLL_S)
    return shown


def slice_cgroup(name: str) -> str:
    """Cgroup of a slice by its name: a-b.slice lies in a.slice (systemd.slice(5))."""
    parts = name.removesuffix(".slice").split("-")
    return "".join(f"/{'-'.join(parts[: i + 1])}.slice" for i in range(len(parts)))


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
        poll.poll(seconds * 1000)
    finally:
        os.close(descriptor)


def killed(unit: str, since_ns: int) -> bool:
    """Tell whether the unit's main process was ended by SIGKILL since then.

    systemd tells how the last one ended. Of one that has a successor by now only the journal does, and not for every
    type of unit. A kernel that ran out of memory is told apart where systemd can see it: the result is oom-kill then.
    """
    shown = show(unit)
    how = int(shown["ExecMainCode"]), int(shown["ExecMainStatus"])
    if shown["ActiveState"] != "active" and how in (
        (os.CLD_KILLED, signal.SIGKILL),
        (os.CLD_EXITED, CLIENT_OF_KILLED),
    ):
        return True
    journal = run(
        [
            "journalctl",
            "--no-pager",
            "--output=json",
            f"--since=@{since_ns // 1_000_000_000}",
            f"MESSAGE_ID={PROCESS_EXIT}",
            f"UNIT={unit}",
        ]
    )
    return any(_was_killed(json.loads(line), since_ns) for line in journal.splitlines())


def _was_killed(entry: dict[str, str], since_ns: int) -> bool:
    how = entry.get("EXIT_CODE"), entry.get("EXIT_STATUS")
    late = int(entry["__REALTIME_TIMESTAMP"]) * 1000 >= since_ns
    return late and how in (("killed", str(int(signal.SIGKILL))), ("exited", str(CLIENT_OF_KILLED)))


def failed(unit: str, what: str) -> IronbenchError:
    """Return the error that names a unit, what it did, and its last journal lines."""
    lines = run(
        ["journalctl", "--no-pager", "--output=short-iso", f"--lines={JOURNAL_LINES}", f"--unit={unit}"]
    )
    return IronbenchError(f"{unit} {what}; its last journal lines:\n{lines.rstrip()}")
