"""The command ``ironbench hold``: one playbook at a time leads a plan, and tells its hosts who it is.

Each command of a playbook is a process of its own, so what holds a plan is the process of the playbook: who comes
second is refused while that one lives. Whoever killed it may come again at once.
"""

from __future__ import annotations

import getpass
import itertools
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.bundle import locked, read_manifest
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, write_atomic
from ironbench.records import SCHEMA, Hold, Record

if TYPE_CHECKING:
    import argparse

PLAYBOOK = "ansible-playbook"
PROC = Path("/proc")


class Playbook(Record, frozen=True, kw_only=True):
    """A process that leads a plan; a process number is used again, but not with the same start."""

    pid: int
    started: str
    """Field 22 of /proc/PID/stat: ticks after the boot."""
    boot: str


class Leads(Record, frozen=True, kw_only=True):
    """Beside a plan's directory: who leads it, or did so last."""

    schema: int
    hold: Hold
    playbook: Playbook | None
    """None: it was no playbook, and so nobody is kept out."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "hold",
        help="say for the hosts who leads a plan; one playbook at a time",
        description=(
            "Print what `ironbench host hold` reads. Refused while another playbook on this machine leads the same plan."
        ),
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="of the plan: its bundle")
    parser.set_defaults(func=_hold)


def _hold(args: argparse.Namespace) -> int:
    print(msgspec.json.encode(lead(args.directory, playbook())).decode())
    return 0


def lead(directory: Path, by: Playbook | None) -> Hold:
    """Note that a playbook leads the plan in a directory, and return what its hosts are told.

    Raises IronbenchError while another playbook on this machine does.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise IronbenchError(f"{directory} is no directory; give that of a plan.")
    hold = Hold(
        schema=SCHEMA,
        # A bundle may have been renamed; the directories of other plans have no sessions that would ask.
        plan=read_manifest(directory).id if (directory / "manifest.json").is_file() else directory.name,
        bundle=str(directory),
        controller=platform.node(),
        user=_user(),
    )
    path = directory.with_name(f".{directory.name}.hold.json")
    with locked(directory.parent):
        other = read_record(path, Leads) if path.exists() else None
        if (
            other
            and other.playbook
            and other.playbook != by
            and other.hold.controller == hold.controller
            and _identity(other.playbook.pid) == other.playbook
        ):
            raise IronbenchError(
                f"another playbook of {other.hold.user}@{other.hold.controller} (process {other.playbook.pid}) leads "
                f"{directory}: wait until it has ended, or end it; the same command then goes on where it stopped."
            )
        write_atomic(path, encode_record(Leads(schema=SCHEMA, hold=hold, playbook=by)))
    return hold


def playbook() -> Playbook | None:
    """Return the process of the playbook that started this command; None when none did, or the kernel does not tell.

    Its workers are forks with the same command line, and end before it.
    """
    ancestors = []
    pid = _parent("self")
    while pid:
        ancestors.append((pid, _argv(pid)))
        pid = _parent(str(pid))
    runs = itertools.groupby(ancestors, key=lambda one: one[1])
    nearest = next((list(forks) for argv, forks in runs if _is_playbook(argv)), None)
    return _identity(nearest[-1][0]) if nearest else None


def _is_playbook(argv: list[str]) -> bool:
    """Whether a command line is the playbook's: the script itself, or an interpreter with it."""
    return any(Path(part).name == PLAYBOOK for part in argv[:2])


def _identity(pid: int) -> Playbook | None:
    """Return a process as it is told apart from others; None when there is none."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] == "Z" else Playbook(pid=pid, started=fields[19], boot=boot)


def _parent(process: str) -> int:
    try:
        return int((PROC / process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _argv(pid: int) -> list[str]:
    try:
        return (PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"uid {os.getuid()}"
