"""What lint looks for: each rule is a pure function from tables to what it found there.

Rounding is taken into account throughout: a figure may be anything that rounds to what was printed.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from ironbench.judge import SATURATION
from ironbench.lint.names import is_summary
from ironbench.lint.tables import Metric
from ironbench.metrics import MIN_ABOVE
from ironbench.records import Record
from ironbench.stats import MIN_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ironbench.lint.tables import Figure, Series, Table

BUCKET = 0.001
"""Widest bucket of an HdrHistogram with 3 significant digits (wrk2's, ours) as a part of the value in it:
hdrhistogram.github.io/HdrHistogram. A percentile is printed as the upper end of its bucket and wrk2's Max as
the lower one, so the first may exceed the second by this much."""
CHANCE = 0.01
"""Below this probability, equal digits are no coincidence."""
SAME_DIGITS = 8
"""Significant digits that two rows must share, over all their figures, to be one and the same run."""

Severity = Literal["error", "warning"]


class Flaw(Record, frozen=True, kw_only=True):
    """What a rule found. ``what`` and ``why`` are one sentence, in two halves."""

    file: str
    table: str
    row: int
    """Line of a CSV file, item of a JSON list, from 1; 0: the table as a whole."""
    column: str
    rule: str
    severity: Severity
    what: str
    why: str


class Found(Record, frozen=True, kw_only=True):
    """Where a rule fired."""

    table: Table
    what: str
    figure: Figure | None = None
    """None: the table as a whole."""


class Rule(Record, frozen=True, kw_only=True):
    name: str
    severity: Severity
    why: str
    check: Callable[[Sequence[Table]], Iterable[Found]]


def lint(tables: Sequence[Table]) -> list[Flaw]:
    """Hold tables against all rules; runs and what was published of them may lie in different tables."""
    flaws = [
        Flaw(
            file=found.table.file,
            table=found.table.name,
            row=found.figure.row if found.figure else 0,
            column=found.figure.column if found.figure else "",
            rule=rule.name,
            severity=rule.severity,
            what=found.what,
            why=rule.why,
        )
        for rule in RULES
        for found in rule.check(tables)
    ]
    order = {file: place for place, file in enumerate(dict.fromkeys(table.file for table in tables))}
    return sorted(flaws, key=lambda flaw: (order[flaw.file], flaw.table, flaw.row, flaw.severity))


# --- within one row ----------------------------------------------------------------------------


def percentile_above_max(tables: Sequence[Table]) -> Iterator[Found]:
    for table, series in _all(tables):
        for metric, figure in _percentiles(series):
            largest = series.figures.get(_of(metric, "max"))
            if largest is not None and _above(figure, largest):
                what = f"{_name(metric)} {figure.text} of {_who(series)} is above its max {largest.text}"
                yield Found(table=table, figure=figure, what=what)


def not_monotonic(tables: Sequence[Table]) -> Iterator[Found]:
    for table, series in _all(tables):
        for family in {metric.family: None for metric in series.figures}:
            found = [(metric, figure) for metric, figure in _percentiles(series) if metric.family == family]
            for (lower, below), (upper, above) in pairwise(found):
                if _above(below, above):
                    what = (
                        f"{_name(lower)} {below.text} of {_who(series)} is above {_name(upper)} {above.text}"
                    )
                    yield Found(table=table, figure=below, what=what)


def mean_above_max(tables: Sequence[Table]) -> Iterator[Found]:
    for table, series in _all(tables):
        for metric, figure in series.figures.items():
            largest = series.figures.get(_of(metric, "max"))
            if metric.stat == "mean" and largest is not None and _above(figure, largest):
                what = f"mean {figure.text} of {_who(series)} is above its max {largest.text}"
                yield Found(table=table, figure=figure, what=what)


def stdev_zero(tables: Sequence[Table]) -> Iterator[Found]:
    for table, series in _all(tables):
        for metric, figure in series.figures.items():
            if metric.stat == "stdev" and figure.value == 0 and _count(series, metric.family) != 1:
                yield Found(table=table, figure=figure, what=f"StdDev of {_who(series)} is {figure.text}")


def few_samples(tables: Sequence[Table]) -> Iterator[Found]:
    for table, series in _all(tables):
        for metric, figure in _percentiles(series):
            count = _count(series, metric.family)
            if count is None or metric.percentile is None:
                continue
            above = count * (100 - metric.percentile) / 100
            if above < MIN_ABOVE - 1e-9:
                what = f"{_name(metric)} of {_who(series)} has {above:.3g} of {count:.0f} samples above it"
                yield Found(table=table, figure=figure, what=what)


def unsaid_saturation(tables: Sequence[Table]) -> Iterator[Found]:
    for table, series in _all(tables):
        offered, achieved = (series.figures.get(Metric(stat=stat)) for stat in ("rate", "achieved"))
        if offered is None or achieved is None or _SATURATION.search(f"{table.text} {series.text}"):
            continue
        if achieved.value + achieved.half + _unread(series) < SATURATION.limit * offered.value:
            what = f"{_who(series)} was offered {offered.text} and achieved {achieved.text}, without a word on it"
            yield Found(table=table, figure=achieved, what=what)


_SATURATION = re.compile(r"satur|overload|backlog|unsent|capacity|cannot keep up|limit")


def _unread(series: Series) -> float:
    """Requests per second that may have been under way when a generator such as wrk2 stopped."""
    connections, duration = (series.figures.get(Metric(stat=stat)) for stat in ("connections", "duration"))
    return connections.value / (duration.value / 1000) if connections and duration and duration.value else 0.0


# --- between the rows of a table ---------------------------------------------------------------


def averaged_percentiles(tables: Sequence[Table]) -> Iterator[Found]:
    for table in tables:
        for at, series in enumerate(table.series):
            for others in _neighbours(table.series, at):
                equal = _averaged(series, others)
                if equal:
                    figure = equal[0][1]
                    names = " and ".join(_name(one) for one, _ in equal)
                    what = f"{names} of {_who(series)} is the mean of {len(others)} other rows', as {figure.text}"
                    yield Found(table=table, figure=figure, what=what)
                    break


def _neighbours(series: Sequence[Series], at: int) -> Iterator[Sequence[Series]]:
    """Rows that a row may be the average of: those just before it, those just after it, all others."""
    yield from (series[at - size : at] for size in range(at, 1, -1))
    yield from (series[at + 1 : at + 1 + size] for size in range(len(series) - at - 1, 1, -1))
    if 0 < at < len(series) - 1:
        yield [*series[:at], *series[at + 1 :]]


def _averaged(series: Series, others: Sequence[Series]) -> list[tuple[Metric, Figure]]:
    """Return the row's percentiles if all are the means of the others' to the digit, and not by chance."""
    found, chance = [], 1.0
    for metric, figure in _percentiles(series):
        parts = [one.figures[metric] for one in others if metric in one.figures]
        if len(parts) != len(others):
            continue
        mean = math.fsum(part.value for part in parts) / len(parts)
        half = figure.half + math.fsum(part.half for part in parts) / len(parts)
        spread = max(part.value for part in parts) - min(part.value for part in parts)
        if abs(mean - figure.value) > half * 1.001 + 1e-12:
            return []
        if spread > 0:
            found.append((metric, figure))
            chance *= min(1.0, 2 * half / spread)
    said = is_summary(series.name) and not series.run
    return found if found and chance <= (10 * CHANCE if said else CHANCE / len(others)) else []


def points_as_percent(tables: Sequence[Table]) -> Iterator[Found]:
    for table in tables:
        for delta in table.deltas:
            for figure in delta.figures:
                if figure.unit != "%" or not all(
                    first.unit == second.unit == "%" for first, second in delta.pairs
                ):
                    continue
                difference = any(_is_difference(figure, *pair) for pair in delta.pairs)
                if difference and not any(_is_relative(figure, *pair) for pair in delta.pairs):
                    first, second = next(pair for pair in delta.pairs if _is_difference(figure, *pair))
                    relative = (
                        f"{100 * (second.value / first.value - 1):+.1f} %" if first.value else "no per cent"
                    )
                    what = (
                        f"{delta.metric}: from {first.text} to {second.text}, {figure.text} are points, and in per "
                        f"cent it is {relative}"
                    )
                    yield Found(table=table, figure=figure, what=what)


def delta_does_not_follow(tables: Sequence[Table]) -> Iterator[Found]:
    for table in tables:
        for delta in table.deltas:
            for figure in delta.figures:
                if not any(_follows(figure, *pair) for pair in delta.pairs):
                    first, second = delta.pairs[0]
                    what = (
                        f"{delta.metric}: {figure.text} does not follow from {first.text} and {second.text}"
                    )
                    yield Found(table=table, figure=figure, what=what)


def _follows(figure: Figure, first: Figure, second: Figure) -> bool:
    return (
        _is_difference(figure, first, second)
        or _is_relative(figure, first, second)
        or _is_ratio(figure, first, second)
        or _is_ratio(figure, second, first)
    )


def _is_difference(figure: Figure, first: Figure, second: Figure) -> bool:
    """Whether it is second - first, or the same without its sign, as columns of improvements have it."""
    room = figure.half + first.half + second.half
    return _close(figure.value, second.value - first.value, room)


def _is_relative(figure: Figure, first: Figure, second: Figure) -> bool:
    """Whether it is the change in per cent of the first."""
    if first.value <= first.half:
        return True  # nothing can be said of a share of what may be nothing
    change = 100 * (second.value / first.value - 1)
    room = 100 * (second.half + abs(second.value / first.value) * first.half) / (first.value - first.half)
    return _close(figure.value, change, room + figure.half)


def _is_ratio(figure: Figure, first: Figure, second: Figure) -> bool:
    if first.value <= first.half:
        return False
    factor = second.value / first.value
    room = (second.half + abs(factor) * first.half) / (first.value - first.half)
    return abs(figure.value - factor) <= room + figure.half


def _close(value: float, wanted: float, room: float) -> bool:
    return min(abs(value - wanted), abs(value + wanted)) <= room * 1.001 + 1e-12


def few_runs(tables: Sequence[Table]) -> Iterator[Found]:
    """Compared are the rows of a table, or the two sides of a delta."""
    for table in tables:
        sides = [series for series in table.series if not series.run]
        told = [series.figures[_RUNS] for series in sides if _RUNS in series.figures]
        fewest = min(told, key=lambda figure: figure.value, default=None)
        if fewest is None:
            groups = [sum(one.run and one.group == name for one in table.series) for name in _groups(table)]
            if len(groups) > 1 and min(groups) < MIN_BLOCKS:
                yield Found(table=table, what=f"series of {_runs(min(groups))} are compared")
            elif table.deltas and not groups:
                yield Found(
                    table=table, what="sides are compared, and the table does not say how many runs each had"
                )
        elif fewest.value < MIN_BLOCKS and (table.deltas or len(sides) > 1):
            yield Found(table=table, figure=fewest, what=f"sides of {_runs(fewest.value)} are compared")


_RUNS = Metric(stat="runs")


def _groups(table: Table) -> list[str]:
    return list(dict.fromkeys(series.group for series in table.series if series.run))


# --- between tables ----------------------------------------------------------------------------


def one_of_several(tables: Sequence[Table]) -> Iterator[Found]:
    groups: dict[tuple[str, str, str], list[Series]] = {}
    for table, series in _all(tables):
        if series.run:
            groups.setdefault((table.file, table.name, series.group), []).append(series)
    for table, series in _all(tables):
        if series.run:
            continue
        for runs in groups.values():
            same = [run for run in runs if _is_same_run(series, run)]
            if len(same) == 1:
                figure = next(series.figures[metric] for metric in _compared(series, same[0]))
                what = f"the figures of {_who(series)} are those of one run of {len(runs)}, {_who(same[0])}"
                yield Found(table=table, figure=figure, what=what)


def _is_same_run(published: Series, run: Series) -> bool:
    return sum(_compared(published, run).values()) >= SAME_DIGITS and len(_compared(published, run)) > 1


def _compared(published: Series, run: Series) -> dict[Metric, int]:
    """Return how many digits two rows share, by metric; empty unless their means agree."""
    shared = {}
    for metric, figure in published.figures.items():
        other = run.figures.get(metric)
        known = metric.stat in ("mean", "stdev", "max") or metric.percentile is not None
        if metric.family or other is None or not known:
            continue
        if abs(figure.value - other.value) <= max(figure.half, other.half) * 1.001 + 1e-12:
            shared[metric] = min(figure.digits, other.digits)
    return shared if Metric(stat="mean") in shared else {}


# --- all of them -------------------------------------------------------------------------------

RULES = (
    Rule(
        name="percentile-above-max",
        severity="error",
        why="which no sample can do, so the two are not of the same run, or one is mistyped",
        check=percentile_above_max,
    ),
    Rule(
        name="not-monotonic",
        severity="error",
        why="and a higher percentile is never lower, so the two are not of the same run, or one is mistyped",
        check=not_monotonic,
    ),
    Rule(
        name="mean-above-max",
        severity="error",
        why="which no set of samples has, so the two are not of the same run, or one is mistyped",
        check=mean_above_max,
    ),
    Rule(
        name="stdev-zero",
        severity="warning",
        why="which measured latencies never have: it was not measured, or it was rounded away",
        check=stdev_zero,
    ),
    Rule(
        name="few-samples",
        severity="warning",
        why=f"and with fewer than {MIN_ABOVE} it is one of the few largest values, which the next run changes",
        check=few_samples,
    ),
    Rule(
        name="averaged-percentile",
        severity="error",
        why="and a mean of percentiles is the percentile of nothing: histograms merge by count",
        check=averaged_percentiles,
    ),
    Rule(
        name="points-as-percent",
        severity="error",
        why="and a reader takes points for per cent of the first figure",
        check=points_as_percent,
    ),
    Rule(
        name="delta-does-not-follow",
        severity="error",
        why="so one of the three is wrong",
        check=delta_does_not_follow,
    ),
    Rule(
        name="few-runs",
        severity="warning",
        why=f"and fewer than {MIN_BLOCKS} pairs of runs all point one way by chance in more than 5 % of cases",
        check=few_runs,
    ),
    Rule(
        name="one-of-several",
        severity="error",
        why="and what the others say is hidden",
        check=one_of_several,
    ),
    Rule(
        name="unsaid-saturation",
        severity="warning",
        why="and then latency is the length of the test's queue and no figure of the service",
        check=unsaid_saturation,
    ),
)


# --- helpers -----------------------------------------------------------------------------------


def _all(tables: Sequence[Table]) -> Iterator[tuple[Table, Series]]:
    return ((table, series) for table in tables for series in table.series)


def _percentiles(series: Series) -> list[tuple[Metric, Figure]]:
    """Return the row's percentiles, ascending."""
    found = [(metric, figure) for metric, figure in series.figures.items() if metric.percentile is not None]
    return sorted(found, key=lambda one: one[0].percentile or 0.0)


def _of(metric: Metric, stat: str) -> Metric:
    return Metric(stat=stat, family=metric.family)


def _above(figure: Figure, limit: Figure) -> bool:
    """Whether it is above by more than a bucket, however the two were rounded."""
    return figure.value - figure.half > (limit.value + limit.half) * (1 + BUCKET)


def _count(series: Series, family: str) -> float | None:
    """Samples of a row: told, or what its rate makes in its duration; None where neither is there."""
    for one in (family, ""):
        told = series.figures.get(Metric(stat="count", family=one))
        if told is not None:
            return told.value
    rate = series.figures.get(Metric(stat="achieved")) or series.figures.get(Metric(stat="rate"))
    duration = series.figures.get(Metric(stat="duration"))
    return rate.value * duration.value / 1000 if rate and duration else None


def _name(metric: Metric) -> str:
    stat = metric.stat.upper() if metric.stat.startswith("p") else metric.stat
    return f"{metric.family} {stat}".strip()


def _runs(number: float) -> str:
    return "1 run" if number == 1 else f"{number:.0f} runs"


def _who(series: Series) -> str:
    return series.name or "this row"
