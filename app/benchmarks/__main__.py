"""What the controller runs: ``python -m benchmarks plan`` and ``python -m benchmarks report``."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

import msgspec
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, write_atomic

from .plan import LOCKS, make_plan
from .records import BLOCKS, ENVIRONMENT, PLAN, Block, Environment, Plan
from .report import render
from .results import make_results


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    plan = verbs.add_parser("plan", help="make a directory with a plan and print both")
    plan.add_argument("--results", type=Path, required=True, help="the directory goes below it")
    plan.add_argument("--sections", default="", help="names with blanks between; none means all")
    plan.add_argument("--blocks", type=int, required=True)
    plan.add_argument("--lock", choices=LOCKS, required=True)
    plan.add_argument("--seed", type=int, help="of the random orders; by default one is drawn")
    plan.set_defaults(run=_plan)
    report = verbs.add_parser("report", help="compute the figures of a directory and print them")
    report.add_argument("directory", type=Path)
    report.set_defaults(run=_report)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except IronbenchError as error:
        print(f"benchmark-app: {error}", file=sys.stderr)
        return 2
    return 0


def _plan(arguments: argparse.Namespace) -> None:
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    sections = arguments.sections.split()
    plan = make_plan(sections=sections, blocks=arguments.blocks, seed=seed, lock=arguments.lock)
    directory = arguments.results / plan.id
    directory.mkdir(parents=True)
    write_atomic(directory / PLAN, encode_record(plan))
    print(msgspec.json.encode({"directory": str(directory.resolve()), "plan": plan}).decode())


def _report(arguments: argparse.Namespace) -> None:
    directory = arguments.directory
    plan = read_record(directory / PLAN, Plan)
    environment = read_record(directory / ENVIRONMENT, Environment)
    blocks = [read_record(path, Block) for path in sorted(directory.glob(BLOCKS))]
    if not blocks:
        raise IronbenchError(f"{directory} holds no block: run `make benchmark-app` to the end of the first.")
    results = make_results(plan, blocks, packed=environment.facts.layout.packed)
    text = render(plan, environment, blocks, results)
    write_atomic(directory / "results.json", encode_record(results))
    write_atomic(directory / "report.txt", text.encode())
    print(text, end="")


if __name__ == "__main__":
    sys.exit(main())
