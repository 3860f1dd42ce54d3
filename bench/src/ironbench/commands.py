"""The controller's commands: plan, pending, environment, seal, report."""

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
from ironbench.files import NOT_JSON
from ironbench.ingest import of_hosts, read_collected
from ironbench.load.limits import share_refusals
from ironbench.metrics import errors, per_request_ms
from ironbench.plan import describe, make_plan, pending, run_seconds, time_left, window_share
from ironbench.published import load_published
from ironbench.records import Finding, Lost, Record, Results, Sealed
from ironbench.scorecard import why_hidden
from ironbench.study import load_study

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ironbench.records import Claim, Collected, Plan, Run, Session


class Planned(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench plan``."""

    bundle: str
    id: str
    runs: int
    sealed: int
    resumed: bool
    expected_s: float
    """Of the runs that are not sealed yet."""


class Failure(Record, frozen=True, kw_only=True):
    """What went wrong with a session on one host."""

    host: str
    detail: str


class Failures(Record, frozen=True, kw_only=True):
    """What ``ironbench lost`` reads."""

    failures: list[Failure]


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
    parser.add_argument(
        "--experiment",
        action="append",
        default=[],
        metavar="NAME",
        help="or `all` (default: those that the study names as its default, else all)",
    )
    parser.add_argument("--variant", action="append", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--seed", type=int, help="of the order (default: drawn, and kept in the plan)")
    parser.add_argument("--id", help="name of the bundle (default: UTC time and protocol)")
    parser.add_argument(
        "--retries", type=int, help="repetitions of a block with an instrument fault (default: 1)"
    )
    parser.add_argument(
        "--generators",
        type=int,
        default=1,
        metavar="N",
        help="load generators that are to share each load; what they cannot share is refused (default: 1)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the newest bundle that asks the same, if it has unsealed runs",
    )
    parser.add_argument(
        "--show",
        action="store_true",
        help="create nothing; print the order, the duration, and which effects the plan can see",
    )
    parser.add_argument(
        "--noise",
        type=Path,
        metavar="BUNDLE",
        help="with --show: whose noise to reckon with (default: the newest in --results that has it)",
    )
    parser.add_argument(
        "--effect", type=float, metavar="PERCENT", help="with --show: the effect to look for (default: 5)"
    )
    _finish(parser, plan)

    parser = subparsers.add_parser("pending", help="tell which run comes next")
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--begin",
        action="store_true",
        help="hand its session out to the hosts: note an attempt in the bundle, which every attempt counts against",
    )
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
        description=(
            "Read what `ironbench host collect` printed from stdin, a line of each host, and hand out the next session. "
            "Exit status 4: the gate failed and no instrument was at fault, so nothing was sealed; 5: the plan has ended "
            "for good."
        ),
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--left",
        action="store_true",
        help="stdin has what `ironbench host hold` found on the hosts: seal it if it is of the pending run",
    )
    add_hosts(parser)
    _finish(parser, seal)

    parser = subparsers.add_parser(
        "lost",
        help="note that the pending run's session came to nothing",
        description=(
            'Read why from stdin, as {"failures": [{"host": ..., "detail": ...}]}. The run stays pending, and '
            "its session is handed out again. Exit status 5 when it was lost more often than its block may be repeated: "
            "the plan has then ended for good."
        ),
    )
    parser.add_argument("bundle", type=Path)
    _finish(parser, lost)

    parser = subparsers.add_parser(
        "report",
        help="compute the report from a bundle",
        description=(
            "Print the report and write it into the bundle: report.html, report.md, results.json, and all runs as "
            "runs.csv, runs.parquet (with pyarrow) and benchmarks.txt (for benchstat)."
        ),
    )
    parser.add_argument("bundle", type=Path)
    _finish(parser, report)

    parser = subparsers.add_parser(
        "schema",
        help="print the JSON schema of results.json",
        description="Print the JSON Schema (draft 2020-12) of results.json, made from the records themselves.",
    )
    parser.set_defaults(func=schema)


def plan(args: argparse.Namespace) -> int:
    """Make the plan and its bundle, or find the one to go on with."""
    refuse_too_low(args, seed=0, retries=0, generators=1)
    if args.show and args.resume:
        raise IronbenchError(
            "--show is of a plan that is not begun; `ironbench pending BUNDLE` tells how far another one is."
        )
    if not args.show and (args.noise or args.effect is not None):
        raise IronbenchError(
            "--noise and --effect only change what --show prints; add --show or leave them out."
        )
    study = load_study(args.study)
    made = make_plan(
        study,
        args.protocol,
        plan_id=args.id or bundles.new_id(args.protocol),
        seed=secrets.randbits(32) if args.seed is None else args.seed,
        retries=1 if args.retries is None else args.retries,
        experiments=args.experiment,
        variants=args.variant,
        seed_given=args.seed is not None,
    )
    claims, published = load_claims(args.study, study), load_published(args.study)
    for name, experiment in made.experiments.items():
        for load in (experiment.load, *([experiment.background.load] if experiment.background else [])):
            for reason in share_refusals(load, args.generators):
                raise IronbenchError(f"The experiment {name} cannot be run here: {reason}.")
    if args.show:
        return _show(args, made, claims.claims)
    found = None
    if args.resume:
        found = bundles.find_unfinished(
            args.results, made, claims=claims, published=published, seed=args.seed, retries=args.retries
        )
    bundle = found or bundles.create(
        args.results,
        made,
        study,
        args.study,
        claims=claims,
        published=published,
    )
    kept = bundles.read_plan(bundle)
    contents = bundles.read_whole(bundle)
    sealed = contents.runs
    state = pending(kept, sealed, contents.lost)
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


def _show(args: argparse.Namespace, made: Plan, claims: Sequence[Claim]) -> int:
    """Print what a plan will do, and create nothing."""
    from ironbench import forecast  # noqa: PLC0415 - no other command needs it

    effect = 5.0 if args.effect is None else args.effect
    if not 0 < effect <= 100:
        raise IronbenchError(f"--effect {effect:g} is not an effect to look for; give per cent, such as 5.")
    if args.noise is None:
        noise, skipped = forecast.find_noise(args.results, made)
    else:
        noise, skipped = forecast.read_noise(args.noise, made), []
    answer = forecast.make_forecast(made, claims, noise, effect=effect / 100, skipped=skipped)
    _print(args, answer, forecast.render(answer))
    return 0


def show_pending(args: argparse.Namespace) -> int:
    """Tell which run comes next; with --begin its session is handed out."""
    contents = bundles.read_whole(args.bundle)
    state = pending(contents.plan, contents.runs, contents.lost)
    if args.begin:
        if state.ended:
            raise bundles.PlanEndedError(f"{state.ended}.")
        state = msgspec.structs.replace(state, session=_hand_out(args.bundle, state.session))
    _print(args, state, state.progress)
    return 0


def environment(args: argparse.Namespace) -> int:
    """Keep a host's environment."""
    written = bundles.write_environment(args.bundle, args.host, sys.stdin.buffer.read())
    _print(args, {"written": written}, f"{args.host}: {'written' if written else 'unchanged'}")
    return 0


def seal(args: argparse.Namespace) -> int:
    """Judge and seal the pending run."""
    collected = of_hosts(read_collected(sys.stdin.buffer.read()), args.hosts)
    if args.left:
        return _seal_left(args, collected)
    try:
        run = bundles.seal_collected(args.bundle, collected)
    except bundles.SessionLostError as error:
        run = error.lost
    _tell(args, run)
    return 0


def _seal_left(args: argparse.Namespace, collected: list[Collected]) -> int:
    found = bundles.seal_left(args.bundle, collected)
    if isinstance(found, str):
        line = f"What an interrupted playbook left was not sealed: {found}."
    else:
        line = f"Sealed what an interrupted playbook left: {_figures(found)}"
    _print(args, {"line": line, "sealed": not isinstance(found, str)}, line)
    return 0


def lost(args: argparse.Namespace) -> int:
    """Note that the pending run's session came to nothing."""
    try:
        told = msgspec.json.decode(sys.stdin.buffer.read(), type=Failures)
    except NOT_JSON as error:
        raise IronbenchError(f"stdin does not tell what failed: {error}.") from error
    faults = [
        Finding(kind="session-lost", detail=failure.detail, host=failure.host) for failure in told.failures
    ]
    _tell(args, bundles.lose_pending(args.bundle, faults))
    return 0


def _tell(args: argparse.Namespace, run: Run | Lost) -> None:
    """Hand out the session that comes next, and print what became of the one before."""
    contents = bundles.read_whole(args.bundle)
    kept, sealed = contents.plan, contents.runs
    state = pending(kept, sealed, contents.lost)
    left = _done(kept, sealed) if state.done else time_left(kept, sealed)
    if isinstance(run, Lost):
        word, figures, faults, outcomes = "Lost", describe(run.run), run.instrument_faults, []
    else:
        word, figures, faults, outcomes = "Sealed", _figures(run), run.instrument_faults, run.outcomes
    answer = Sealed(
        line=f"{word} run {run.run.position} of {state.total}: {figures} | {left}",
        lost=isinstance(run, Lost),
        done=state.done,
        session=_hand_out(args.bundle, state.session),
        after=state.after,
        progress=state.progress,
        sealed=state.sealed,
        total=state.total,
        faults=faults,
        outcomes=outcomes,
    )
    _print(args, answer, answer.line)


def _hand_out(bundle: Path, session: Session | None) -> Session | None:
    """Note the attempt of the session that the hosts are to begin, and draw its token."""
    if session is None:
        return None
    bundles.note_attempt(bundle, session)
    return msgspec.structs.replace(session, placement_token=secrets.token_hex(16))


def _done(kept: Plan, sealed: Sequence[Run]) -> str:
    share = window_share(kept, sealed)
    inside = "" if share is None else f", {100 * share:.0f} % of the wall time was inside load windows"
    return f"all runs are sealed{inside}"


def _figures(run: Run) -> str:
    latency = run.load.latency
    p90 = why_hidden(latency, "p90") or f"{latency.p90:.1f} ms"
    app = per_request_ms(run).get("app")
    figures = [
        f"{run.load.expected_rps:.1f} rps",
        f"mean {latency.mean:.1f} ms",
        f"p90 {p90}",
        "app not measured" if app is None else f"app {app:.2f} CPU-ms/request",
        f"{errors(run.load)} errors",
    ]
    if beside := run.background:
        figures.append(
            f"background {beside.expected_rps:.1f} rps, mean {beside.latency.mean:.1f} ms, {errors(beside)} errors"
        )
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


def schema(_: argparse.Namespace) -> int:
    """Print what results.json looks like."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Results)}
    print(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    return 0


def _finish(parser: argparse.ArgumentParser, func: object) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=func)


def _print(args: argparse.Namespace, answer: msgspec.Struct | dict, line: str) -> None:
    print(msgspec.json.encode(answer).decode() if args.json else line)
