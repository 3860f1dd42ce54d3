"""The command ``ironbench query-plan``: order on the controller, measure on a host, seal on the controller."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench import bundle as bundles
from ironbench.arguments import refuse_too_low
from ironbench.claims import load_claims
from ironbench.errors import IronbenchError
from ironbench.files import decode_record, read_record
from ironbench.host.place import DESCRIPTION
from ironbench.metrics import PLAN_METRICS
from ironbench.plan import without_runs
from ironbench.records import SCHEMA, Host, QueryPlanOrder, Record
from ironbench.study import load_study

if TYPE_CHECKING:
    import argparse

    from ironbench.records import Claim, Claims

PROTOCOL = "query-plan"
"""Of a bundle that has nothing else."""


class Ordered(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench query-plan order``."""

    bundle: str
    created: bool
    order: QueryPlanOrder


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command and its verbs."""
    parser = subparsers.add_parser(
        "query-plan",
        help="measure plans of a query under settings of PostgreSQL's planner",
        description="playbooks/query_plan.yml runs these one after the other.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    order = verbs.add_parser(
        "order", help="on the controller: make a bundle, and print what is to be measured"
    )
    order.add_argument("--study", type=Path, required=True, metavar="DIR")
    order.add_argument("--results", type=Path, required=True, metavar="DIR", help="where bundles lie")
    order.add_argument("--test", metavar="NAME", help="of the study's query_plans (default: the first)")
    order.add_argument("--executions", type=int, help="of each setting, instead of the study's number")
    order.add_argument("--seed", type=int, help="of rows and order (default: drawn, and kept in the record)")
    order.add_argument("--bundle", type=Path, help="one to put the record into, instead of one of its own")
    order.set_defaults(func=_order)

    measure = verbs.add_parser(
        "measure", help="on a database host: measure what stdin orders, and print the record"
    )
    measure.add_argument(
        "--host", type=Path, default=DESCRIPTION, metavar="FILE", help="the host's description"
    )
    measure.set_defaults(func=_measure)

    seal = verbs.add_parser(
        "seal", help="on the controller: keep the record on stdin, and print what it says"
    )
    seal.add_argument("bundle", type=Path)
    seal.add_argument("--host", required=True, metavar="NAME", help="of the inventory, that measured")
    seal.set_defaults(func=_seal)


def _order(args: argparse.Namespace) -> int:
    study = load_study(args.study)
    if not study.query_plans:
        raise IronbenchError(f"study {study.name} has no query_plans; add them to its experiments.yml.")
    name = args.test or next(iter(study.query_plans))
    if name not in study.query_plans:
        raise IronbenchError(
            f"study {study.name} has no query plan {name!r}; it has {', '.join(study.query_plans)}."
        )
    test = study.query_plans[name]
    refuse_too_low(args, executions=1, seed=0)
    if args.executions is not None:
        test = msgspec.structs.replace(test, executions=args.executions)
    seed = secrets.randbits(32) if args.seed is None else args.seed
    order = QueryPlanOrder(schema=SCHEMA, name=name, test=test, seed=seed)
    if args.bundle is not None:
        bundles.read_plan(args.bundle)  # raises where it is none
    bundle = args.bundle or bundles.create(
        args.results,
        without_runs(study, bundles.new_id(PROTOCOL), protocol=PROTOCOL, seed=seed),
        study,
        args.study,
        claims=_on_query_plans(load_claims(args.study, study)),
    )
    print(msgspec.json.encode(Ordered(bundle=str(bundle), created=args.bundle is None, order=order)).decode())
    return 0


def _on_query_plans(claims: Claims) -> Claims:
    return msgspec.structs.replace(
        claims, claims=[claim for claim in claims.claims if _is_on_query_plans(claim)]
    )


def _is_on_query_plans(claim: Claim) -> bool:
    return claim.comparison is not None and claim.comparison.metric in PLAN_METRICS


def _measure(args: argparse.Namespace) -> int:
    from ironbench.query_plan.measure import measure  # noqa: PLC0415 - the controller needs none of it

    if os.geteuid() != 0:
        raise IronbenchError("`ironbench query-plan measure` starts and stops a cluster; run it as root.")
    host = read_record(args.host, Host)
    order = decode_record(sys.stdin.buffer.read(), QueryPlanOrder, "stdin")
    print(msgspec.json.encode(measure(host, order)).decode())
    return 0


def _seal(args: argparse.Namespace) -> int:
    from ironbench.query_plan.summary import summarise  # noqa: PLC0415 - as in _measure
    from ironbench.report.query_plans import summary_sections  # noqa: PLC0415
    from ironbench.report.terminal import section_lines  # noqa: PLC0415
    from ironbench.verdict import judge_claims  # noqa: PLC0415

    record = bundles.seal_query_plans(args.bundle, args.host, sys.stdin.buffer.read())
    claims = [claim for claim in bundles.read_claims(args.bundle)[0] if _is_on_query_plans(claim)]
    summary = summarise(record, claims)
    for section in summary_sections(summary):
        print("\n".join(section_lines(section)))
    _, verdicts = judge_claims(claims, [], bundles.read_plan(args.bundle), None, query_plans=[summary])
    for verdict in verdicts:
        print(f"{verdict.claim.says}\n  {verdict.word}: {verdict.reason}")
    return 0
