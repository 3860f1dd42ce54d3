"""From sealed runs to the figures of the report.

Latency merges by count over the sessions of a variant; percentiles are never averaged. Everything
that a session yields one figure of (CPU, rate) is shown as the median and the range over sessions.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ironbench.attempts import count_sides
from ironbench.beside import blocked_loops, dependences, searches
from ironbench.cells import pairs
from ironbench.cpus import parse_cpu_list
from ironbench.effects import make_effects
from ironbench.metrics import (
    METRICS,
    MIN_ABOVE,
    PERCENTILES,
    SERVICES,
    app_cpus,
    core,
    errors,
    latency_figure,
    per_request_ms,
    percentile_shown,
    sum_cpu_ms,
)
from ironbench.plan import ended, order_bias, schedule, window_share
from ironbench.published import published_series
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
from ironbench.redone import Redone
from ironbench.study import first_variant
from ironbench.verdict import asked, judge_claims, left_out
from ironbench.withheld import conducts, unfinished_plan, withhold, withhold_noise
from ironbench.within import placement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ironbench.metrics import Metric
    from ironbench.published import Published
    from ironbench.records import (
        Attempt,
        Background,
        Claim,
        Effect,
        FlameSummary,
        Lost,
        QueryPlanSummary,
    )

D = TypeVar("D")
"""A run's latency distribution, of whatever form ``merge`` takes."""

DESCRIPTION = "description.yml"
"""An imported bundle's copy of what its importer said of the logs."""
HIDDEN = f"n<{MIN_ABOVE}"
CENSORED = "timed out"
NO_ANSWER = "no answer"
NOT_MEASURED = "not measured"
WHERE_MEASURED = ("run_queue_max", "context_switches", "new_tasks", "blocked_ms", "highest_rps")
"""Metrics with a row only where a run has the figure."""

BESIDE_NET = ("app_gross_cpu_ms", "app_idle_ms_per_s")
"""What the net cost of the app leaves out."""


def make_results(  # noqa: PLR0913 - a bundle has this many parts
    manifest: Manifest,
    plan: Plan,
    runs: Sequence[Run],
    distributions: dict[str, D],
    environment: dict[str, dict],
    *,
    merge: Callable[[list[D]], Latency],
    rendered_by: str,
    claims: Sequence[Claim] = (),
    published: Published | None = None,
    query_plans: Sequence[QueryPlanSummary] = (),
    flame_graphs: FlameSummary | None = None,
    lost: Sequence[Lost] = (),
    attempts: Sequence[Attempt] = (),
) -> Results:
    """Compute all figures of a bundle, and what they say of its claims.

    ``distributions`` holds the latency distribution of each run by its key, ``merge`` adds them up by
    count.
    """
    excluded = why_excluded(plan, runs)
    counted = [run for run in runs if run.run.key not in excluded]
    counts = count_sides(plan, runs, {run.run.key for run in counted}, lost, attempts)
    effects_of = partial(
        make_effects,
        plan,
        asked=asked(claims, plan),
        latency=lambda several: merge([distributions[run.run.key] for run in several]),
    )
    noise, effects = effects_of(counted)
    first = None
    if excluded:
        first = {one.comparison: one for one in effects_of([run for run in runs if run.run.attempt == 1])[1]}
    faulty = {(run.run.experiment, run.run.block) for run in runs if run.instrument_faults}
    redone = Redone(plan, faulty, counts, noise, first)
    bias = order_bias(plan)

    def chosen(effect: Effect) -> Iterator[str]:
        one = effect.comparison
        yield from redone.reasons(effect)
        if (one.experiment, one.variant, one.against) in bias:
            yield bias[one.experiment, one.variant, one.against]

    total = len(schedule(plan, runs))
    why_ended = ended(plan, lost)
    withheld = [why_ended] if why_ended else unfinished_plan(len(runs), total, "runs")
    of_sides = conducts(plan, counted)
    noise = withhold_noise(noise, of_sides, withheld)
    effects = withhold(effects, of_sides, withheld, chosen)
    effects, verdicts = judge_claims(
        claims, effects, plan, published, query_plans=query_plans, flame_graphs=flame_graphs
    )
    return Results(
        schema=SCHEMA,
        rendered_by=rendered_by,
        manifest=manifest,
        baseline=plan.baseline,
        seed=plan.seed,
        seed_given=plan.seed_given,
        order_bias=_sentences(bias),
        blocks=max((run.block for run in plan.runs), default=0),
        retries=plan.retries,
        warmup_s=plan.warmup_s,
        window_s=plan.window_s,
        window_share=None if manifest.imported else window_share(plan, runs),
        sealed=len(runs),
        total=total,
        scorecards=[_scorecard(plan, name, counted, distributions, merge) for name in plan.experiments],
        runs=[_figures(run, excluded.get(run.run.key, "")) for run in runs],
        cpu_check=_check_summaries(counted),
        withheld=withheld,
        conduct=of_sides,
        counts=counts,
        noise=noise,
        effects=effects,
        claims=verdicts,
        left_out_claims=left_out(
            claims, plan, {effect.comparison.experiment for effect in effects if effect.packed}
        ),
        published=published_series(published),
        blocked=blocked_loops(plan, counted),
        searched=searches(counted),
        dependences=dependences(plan, effects),
        query_plans=list(query_plans),
        flame_graphs=flame_graphs,
        layout=_layouts(runs),
        environment=environment,
        measured=_measured(runs),
        reproduce=_commands(manifest, plan, with_claims=bool(claims))
        if plan.runs
        else _other_playbooks(manifest, plan, query_plans, flame_graphs),
    )


def why_excluded(plan: Plan, runs: Sequence[Run]) -> dict[str, str]:
    """Return the reason for each run whose figures do not count, by its key.

    Of a repeated block the last attempt that is complete counts, whole, so that its runs were
    measured side by side; in it, runs with an instrument fault do not count either.
    """
    whole = Counter((planned.experiment, planned.block) for planned in plan.runs)
    sizes = Counter((run.run.experiment, run.run.block, run.run.attempt) for run in runs)
    last_complete: dict[tuple[str, int], int] = {}
    for (experiment, block, attempt), size in sizes.items():
        if size == whole[experiment, block]:
            last_complete[experiment, block] = max(attempt, last_complete.get((experiment, block), 1))
    reasons = {}
    for run in runs:
        counting = last_complete.get((run.run.experiment, run.run.block), 1)
        if run.instrument_faults:
            kinds = dict.fromkeys(fault.kind for fault in run.instrument_faults)
            reasons[run.run.key] = f"instrument fault: {', '.join(kinds)}"
        elif run.run.attempt < counting:
            reasons[run.run.key] = f"its block was repeated (repetition {counting - 1} counts)"
        elif run.run.attempt > counting:
            reasons[run.run.key] = "its block is not complete yet"
    return reasons


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
    first = first_variant(experiment, plan.baseline)
    # With crossed factors the last side may differ from the first in more than one of them.
    last = variants[-1] if (variants[-1], first) in pairs(experiment, plan.baseline) else first
    # By side: a variant's second session is its A/A, and no part of its figures.
    observed = {v: [r for r in counted if (r.run.experiment, r.run.side) == (name, v)] for v in variants}
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
        row(title, "ms", partial(_latency, latency, field))
        for title, field in (
            ("Mean latency", "mean"),
            ("P90", "p90"),
            ("P99", "p99"),
            ("StdDev", "stdev"),
            ("Max latency", "max"),
        )
    ]
    for cpu in _app_cpus(observed):
        for title, field in (("%usr, whole sar record", "usr_whole_record"), ("busy in the window", "busy")):
            figure = partial(core, cpu=cpu, field=field)
            rows.append(over_sessions(f"CPU {cpu} {title}", "%", figure, observed))
    rows += [
        over_sessions(metric.title, metric.unit, metric.figure, observed)
        for metric in map(METRICS.__getitem__, WHERE_MEASURED)
        if any(metric.figure(run) is not None for found in observed.values() for run in found)
    ]
    rows.append(over_sessions("Achieved rate", "rps", lambda run: run.load.expected_rps))
    rows.append(
        row(
            "Errors and unexpected statuses",
            "count",
            lambda v: Cell(value=sum(errors(run.load) for run in runs[v])),
        )
    )
    if experiment.background is not None:
        rows += [
            row(metric.title, metric.unit, partial(_of_background, metric, runs))
            for metric in METRICS.values()
            if metric.source == "background"
        ]
    per_request = "CPU per request" if experiment.background is None else "CPU per request of both loads"
    rows += [
        over_sessions(
            f"{per_request}: {service}", "CPU-ms", lambda run, s=service: per_request_ms(run).get(s)
        )
        for service in SERVICES
    ]
    rows.append(over_sessions(f"{per_request}: sum", "CPU-ms", sum_cpu_ms))
    rows += [
        over_sessions(METRICS[name].title, METRICS[name].unit, METRICS[name].figure) for name in BESIDE_NET
    ]
    if experiment.background is not None:
        rows += [
            over_sessions(metric.title, metric.unit, metric.figure)
            for metric in METRICS.values()
            if metric.unit == "CPU-ms/s" and metric.gross
        ]
    return Scorecard(
        experiment=name,
        title=experiment.title,
        background=_in_words(experiment.background) if experiment.background else "",
        variants=variants,
        first=first,
        last=last,
        sessions={v: len({(r.run.block, r.run.attempt) for r in runs[v]}) for v in variants},
        runs={v: len(runs[v]) for v in variants},
        requests={v: latency[v].count if v in latency else 0 for v in variants},
        rows=rows,
    )


def _in_words(background: Background) -> str:
    request, load = background.request, background.load
    return f"{request.method} {request.path}, {load.rate:g} requests per second over {load.connections} connections"


def _of_background(metric: Metric, runs: dict[str, list[Run]], variant: str) -> Cell:
    figures = [metric.figure(run) for run in runs[variant]]
    if metric.unit == "count":
        return Cell(value=sum(figure for figure in figures if figure is not None))
    if not metric.latency:
        return _median(figures)
    given_up = any(run.background.latency.censored for run in runs[variant] if run.background)
    return _median(figures, empty=CENSORED if given_up else HIDDEN)


def _latency(latency: dict[str, Latency], field: str, variant: str) -> Cell:
    one = latency[variant]
    return Cell(value=latency_figure(one, field), note=why_hidden(one, field))


def why_hidden(latency: Latency, field: str) -> str:
    """Return what stands in the place of a figure that ``latency_figure`` does not return; empty where it does."""
    if latency_figure(latency, field) is not None:
        return ""
    if not latency.count:
        return NO_ANSWER
    few = field in PERCENTILES and not percentile_shown(latency.count, PERCENTILES[field])
    return CENSORED if latency.censored and not few else HIDDEN


def _median(figures: Sequence[float | None] | object, empty: str = NOT_MEASURED) -> Cell:
    known = [figure for figure in figures if figure is not None]  # type: ignore[union-attr]
    if not known:
        return Cell(value=None, note=empty)
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
    texts = {text for variant in runs.values() for run in variant for text in app_cpus(run).values()}
    return sorted({cpu for text in texts for cpu in parse_cpu_list(text)})


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
        achieved_rps=run.load.expected_rps,
        latency=run.load.latency,
        app_cpu_ms=per_request_ms(run).get("app"),
        sum_cpu_ms=sum_cpu_ms(run),
        mhz=_app_mhz(run),
        instrument_faults=run.instrument_faults,
        outcomes=run.outcomes,
        again=run.run.again,
        placement=placement(run.load.landing),
        figures={
            name: figure for name, metric in METRICS.items() if (figure := metric.figure(run)) is not None
        },
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


def _measured(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for host, facts in run.measured.items():
            found.setdefault(host, {}).update(facts)
    return {host: dict(sorted(facts.items())) for host, facts in sorted(found.items())}


def _sentences(bias: dict[tuple[str, str, str], str]) -> list[str]:
    """Tell each pair once."""
    return [f"{why[0].upper()}{why[1:]}." for why in dict.fromkeys(bias.values())]


def _commands(manifest: Manifest, plan: Plan, *, with_claims: bool) -> list[str]:
    if manifest.imported is not None:
        study = f" --study studies/{plan.study}" if with_claims else ""
        describe = f"--describe results/{plan.id}/{DESCRIPTION}"
        return [f"ironbench import bundle LOGS {describe}{study} --id {plan.id}-again"]
    commands = _checkout(manifest)
    chosen = "".join(f" --experiment {name}" for name in plan.experiments)
    variants = dict.fromkeys(v for e in plan.experiments.values() for v in e.variants)
    chosen += "".join(f" --variant {name}" for name in variants)
    make = f"ironbench plan --study studies/{plan.study} --protocol {plan.protocol}{chosen}"
    make += f" --seed {plan.seed} --retries {plan.retries} --results results --id {plan.id}-again"
    # The bench playbook goes on with the unfinished bundle that asks just this.
    asked = {
        "bench_study": f"{{{{ playbook_dir }}}}/../studies/{plan.study}",
        "bench_protocol": plan.protocol,
        "bench_experiments": list(plan.experiments),
        "bench_variants": list(variants),
        "bench_seed": plan.seed,
        "bench_retries": plan.retries,
    }
    return [
        *commands,
        make,
        f"ansible-playbook -i INVENTORY site.yml playbooks/bench.yml -e '{json.dumps(asked)}'",
        f"ironbench report results/{plan.id}-again",
    ]


def _other_playbooks(
    manifest: Manifest,
    plan: Plan,
    query_plans: Sequence[QueryPlanSummary],
    flame_graphs: FlameSummary | None,
) -> list[str]:
    """Return the commands that make a bundle without runs again; its protocol is named after its playbook."""
    playbook = plan.protocol.replace("-", "_")
    asked: dict[str, object] = {
        f"{playbook}_study": f"{{{{ playbook_dir }}}}/../studies/{plan.study}",
        f"{playbook}_seed": plan.seed,
    }
    if query_plans:
        asked[f"{playbook}_executions"] = query_plans[0].record.order.test.executions
    if flame_graphs:
        spec = flame_graphs.plan.spec
        asked |= {
            f"{playbook}_graphs": list(spec.graphs),
            f"{playbook}_variants": list(dict.fromkeys(v for g in spec.graphs.values() for v in g.variants)),
            f"{playbook}_recordings": spec.recordings,
            f"{playbook}_seconds": spec.seconds,
        }
    make = f"ansible-playbook -i INVENTORY site.yml playbooks/{playbook}.yml -e '{json.dumps(asked)}'"
    return [*_checkout(manifest), make]


def _checkout(manifest: Manifest) -> list[str]:
    return [] if manifest.git is None else [f"git checkout {manifest.git.commit}"]
