"""The commands ``ironbench host VERB``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import decode_record, read_record
from ironbench.host.collect import collect
from ironbench.host.facts import describe
from ironbench.host.generate import load
from ironbench.host.observe import observe
from ironbench.host.place import Place
from ironbench.host.prepare import prepare
from ironbench.host.stop import stop
from ironbench.records import Host, Session

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

DESCRIPTION = Path("/etc/ironbench/host.json")

HOST_VERBS: dict[str, tuple[Callable, str]] = {
    "describe": (describe, "print the facts of this host"),
    "stop": (stop, "end everything that a session left on this host"),
}
SESSION_VERBS: dict[str, tuple[Callable, str]] = {
    "prepare": (prepare, "reset and start the services, seed, start the app"),
    "observe": (observe, "start sar and the CPU sampler"),
    "load": (load, "start the load generator, detached"),
    "collect": (collect, "wait for the generator's end and pack what the session left"),
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench host`` and its verbs."""
    host = subparsers.add_parser(
        "host",
        help="what the playbooks run on a host",
        description="Run as root on a bench host. Prints one JSON object.",
    )
    verbs = host.add_subparsers(metavar="VERB", required=True)
    for name, (function, summary) in {**HOST_VERBS, **SESSION_VERBS}.items():
        reads = "; reads a session as JSON from stdin" if name in SESSION_VERBS else ""
        parser = verbs.add_parser(name, help=summary, description=f"{summary.capitalize()}{reads}.")
        parser.add_argument(
            "--host", type=Path, default=DESCRIPTION, metavar="FILE", help="the host's description"
        )
        parser.set_defaults(func=_run, verb=function, with_session=name in SESSION_VERBS)


def _run(args: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        raise IronbenchError("`ironbench host` starts and stops units; run it as root.")
    host = read_record(args.host, Host)
    if args.with_session:
        session = decode_record(sys.stdin.buffer.read(), Session, "stdin")
        answer = args.verb(Place(host, session))
    else:
        answer = args.verb(host)
    print(msgspec.json.encode(answer).decode())
    return 0
