"""From sealed runs to the figures of the report.

Latency merges by count over the sessions of a variant; percentiles are never averaged. Everything
that a session yields one figure of (CPU, rate) is shown as the median and the range over sessions.
"""

from __future__ import annotations

import statistics
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from ironbench.cpus import parse_cpu_list
from ironbench.plan import schedule
from ironbench.records import (
    SCHEMA,
    Cell,
    CheckSummary,
    CoreLayout,
    CpuCheck,
    Delta,
    Latency,
    Manifest,
    Plan,
    Results,
    Row,
    Run,
    RunFigures,
    Scorecard,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

D = TypeVar("D")
"""A run's latency distribution, of whatever form ``merge`` takes."""

SERVICES = ("app", "postgresql", "pgbouncer", "valkey")

MIN_ABOVE = 10
"""Samples above a percentile, below which it is hidden: it is then one of the few largest values."""
DESCRIPTION = "description.yml"
"""An imported bundle's copy of what its importer said of the logs."""
HIDDEN = f"n<{MIN_ABOVE}"

PERCENTILES = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


def make_results(  # noqa: PLR0913 - a bundle has this many parts
    manifest: Manifest,
    plan: Plan,
    runs: Sequence[Run],
    distributions: dict[str, D],
    environment: dict[str, dict],
    *,
    merge: Callable[[list[D]], Latency],
    rendered_by: str,
) -> Results:
    """Compute all figures of a bundle.

    ``distributions`` holds the latency distribution of each run by its key, ``merge`` adds them up by
    count.
    """
    excluded = why_excluded(plan, runs)
    counted = [run for run in runs if run.run.key not in excluded]
    return Results(
        schema=SCHEMA,
        rendered_by=rendered_by,
        manifest=manifest,
        baseline=plan.baseline,
        seed=plan.seed,
        blocks=max(run.block for run in plan.runs),
        retries=plan.retries,
        warmup_s=plan.warmup_s,
        window_s=plan.window_s,
        verdicts=plan.verdicts,
        sealed=len(runs),
        total=len(schedule(plan, runs)),
        scorecards=[_scorecard(plan, name, counted, distributions, merge) for name in plan.experiments],
        runs=[_figures(run, excluded.get(run.run.key, "")) for run in runs],
        cpu_check=_check_summaries(counted),
        layout=_layouts(runs),
        environment=environment,
        reproduce=_commands(manifest, plan),
    )


def why_excluded(plan: Plan, runs: Sequence[Run]) -> dict[str, str]:
    """Return the reason for each run whose figures do not count, by its key.

    Of a repeated block the last attempt that is complete counts, whole, so that its runs were
    measured side by side; in it, runs with an instrument fault do not count either.
    """
    sizes: dict[tuple[str, int, int], int] = {}
    for run in runs:
        key = run.run.experiment, run.run.block, run.run.attempt
        sizes[key] = sizes.get(key, 0) + 1
    reasons = {}
    for run in runs:
        experiment, block = run.run.experiment, run.run.block
        whole = sum((planned.experiment, planned.block) == (experiment, block) for planned in plan.runs)
        complete = [a for (e, b, a), n in sizes.items() if (e, b) == (experiment, block) and n == whole]
        counting = max(complete, default=1)
        if run.instrument_faults:
            kinds = dict.fromkeys(fault.kind for fault in run.instrument_faults)
            reasons[run.run.key] = f"instrument fault: {', '.join(kinds)}"
        elif run.run.attempt < counting:
            reasons[run.run.key] = f"its block was repeated (repetition {counting - 1} counts)"
        elif run.run.attempt > counting:
            reasons[run.run.key] = "its block is not complete yet"
    return reasons


def percentile_shown(count: int, percentile: float) -> bool:
    """Whether at least MIN_ABOVE of ``count`` samples lie above the percentile."""
    # Per mille in whole numbers: 100 samples have exactly 10 above p90, whatever floats say.
    return count * round(1000 - 10 * percentile) >= MIN_ABOVE * 1000


def per_request_ms(run: Run) -> dict[str, float]:
    """CPU-ms per request by service; the load generator and the rest of the host are none."""
    return {cpu.service: cpu.per_request_ms for cpu in run.cpu if cpu.service in SERVICES}


# --- one experiment ----------------------------------------------------------------------------


def _scorecard(
    plan: Plan,
    name: str,
    counted: Sequence[Run],
    distributions: dict[str, D],
    merge: Callable[[list[D]], Latency],
) -> Scorecard:
    experiment = plan.experiments[name]
    variants = experiment.variants
    first = plan.baseline if plan.baseline in variants else variants[0]
    last = variants[-1]
    observed = {v: [r for r in counted if (r.run.experiment, r.run.variant) == (name, v)] for v in variants}
    runs = {v: [r for r in observed[v] if r.run.number] for v in variants}
    latency = {v: merge([distributions[r.run.key] for r in runs[v]]) for v in variants if runs[v]}

    def row(title: str, unit: str, cell: Callable[[str], Cell]) -> Row:
        cells = {v: cell(v) if runs[v] else Cell(value=None, note="no run") for v in variants}
        delta = None if first == last else _delta(cells[first], cells[last], unit)
        return Row(name=title, unit=unit, cells=cells, delta=delta)  # type: ignore[arg-type]

    def over_sessions(
        title: str, unit: str, figure: Callable[[Run], float | None], of: dict[str, list[Run]] = runs
    ) -> Row:
        return row(title, unit, lambda v: _median(figure(run) for run in of[v]))

    rows = [
        row("Mean latency", "ms", lambda v: Cell(value=latency[v].mean)),
        row("P90", "ms", lambda v: _percentile(latency[v], "p90")),
        row("P99", "ms", lambda v: _percentile(latency[v], "p99")),
        row("StdDev", "ms", lambda v: Cell(value=latency[v].stdev)),
        row("Max latency", "ms", lambda v: Cell(value=latency[v].max)),
    ]
    for cpu in _app_cpus(observed):
        usr, busy = _core(cpu, "usr_whole_record"), _core(cpu, "busy")
        rows.append(over_sessions(f"CPU {cpu} %usr, whole sar record", "%", usr, observed))
        rows.append(over_sessions(f"CPU {cpu} busy in the window", "%", busy, observed))
    rows.append(over_sessions("Achieved rate", "rps", lambda run: run.load.achieved_rps))
    rows.append(
        row("Errors and unexpected statuses", "count", lambda v: Cell(value=sum(map(errors, runs[v]))))
    )
    rows += [
        over_sessions(
            f"CPU per request: {service}", "CPU-ms", lambda run, s=service: per_request_ms(run).get(s)
        )
        for service in SERVICES
    ]
    rows.append(over_sessions("CPU per request: sum", "CPU-ms", _sum_cpu))
    return Scorecard(
        experiment=name,
        title=experiment.title,
        variants=variants,
        first=first,
        last=last,
        sessions={v: len({(r.run.block, r.run.attempt) for r in runs[v]}) for v in variants},
        runs={v: len(runs[v]) for v in variants},
        requests={v: latency[v].count if v in latency else 0 for v in variants},
        rows=rows,
    )


def errors(run: Run) -> int:
    """Errors of all kinds and answers with an unexpected status."""
    return sum(run.load.errors.values()) + run.load.unexpected_status


def _percentile(latency: Latency, name: str) -> Cell:
    if not percentile_shown(latency.count, PERCENTILES[name]):
        return Cell(value=None, note=HIDDEN)
    return Cell(value=getattr(latency, name))


def _median(figures: Sequence[float | None] | object) -> Cell:
    known = [figure for figure in figures if figure is not None]  # type: ignore[union-attr]
    if not known:
        return Cell(value=None, note="not measured")
    return Cell(value=statistics.median(known), low=min(known), high=max(known))


def _delta(first: Cell, last: Cell, unit: str) -> Delta | None:
    if first.value is None or last.value is None:
        return None
    absolute = last.value - first.value
    # A share of what cannot be told from nothing says nothing.
    lowest = first.value if first.low is None else first.low
    relative = None if unit == "%" or lowest <= 0 else 100 * absolute / first.value
    return Delta(absolute=absolute, relative=relative)


def _app_cpus(runs: dict[str, list[Run]]) -> list[int]:
    texts = (text for variant in runs.values() for run in variant for text in _app_hosts(run).values())
    return sorted({cpu for text in texts for cpu in parse_cpu_list(text)})


def _app_hosts(run: Run) -> dict[str, str]:
    """Return the app's CPUs by host; where no cgroup was measured (an imported run), the layout's."""
    if not run.cpu:
        return {host: layout.app for host, layout in run.layout.items()}
    return {cpu.host: cpu.cpus for cpu in run.cpu if cpu.service == "app"}


def _core(cpu: int, field: str) -> Callable[[Run], float | None]:
    def figure(run: Run) -> float | None:
        hosts = _app_hosts(run)
        return next((getattr(c, field) for c in run.cores if c.cpu == cpu and c.host in hosts), None)

    return figure


def _sum_cpu(run: Run) -> float | None:
    figures = per_request_ms(run)
    return sum(figures.values()) if figures else None


# --- the whole bundle --------------------------------------------------------------------------


def utc(ns: int) -> str:
    """Nanoseconds of CLOCK_REALTIME as 2026-01-31 12:00:00 UTC."""
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _figures(run: Run, why_not: str) -> RunFigures:
    return RunFigures(
        position=run.run.position,
        key=run.run.key,
        experiment=run.run.experiment,
        block=run.run.block,
        variant=run.run.variant,
        attempt=run.run.attempt,
        number=run.run.number,
        started=utc(run.started_ns) if run.started_ns else "",
        counted=not why_not,
        why_not=why_not,
        offered_rps=run.load.offered_rps,
        achieved_rps=run.load.achieved_rps,
        latency=run.load.latency,
        app_cpu_ms=per_request_ms(run).get("app"),
        sum_cpu_ms=_sum_cpu(run),
        mhz=_app_mhz(run),
        instrument_faults=run.instrument_faults,
        outcomes=run.outcomes,
    )


def _app_mhz(run: Run) -> float | None:
    hosts = [cpu.host for cpu in run.cpu if cpu.service == "app"]
    return run.mhz.get(hosts[0]) if hosts else None


def _check_summaries(runs: Sequence[Run]) -> list[CheckSummary]:
    groups: dict[tuple[str, str], list[CpuCheck]] = {}
    for run in runs:
        for check in run.cpu_check:
            groups.setdefault((check.host, check.cpus), []).append(check)
    return [
        CheckSummary(
            host=host,
            cpus=cpus,
            runs=len(checks),
            median=statistics.median(check.difference for check in checks),
            low=min(check.difference for check in checks),
            high=max(check.difference for check in checks),
            sampling_error=statistics.median(check.sampling_error for check in checks),
        )
        for (host, cpus), checks in sorted(groups.items())
    ]


def _layouts(runs: Sequence[Run]) -> dict[str, CoreLayout]:
    layouts: dict[str, CoreLayout] = {}
    for run in runs:
        layouts.update(run.layout)
    return dict(sorted(layouts.items()))


def _commands(manifest: Manifest, plan: Plan) -> list[str]:
    if manifest.imported is not None:
        return [
            f"ironbench import bundle LOGS --describe results/{plan.id}/{DESCRIPTION} --id {plan.id}-again"
        ]
    chosen = "".join(f" --experiment {name}" for name in plan.experiments)
    variants = dict.fromkeys(v for e in plan.experiments.values() for v in e.variants)
    chosen += "".join(f" --variant {name}" for name in variants)
    commands = [] if manifest.git is None else [f"git checkout {manifest.git.commit}"]
    make = f"ironbench plan --study studies/{plan.study} --protocol {plan.protocol}{chosen}"
    make += f" --seed {plan.seed} --retries {plan.retries} --results results --id {plan.id}-again"
    return [
        *commands,
        make,
        f"ironbench pending results/{plan.id}-again",
        f"ironbench report results/{plan.id}-again",
    ]
