"""The command ``ironbench flamegraph``: plan recordings, tell which comes next, keep what the hosts handed in."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench import bundle as bundles
from ironbench.arguments import add_hosts, refuse_too_low
from ironbench.claims import load_claims
from ironbench.errors import IronbenchError
from ironbench.flame import files
from ironbench.flame.plan import make_flame_plan, make_recording, next_recording
from ironbench.ingest import of_hosts, read_collected
from ironbench.plan import without_runs
from ironbench.records import FlamePending
from ironbench.study import load_study

if TYPE_CHECKING:
    import argparse

    from ironbench.records import Claims

PROTOCOL = "flamegraph"
"""Of a bundle that has nothing else."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its verbs."""
    parser = subparsers.add_parser(
        "flamegraph",
        help="plan and keep recordings by py-spy",
        description="On the controller. playbooks/flamegraph.yml runs these, and `ironbench host ... record` between them.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    plan = verbs.add_parser("plan", help="make a plan of recordings, and a bundle for it")
    plan.add_argument("--study", type=Path, required=True, metavar="DIR")
    plan.add_argument("--results", type=Path, required=True, metavar="DIR", help="where bundles lie")
    plan.add_argument("--graph", action="append", default=[], metavar="NAME", help="default: all")
    plan.add_argument("--variant", action="append", default=[], metavar="NAME", help="default: all")
    plan.add_argument("--recordings", type=int, help="of each graph and variant (default: the study's)")
    plan.add_argument("--seconds", type=int, help="of each mode (default: the study's)")
    plan.add_argument("--seed", type=int, help="of the order (default: drawn, and kept in the plan)")
    plan.add_argument(
        "--bundle",
        type=Path,
        help="go on with the recordings of this one, or begin them in it if it has none",
    )
    plan.set_defaults(func=_plan)

    pending = verbs.add_parser("pending", help="tell which recording comes next")
    pending.add_argument("bundle", type=Path)
    pending.add_argument(
        "--begin", action="store_true", help="hand it out to the hosts: note an attempt in the bundle"
    )
    pending.set_defaults(func=_pending)

    seal = verbs.add_parser(
        "seal", help="keep the pending recording: stdin has what `ironbench host collect` printed"
    )
    seal.add_argument("bundle", type=Path)
    add_hosts(seal)
    seal.set_defaults(func=_seal)


def _plan(args: argparse.Namespace) -> int:
    refuse_too_low(args, recordings=1, seconds=1, seed=0)
    plan_id = bundles.new_id(PROTOCOL)
    if args.bundle is not None:
        plan_id = bundles.read_plan(args.bundle).id  # raises where it is none
        if files.read_plan(args.bundle) is not None:
            return _tell(args.bundle)
    study = load_study(args.study)
    plan = make_flame_plan(
        study,
        plan_id,
        seed=secrets.randbits(32) if args.seed is None else args.seed,
        graphs=args.graph,
        variants=args.variant,
        recordings=args.recordings,
        seconds=args.seconds,
    )
    bundle = args.bundle or bundles.create(
        args.results,
        without_runs(study, plan.id, protocol=PROTOCOL, seed=plan.seed),
        study,
        args.study,
        claims=_on_shares(load_claims(args.study, study)),
    )
    files.write_plan(bundle, plan)
    return _tell(bundle)


def _on_shares(claims: Claims) -> Claims:
    return msgspec.structs.replace(claims, claims=[claim for claim in claims.claims if claim.kind == "share"])


def _pending(args: argparse.Namespace) -> int:
    return _tell(args.bundle, begin=args.begin)


def _tell(bundle: Path, line: str = "", *, begin: bool = False) -> int:
    """Print what comes next, and hand it out to the hosts if it begins now."""
    plan = files.read_plan(bundle)
    if plan is None:
        raise IronbenchError(f"{bundle} has no flame graphs; `ironbench flamegraph plan` begins them.")
    sealed, damaged = files.read_recordings(bundle, plan)
    if damaged:
        raise IronbenchError(f"{bundle} is damaged: {damaged[0].detail}; move {damaged[0].move} out of it.")
    due = next_recording(plan, {one.run.key for one in sealed})
    session = None if due is None else make_recording(plan, due)
    if begin and session is not None:
        bundles.note_attempt(bundle, session, files.ATTEMPTS)
    total = len(plan.runs)
    progress = (
        f"all {total} recordings are sealed"
        if due is None
        else f"recording {due.position} of {total}: {due.key}"
    )
    answer = FlamePending(
        bundle=str(bundle),
        session=session,
        progress=line or progress,
        sealed=len(sealed),
        total=total,
    )
    print(msgspec.json.encode(answer).decode())
    return 0


def _seal(args: argparse.Namespace) -> int:
    collected = of_hosts(read_collected(sys.stdin.buffer.read()), args.hosts)
    recorded = files.seal_recording(args.bundle, collected)
    seen = ", ".join(
        f"{one.mode} {one.complaint or f'{one.samples} samples'}, {one.requests} requests"
        for one in recorded.segments
    )
    return _tell(args.bundle, f"{recorded.run.key}: {seen}")
