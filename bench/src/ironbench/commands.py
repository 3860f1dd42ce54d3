"""The controller's commands: plan, pending, environment, seal, report."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench import bundle as bundles
from ironbench.errors import IronbenchError
from ironbench.ingest import unpacked
from ironbench.plan import describe, make_plan, pending, run_seconds, time_left
from ironbench.records import Record, Sealed
from ironbench.scorecard import HIDDEN, errors, per_request_ms, percentile_shown
from ironbench.study import load_study

if TYPE_CHECKING:
    import argparse

    from ironbench.records import Run

GATE_FAILED = 4


class Planned(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench plan``."""

    bundle: str
    id: str
    runs: int
    sealed: int
    resumed: bool
    expected_s: float
    """Of the runs that are not sealed yet."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the controller's commands."""
    parser = subparsers.add_parser(
        "plan",
        help="make a plan and its bundle",
        description="Check a study, order its runs in randomised interleaved blocks, and create the bundle.",
    )
    parser.add_argument("--study", type=Path, required=True, metavar="DIR")
    parser.add_argument("--protocol", required=True, metavar="NAME")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="where bundles lie")
    parser.add_argument("--experiment", action="append", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--variant", action="append", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--seed", type=int, help="of the order (default: drawn, and kept in the plan)")
    parser.add_argument("--id", help="name of the bundle (default: UTC time and protocol)")
    parser.add_argument(
        "--retries", type=int, help="repetitions of a block with an instrument fault (default: 1)"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the newest bundle that asks the same, if it has unsealed runs",
    )
    _finish(parser, plan)

    parser = subparsers.add_parser("pending", help="tell which run comes next")
    parser.add_argument("bundle", type=Path)
    _finish(parser, show_pending)

    parser = subparsers.add_parser(
        "environment",
        help="keep what a host tells of itself in a bundle",
        description="Keep the JSON object on stdin; other content is refused once a run is sealed.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("host")
    _finish(parser, environment)

    parser = subparsers.add_parser(
        "seal",
        help="judge and seal the pending run",
        description="Exit status 4: the gate failed and no instrument was at fault, so nothing was sealed.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="HOST.tar.gz of each host")
    parser.add_argument("--started-ns", type=int, help="start of the session (default: first snapshot)")
    _finish(parser, seal)

    parser = subparsers.add_parser(
        "report",
        help="compute the report from a bundle",
        description="Print the scorecard and write results.json, report.md and report.html into the bundle.",
    )
    parser.add_argument("bundle", type=Path)
    _finish(parser, report)


def plan(args: argparse.Namespace) -> int:
    """Make the plan and its bundle, or find the one to go on with."""
    for name, lowest in (("seed", 0), ("retries", 0)):
        value = getattr(args, name)
        if value is not None and value < lowest:
            raise IronbenchError(f"--{name} {value} is too low; give {lowest} or more.")
    study = load_study(args.study)
    made = make_plan(
        study,
        args.protocol,
        plan_id=args.id or bundles.new_id(args.protocol),
        seed=secrets.randbits(32) if args.seed is None else args.seed,
        retries=1 if args.retries is None else args.retries,
        experiments=args.experiment,
        variants=args.variant,
    )
    found = None
    if args.resume:
        found = bundles.find_unfinished(args.results, made, seed=args.seed, retries=args.retries)
    bundle = found or bundles.create(args.results, made, study, args.study)
    kept = bundles.read_plan(bundle)
    sealed = bundles.read_runs(bundle)
    state = pending(kept, sealed)
    answer = Planned(
        bundle=str(bundle),
        id=kept.id,
        runs=state.total,
        sealed=state.sealed,
        resumed=found is not None,
        expected_s=round(run_seconds(kept, sealed) * (state.total - state.sealed), 1),
    )
    how = f"going on after {state.sealed} sealed runs" if found else "new"
    _print(args, answer, f"{bundle}: {how}, {state.total} runs, {time_left(kept, sealed)}")
    return 0


def show_pending(args: argparse.Namespace) -> int:
    """Tell which run comes next."""
    state = pending(bundles.read_plan(args.bundle), bundles.read_runs(args.bundle))
    _print(args, state, state.progress)
    return 0


def environment(args: argparse.Namespace) -> int:
    """Keep a host's environment."""
    written = bundles.write_environment(args.bundle, args.host, sys.stdin.buffer.read())
    _print(args, {"written": written}, f"{args.host}: {'written' if written else 'unchanged'}")
    return 0


def seal(args: argparse.Namespace) -> int:
    """Judge and seal the pending run."""
    try:
        with unpacked(args.raw) as raw:
            run = bundles.seal(args.bundle, raw, started_ns=args.started_ns)
    except bundles.GateFailedError as error:
        print(f"ironbench: {error}", file=sys.stderr)
        return GATE_FAILED
    kept, sealed = bundles.read_plan(args.bundle), bundles.read_runs(args.bundle)
    state = pending(kept, sealed)
    left = "all runs are sealed" if state.done else time_left(kept, sealed)
    answer = Sealed(
        line=f"run {run.run.position} of {state.total}: {_figures(run)} | {left}",
        done=state.done,
        session=state.session,
        progress=state.progress,
        sealed=state.sealed,
        total=state.total,
        faults=run.instrument_faults,
        outcomes=run.outcomes,
    )
    _print(args, answer, answer.line)
    return 0


def _figures(run: Run) -> str:
    latency = run.load.latency
    p90 = f"{latency.p90:.1f} ms" if percentile_shown(latency.count, 90) else HIDDEN
    app = per_request_ms(run).get("app")
    figures = [
        f"{run.load.achieved_rps:.1f} rps",
        f"mean {latency.mean:.1f} ms",
        f"p90 {p90}",
        "app not measured" if app is None else f"app {app:.2f} CPU-ms/request",
        f"{errors(run)} errors",
    ]
    line = f"{describe(run.run)} | {', '.join(figures)}"
    for word, ledger in (("INSTRUMENT FAULT", run.instrument_faults), ("outcomes", run.outcomes)):
        if ledger:
            line += f" | {word}: {', '.join(dict.fromkeys(finding.kind for finding in ledger))}"
    return line


def report(args: argparse.Namespace) -> int:
    """Compute the report; with --json print the results instead of the terminal's report."""
    from ironbench.report import write_report  # noqa: PLC0415 - jinja2 is slow to import

    results, text = write_report(args.bundle)
    _print(args, results, text.rstrip("\n"))
    return 0


def _finish(parser: argparse.ArgumentParser, func: object) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=func)


def _print(args: argparse.Namespace, answer: msgspec.Struct | dict, line: str) -> None:
    print(msgspec.json.encode(answer).decode() if args.json else line)
