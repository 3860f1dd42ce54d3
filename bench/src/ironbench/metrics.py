"""The figures of one run by name, as data: what claims, effects and comparisons of bundles speak of."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Literal

from ironbench.cpus import parse_cpu_list
from ironbench.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ironbench.records import Latency, LoadResult, QueryExecution, Run, ServiceCpu

SERVICES = ("app", "postgresql", "pgbouncer", "valkey")
DATABASE = ("postgresql", "pgbouncer")

MIN_ABOVE = 10
"""Samples above a percentile, below which it is hidden: it is then one of the few largest values."""

PERCENTILES = {"p50": 50.0, "p75": 75.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}

Unit = Literal["ms", "%", "rps", "count", "CPU-ms", "CPU-ms/s", "1/s"]

SCHEDULER: tuple[tuple[str, str, Unit, str, str], ...] = (
    ("run_queue_max", "Run queue in the window, max", "count", "runq_sz", "max"),
    ("context_switches", "Context switches in the window, mean", "1/s", "cswch_per_s", "mean"),
    ("new_tasks", "Tasks created in the window, mean", "1/s", "proc_per_s", "mean"),
)
"""Name, title, unit, column and figure of what sar tells of the scheduler of the app's host."""

Source = Literal["load", "background", "host"]
"""What a figure is read off: the run's load, its background, or the counters of the hosts."""


class Metric(Record, frozen=True, kw_only=True):
    """One figure of a run."""

    name: str
    title: str
    unit: Unit
    lower_is_better: bool = True
    source: Source
    latency: bool = False
    percentile: bool = False
    """There only with MIN_ABOVE samples above it."""
    outcome: bool = False
    """It is itself a figure of what became of the requests, so that errors do not stand in the way of a verdict on it."""
    gross: str = ""
    """Of a figure from which idle work is taken off: the metric that holds all work. A verdict needs both."""
    whole_cpus: bool = False
    """Read off CPUs and not off a service: on a packed layout it holds what others did there."""
    figure: Callable[[Run], float | None]
    """None where the run does not have it."""


# --- reading a run -----------------------------------------------------------------------------


def percentile_shown(count: int, percentile: float, censored: int = 0) -> bool:
    """Whether at least MIN_ABOVE of ``count`` samples lie above the percentile, and all the ``censored`` ones do.

    Of a request that was given up nobody knows how long it would have taken, so no percentile among them is known.
    """
    # Per mille in whole numbers: 100 samples have exactly 10 above p90, whatever floats say.
    return count * round(1000 - 10 * percentile) >= max(MIN_ABOVE, censored) * 1000


def latency_figure(latency: Latency, field: str) -> float | None:
    """Return the mean, stdev, max or a percentile in ms; None where it is not known (see ``percentile_shown``).

    With requests that were given up the mean is a lower bound, and neither max nor stdev is known.
    """
    if field in PERCENTILES:
        known = percentile_shown(latency.count, PERCENTILES[field], latency.censored)
    else:
        known = latency.count > 0 and (field == "mean" or not latency.censored)
    return getattr(latency, field) if known else None


def per_request_ms(run: Run) -> dict[str, float]:
    """CPU-ms per expected answer by service; the load generator and the rest of the host are none.

    Empty without such an answer: work that answers nothing has no price, least of all 0.
    """
    if not expected(run):
        return {}
    return {cpu.service: cpu.per_request_ms for cpu in run.cpu if cpu.service in SERVICES}


def expected(run: Run) -> int:
    """Requests of all loads of a run that were answered with the expected status."""
    return run.load.expected + (run.background.expected if run.background else 0)


def sum_cpu_ms(run: Run) -> float | None:
    """CPU-ms per request of all measured services; None where none was measured."""
    figures = per_request_ms(run)
    return math.fsum(figures.values()) if figures else None


def gross_per_request_ms(run: Run) -> dict[str, float]:
    """CPU-ms per expected answer by service with nothing taken off: of the window, the quiet time before, the second after.

    Work that a service does ahead of the window makes the window cheaper, so it is a part of what was paid.
    """
    answers = expected(run)
    if not answers:
        return {}
    return {cpu.service: _gross_ms(run, cpu) / answers for cpu in run.cpu if cpu.service in SERVICES}


def per_second_ms(run: Run) -> dict[str, float]:
    """CPU-ms per second by service in a run with a background, whose CPU-ms per request are of neither load."""
    return _per_second(run, lambda cpu: cpu.net_ms)


def gross_per_second_ms(run: Run) -> dict[str, float]:
    """The same with nothing taken off, as gross_per_request_ms has it."""
    return _per_second(run, lambda cpu: _gross_ms(run, cpu))


def _gross_ms(run: Run, cpu: ServiceCpu) -> float:
    quiet_s = (run.load.idle_until_ns - run.load.idle_from_ns) / 1e9
    return cpu.total_ms + cpu.late_ms + cpu.idle_ms_per_s * quiet_s


def _per_second(run: Run, work_ms: Callable[[ServiceCpu], float]) -> dict[str, float]:
    if run.background is None:
        return {}
    seconds = (run.load.drained_ns - run.load.first_send_ns) / 1e9
    return {cpu.service: work_ms(cpu) / seconds for cpu in run.cpu if cpu.service in SERVICES}


def idle_per_second_ms(run: Run) -> dict[str, float]:
    """CPU-ms per second by service in the quiet time before the window."""
    return {cpu.service: cpu.idle_ms_per_s for cpu in run.cpu if cpu.service in SERVICES}


def errors(load: LoadResult) -> int:
    """Errors of all kinds and answers with an unexpected status."""
    return sum(load.errors.values()) + load.unexpected_status


def app_cpus(run: Run) -> dict[str, str]:
    """Return the app's CPUs by host; where no cgroup was measured (an imported run), the layout's."""
    if not run.cpu:
        return {host: layout.app for host, layout in run.layout.items()}
    return {cpu.host: cpu.cpus for cpu in run.cpu if cpu.service == "app"}


def core(run: Run, cpu: int, field: str) -> float | None:
    """Return one figure of one of the app's CPUs; None where sar has none of it."""
    hosts = app_cpus(run)
    return next((getattr(c, field) for c in run.cores if c.cpu == cpu and c.host in hosts), None)


def scheduler(run: Run, column: str, field: str) -> float | None:
    """Return one figure of the app's host's scheduler; None where sar has none of it."""
    hosts = app_cpus(run)
    columns = [getattr(one, column) for one in run.system if one.host in hosts]
    return next((getattr(one, field) for one in columns if one is not None), None)


def _of_services(
    figures: Callable[[Run], dict[str, float]], names: Sequence[str] = SERVICES
) -> Callable[[Run], float | None]:
    """Return the sum of a figure over those of the services that have it."""

    def figure(run: Run) -> float | None:
        found = [value for name, value in figures(run).items() if name in names]
        return math.fsum(found) if found else None

    return figure


def _cores(field: str) -> Callable[[Run], float | None]:
    def figure(run: Run) -> float | None:
        cpus = {cpu for text in app_cpus(run).values() for cpu in parse_cpu_list(text)}
        found = [core(run, cpu, field) for cpu in sorted(cpus)]
        known = [one for one in found if one is not None]
        return statistics.fmean(known) if known and len(known) == len(found) else None

    return figure


def _scheduler(column: str, field: str) -> Callable[[Run], float | None]:
    return lambda run: scheduler(run, column, field)


def _of(source: Source, figure: Callable[[LoadResult], float | None]) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        load = run.load if source == "load" else run.background
        return None if load is None else figure(load)

    return read


def _latency(field: str) -> Callable[[LoadResult], float | None]:
    return lambda load: latency_figure(load.latency, field)


# --- the metrics -------------------------------------------------------------------------------


PARTS: dict[str, tuple[str, Sequence[str]]] = {
    **{name: (name, (name,)) for name in SERVICES},
    "database": ("postgresql and pgbouncer", DATABASE),
    "sum": ("sum", SERVICES),
}
"""Title and services of what CPU work is told of, by the start of its metrics' names."""


def _net_and_gross(start: str, per: str, end: str, unit: Unit, services: Sequence[str]) -> Iterator[Metric]:
    of_request = unit == "CPU-ms"
    net, gross = (
        (per_request_ms, gross_per_request_ms) if of_request else (per_second_ms, gross_per_second_ms)
    )
    yield Metric(
        name=f"{start}{end}",
        title=f"CPU per {per}",
        unit=unit,
        source="host",
        gross=f"{start}gross_{end}",
        figure=_of_services(net, services),
    )
    yield Metric(
        name=f"{start}gross_{end}",
        title=f"Gross CPU per {per}",
        unit=unit,
        source="host",
        figure=_of_services(gross, services),
    )


def _of_hosts() -> Iterator[Metric]:
    for name, (title, services) in PARTS.items():
        yield from _net_and_gross(f"{name}_", f"request: {title}", "cpu_ms", "CPU-ms", services)
    for name in ("app", "sum"):
        title, services = PARTS[name]
        yield from _net_and_gross(f"{name}_", f"second: {title}", "cpu_ms_per_s", "CPU-ms/s", services)
        yield Metric(
            name=f"{name}_idle_ms_per_s",
            title=f"CPU per second in quiet: {title}",
            unit="CPU-ms/s",
            source="host",
            figure=_of_services(idle_per_second_ms, services),
        )
    for name, title, field in (
        ("core_usr", "App's CPUs, %usr, whole sar record", "usr_whole_record"),
        ("core_busy", "App's CPUs busy in the window", "busy"),
    ):
        yield Metric(name=name, title=title, unit="%", source="host", whole_cpus=True, figure=_cores(field))
    # Of the whole host under either variant, so what others do there is in both; a count, and no time that waits.
    for name, title, unit, column, field in SCHEDULER:
        yield Metric(name=name, title=title, unit=unit, source="host", figure=_scheduler(column, field))
    yield Metric(
        name="blocked_ms",
        title="Event loop blocked per request",
        unit="ms",
        source="host",
        latency=True,
        figure=lambda run: run.loop_blocks.per_request_ms if run.loop_blocks and run.load.expected else None,
    )
    # A rate, and where CPUs are shared as much a figure of the neighbours as a latency is.
    yield Metric(
        name="highest_rps",
        title="Highest rate with P99 under the bound",
        unit="rps",
        lower_is_better=False,
        source="host",
        latency=True,
        figure=lambda run: run.search.highest_rps if run.search else None,
    )


def _of_load(source: Source) -> Iterator[Metric]:
    prefix, where = ("", "") if source == "load" else ("background_", ", background")
    for name, title, field in (
        ("latency_mean", "Mean latency", "mean"),
        ("latency_p50", "P50", "p50"),
        ("latency_p90", "P90", "p90"),
        ("latency_p99", "P99", "p99"),
        ("latency_max", "Max latency", "max"),
        ("latency_stdev", "StdDev", "stdev"),
    ):
        yield Metric(
            name=prefix + name,
            title=title + where,
            unit="ms",
            source=source,
            latency=True,
            percentile=field in PERCENTILES,
            figure=_of(source, _latency(field)),
        )
    yield Metric(
        name=f"{prefix}achieved_rps",
        title=f"Achieved rate{where}",
        unit="rps",
        lower_is_better=False,
        source=source,
        outcome=True,
        figure=_of(source, lambda load: load.expected_rps),
    )
    yield Metric(
        name=f"{prefix}errors",
        title=f"Errors and unexpected statuses{where}",
        unit="count",
        source=source,
        outcome=True,
        figure=_of(source, errors),
    )


METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*_of_hosts(), *_of_load("load"), *_of_load("background"))
}
"""By name, in the order of reports."""


class PlanMetric(Record, frozen=True, kw_only=True):
    """One figure of an execution of a query plan test; those have no runs, and so none of METRICS."""

    title: str
    unit: Literal["ms", "count", ""]
    of: Callable[[QueryExecution], float] | None
    """None: the plan itself, which is no figure."""


PLAN_METRICS: dict[str, PlanMetric] = {
    "execution_ms": PlanMetric(title="Execution time", unit="ms", of=lambda one: one.execution_ms),
    "buffers": PlanMetric(title="Pages touched", unit="count", of=lambda one: one.hit + one.read),
    "index_scan": PlanMetric(title="Index scan", unit="", of=None),
}
