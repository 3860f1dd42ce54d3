"""The commands ``ironbench host VERB``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import decode_record, read_record
from ironbench.host import holder
from ironbench.host.collect import collect, wait
from ironbench.host.facts import describe
from ironbench.host.generate import load, share, users
from ironbench.host.hold import hold, release
from ironbench.host.observe import observe
from ironbench.host.place import DESCRIPTION, Place
from ironbench.host.prepare import prepare
from ironbench.host.quiet import quiet, unquiet
from ironbench.host.record import record
from ironbench.host.stop import drop, stop
from ironbench.host.turn import Turn, ready, turn
from ironbench.records import Hold, Host, LoadShare, Session

if TYPE_CHECKING:
    from collections.abc import Callable

HOST_VERBS: dict[str, tuple[Callable, str]] = {
    "describe": (describe, "print the facts of this host"),
    "quiet": (quiet, "keep the rest of the host off the bench's CPUs, until unquiet or the end of the lease"),
    "unquiet": (unquiet, "put that back"),
    "stop": (stop, "end everything that a session left on this host, and forget it"),
}
SESSION_VERBS: dict[str, tuple[Callable, str]] = {
    "prepare": (prepare, "reset and start the services, seed, start the app"),
    "observe": (observe, "start sar, the CPU sampler and, for generators elsewhere, the placement service"),
    "ready": (ready, "wait until that is done, by a unit that turn or else this one starts"),
    "users": (users, "print the seeded users, and when several generators start the window"),
    "load": (load, "start the load generator, detached"),
    "record": (record, "have py-spy look at the app while the load runs; for a session that is a recording"),
    "wait": (wait, "wait for the generator's end, and read the other hosts' clocks"),
    "collect": (collect, "the same, and print what the session left, packed"),
    "drop": (drop, "end the session, and forget what it left"),
}
HOLD = "hold"
RELEASE = "release"
SHARE = "share"
TURN = "turn"
SUMMARIES = {
    **{name: summary for name, (_, summary) in {**HOST_VERBS, **SESSION_VERBS}.items()},
    HOLD: "hold this host for a plan and make it quiet if the plan wants that; refused while another plan holds it",
    RELEASE: "end the plan's sessions, put back what kept the host quiet, and hold it no more",
    SHARE: "load, for a generator that is told the users and its share of the load",
    TURN: "collect, and begin to prepare the session after meanwhile",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench host`` and its verbs."""
    verbs = "\n".join(f"  {name:<9} {summary}" for name, summary in SUMMARIES.items())
    parser = subparsers.add_parser(
        "host",
        help="what the playbooks run on a host",
        description=f"Run as root on a bench host. Prints one JSON object a verb.\n\nverbs:\n{verbs}",
        epilog=(
            f"{', '.join(SESSION_VERBS)} read a session as JSON from stdin, the same one for all that are given; "
            f"{SHARE} reads one with the users and all generators' names, {TURN} one with the session after it. All of these are "
            f"refused unless the host is held for the session's plan. {HOLD} and {RELEASE} read what `ironbench hold` "
            "prints on the controller."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verbs", nargs="+", metavar="VERB", choices=SUMMARIES, help="in the order of doing")
    parser.add_argument(
        "--host", type=Path, default=DESCRIPTION, metavar="FILE", help="the host's description"
    )
    parser.add_argument(
        "--force", action="store_true", help=f"with {RELEASE}: whoever holds the host; reads no stdin"
    )
    parser.set_defaults(func=_run)


def _run(args: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        raise IronbenchError("`ironbench host` starts and stops units; run it as root.")
    if len(args.verbs) > 1 and not SESSION_VERBS.keys() >= set(args.verbs):
        raise IronbenchError(f"only {', '.join(SESSION_VERBS)} go together; run the other verbs one by one.")
    host = read_record(args.host, Host)
    place: Place | None = None
    for verb in args.verbs:
        if verb in HOST_VERBS:
            answer = HOST_VERBS[verb][0](host)
        elif verb == HOLD:
            answer = hold(host, decode_record(sys.stdin.buffer.read(), Hold, "stdin"))
        elif verb == RELEASE:
            of = None if args.force else decode_record(sys.stdin.buffer.read(), Hold, "stdin")
            answer = release(host, of)
        elif verb == SHARE:
            told = decode_record(sys.stdin.buffer.read(), LoadShare, "stdin")
            answer = share(_held(Place(host, told.session, args.host)), told)
        elif verb == TURN:
            asked = decode_record(sys.stdin.buffer.read(), Turn, "stdin")
            answer = turn(_held(Place(host, asked.session, args.host)), asked.after)
        else:
            place = place or _held(
                Place(host, decode_record(sys.stdin.buffer.read(), Session, "stdin"), args.host)
            )
            answer = SESSION_VERBS[verb][0](place)
        print(msgspec.json.encode(answer).decode(), flush=True)
    return 0


def _held(place: Place) -> Place:
    """Return the place where the host is held for the session's plan; raises IronbenchError elsewhere."""
    holder.check(place.host, place.session.plan)
    return place
