"""Figures that the report draws: distributions, what happened within a run, where connections lay.

Pure functions of counted runs and of what is read from their raw outputs.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, TypeVar

from ironbench.cells import as_side
from ironbench.cpus import parse_cpu_list
from ironbench.metrics import METRICS
from ironbench.records import CoreSeries, Curve, Stratum, WithinRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ironbench.collect.sar import CpuSample
    from ironbench.records import CoreLayout, Landing, Plan, Run

D = TypeVar("D")
"""A run's latency distribution, of whatever form ``quantiles`` takes."""
T = TypeVar("T")

SECOND_NS = 1_000_000_000

CORE_RUNS = 20
"""Runs of a side whose sar samples are read for the medians. A longer plan's are spread evenly over it: the
median by second of 20 runs is near enough to that of 1,000, and reading those takes minutes."""

STEPS_PER_DECADE = 20
"""Points of a curve in each factor of ten of 1/(1-p)."""

HEADLINE = "app_cpu_ms"
SECOND_BEST = "latency_mean"
"""The headline metric where no CPU time was measured, as in imported runs."""


def sides_of(plan: Plan, experiment: str, runs: Iterable[Run]) -> list[str]:
    """Return the sides that an experiment has runs of, each variant followed by its second session."""
    there = {run.run.side: run.run for run in runs if run.run.experiment == experiment}
    order = {variant: place for place, variant in enumerate(plan.experiments[experiment].variants)}
    return sorted(there, key=lambda side: (order[there[side].variant], there[side].again))


def shares(count: int) -> list[float]:
    """Return the parts of ``count`` samples that a curve is drawn through, ascending, the last one 1.

    Evenly spaced in log(1/(1-p)), which is the curve's axis, with the quarters.
    """
    steps = math.floor(STEPS_PER_DECADE * math.log10(max(1, count)))
    drawn = {round(1 - 10 ** (-step / STEPS_PER_DECADE), 9) for step in range(1, steps + 1)}
    return sorted(drawn | {0.25, 0.5, 0.75, 1.0})


def make_curves(
    plan: Plan,
    counted: Sequence[Run],
    distributions: dict[str, D],
    quantiles: Callable[[list[D], Sequence[float]], list[float]],
) -> list[Curve]:
    """Return the latency distribution of each side.

    ``quantiles`` merges distributions by count and returns the value, in milliseconds, that each of the
    given parts of the samples does not exceed. A curve ends where the requests that were given up begin.
    """
    curves = []
    measured = [run for run in counted if run.run.number]
    for (experiment, side), runs in _by_side(plan, measured).items():
        count = sum(run.load.latency.count for run in runs)
        given_up = sum(run.load.latency.censored for run in runs)
        parts = [share for share in shares(count) if round(count * (1 - share), 6) >= given_up]
        if not count or not parts:
            continue
        ms = quantiles([distributions[run.run.key] for run in runs], parts)
        curves.append(Curve(experiment=experiment, side=side, count=count, shares=parts, ms=ms))
    return curves


def make_within(
    plan: Plan, counted: Sequence[Run], read_cores: Callable[[Run], dict[str, list[CpuSample]]]
) -> list[WithinRun]:
    """Return what happened within the window of each side's runs.

    ``read_cores`` reads sar's samples of a run by host; hosts without any are left out. Sides of which
    neither latency by second nor samples are known are left out.
    """
    made = []
    measured = [run for run in counted if run.run.number]
    for (experiment, side), runs in _by_side(plan, measured).items():
        shown = _median_run(runs)
        if shown is None:
            continue
        latency = shown.load.seconds or []
        within = WithinRun(
            experiment=experiment,
            side=side,
            shown=shown.run.key,
            runs=len(runs),
            latency=latency,
            median_mean_ms=_medians(
                [[second.mean if second.count else None for second in run.load.seconds or []] for run in runs]
            ),
            cores=_cores(shown, chosen := evenly(runs, CORE_RUNS), read_cores),
            core_runs=len(chosen),
        )
        if within.latency or within.cores:
            made.append(within)
    return made


def placement(landing: Landing | None) -> str:
    """Connections by worker, the most first, as ``3+1``, and what they became; empty where it is not known."""
    if landing is None or not landing.workers:
        return ""
    before, after = (_laid(workers) for workers in (landing.workers, landing.workers_after))
    return before if after in ("", before) else f"{before} to {after}"


def make_strata(plan: Plan, counted: Sequence[Run]) -> list[Stratum]:
    """Return the counted runs by how their connections lay on the app's workers, where that is known."""
    made = []
    measured = [run for run in counted if run.run.number]
    for (experiment, side), runs in _by_side(plan, measured).items():
        groups: dict[str, list[Run]] = {}
        for run in runs:
            laid = placement(run.load.landing)
            if laid:
                groups.setdefault(laid, []).append(run)
        made += [
            Stratum(
                experiment=experiment,
                side=side,
                declared=as_side(plan.experiments[experiment], runs[0].run.variant).load.placement,
                placement=laid,
                runs=len(alike),
                requests=sum(run.load.latency.count for run in alike),
                mean_ms=_pooled_mean(alike),
                app_cpu_ms=_median(METRICS[HEADLINE].figure(run) for run in alike),
            )
            for laid, alike in sorted(groups.items())
        ]
    return made


# --- sides and runs ----------------------------------------------------------------------------


def _by_side(plan: Plan, counted: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Return the runs of each side in the plan's order."""
    found = {(name, side): [] for name in plan.experiments for side in sides_of(plan, name, counted)}
    for run in counted:
        found[run.run.experiment, run.run.side].append(run)
    return found


def _median_run(runs: Sequence[Run]) -> Run | None:
    """Return the run whose headline metric is the median one, the lower of two."""
    for metric in (HEADLINE, SECOND_BEST):
        known = [
            (figure, run.run.position, run)
            for run in runs
            if (figure := METRICS[metric].figure(run)) is not None
        ]
        if known:
            return sorted(known, key=lambda one: one[:2])[(len(known) - 1) // 2][2]
    return None


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return ``most`` of the items, evenly spread from first to last, or all if they are fewer."""
    if len(items) <= most:
        return list(items)
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]


def _laid(workers: dict[str, int]) -> str:
    return "+".join(str(count) for count in sorted(workers.values(), reverse=True))


def _pooled_mean(runs: Sequence[Run]) -> float:
    requests = sum(run.load.latency.count for run in runs)
    total = math.fsum(run.load.latency.count * run.load.latency.mean for run in runs)
    return total / requests if requests else 0.0


# --- seconds -----------------------------------------------------------------------------------


def _median(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return statistics.median(known) if known else None


def _medians(series: list[list[float | None]]) -> list[float | None]:
    """Return the median by place; series that end earlier have nothing there."""
    length = max(map(len, series), default=0)
    return [_median(one[place] for one in series if place < len(one)) for place in range(length)]


def _cores(
    shown: Run, chosen: list[Run], read_cores: Callable[[Run], dict[str, list[CpuSample]]]
) -> list[CoreSeries]:
    own = _busy(shown, read_cores(shown))
    others = [_busy(run, read_cores(run)) for run in chosen]
    return [
        CoreSeries(
            host=host,
            cpu=cpu,
            owners=_owners(shown.layout.get(host), cpu),
            busy=busy,
            median=_medians([series[host, cpu] for series in others if (host, cpu) in series]),
        )
        for (host, cpu), busy in own.items()
    ]


def _busy(run: Run, samples: dict[str, list[CpuSample]]) -> dict[tuple[str, int], list[float | None]]:
    """Return per cent busy by host and CPU in each whole second of the window.

    A window starts 50 ms after a whole second, and sar's samples lie on whole seconds.
    """
    first_ns = run.load.idle_until_ns // SECOND_NS * SECOND_NS
    length = math.floor((run.load.window_end_ns - run.load.idle_until_ns) / SECOND_NS)
    found: dict[tuple[str, int], list[float | None]] = {}
    for host, of_host in sorted(samples.items()):
        for sample in of_host:
            place = (sample.from_ns - first_ns) // SECOND_NS
            if 0 <= place < length and sample.until_ns - sample.from_ns == SECOND_NS:
                found.setdefault((host, sample.cpu), [None] * length)[place] = sample.use.busy
    return dict(sorted(found.items()))


def _owners(layout: CoreLayout | None, cpu: int) -> list[str]:
    if layout is None:
        return []
    names = ("app", "database", "cache", "load_generator", "housekeeping")
    return [name.replace("_", " ") for name in names if cpu in parse_cpu_list(getattr(layout, name))]
