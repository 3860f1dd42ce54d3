"""Within a run: small charts side by side, one column a side of the experiment, time from left to right."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from ironbench.records import Second
from ironbench.report.model import Box, Chart, Line, Table, Trace, Words
from ironbench.report.scale import (
    COLOURS,
    coordinate,
    label_width,
    linear,
    log_ticks,
    logarithmic,
    y_axis,
)
from ironbench.report.words import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ironbench.records import CoreSeries, WithinRun
    from ironbench.report.model import Mark
    from ironbench.report.scale import Scale

WIDTH = 940
COLUMNS = 5
"""Sides in one chart; more get another chart."""
GAP = 16
RIGHT = 12
HEAD = 26
LATENCY_LEFT = 64
LATENCY_HEIGHT = 130
CORE_HEIGHT = 34
CORE_GAP = 8
AXIS = 42
MOST_CORES = 16
NOTHING = Second(count=0, mean=0, p50=0, p99=0, max=0)


def second_charts(experiment: str, sides: Sequence[str], within: Sequence[WithinRun]) -> Iterator[Chart]:
    """Draw latency and then the CPUs of one experiment, which has ``sides``, by second of the window."""
    numbered = [(sides.index(one.side) % COLOURS, one) for one in within]
    for draw in (_latency, _cores):
        for first in range(0, len(numbered), COLUMNS):
            chart = draw(experiment, numbered[first : first + COLUMNS])
            if chart is not None:
                yield chart


# --- latency -----------------------------------------------------------------------------------


def _latency(experiment: str, columns: Sequence[tuple[int, WithinRun]]) -> Chart | None:
    shown = [within for _, within in columns]
    figures = [second.mean for one in shown for second in one.latency if second.count]
    figures += [second.max for one in shown for second in one.latency if second.count]
    figures += [median for one in shown for median in one.median_mean_ms if median is not None]
    figures = [figure for figure in figures if figure > 0]
    if not figures:
        return None
    length = max(max(len(one.latency), len(one.median_mean_ms)) for one in shown)
    marked = log_ticks(min(figures), max(figures))
    top, bottom = HEAD, HEAD + LATENCY_HEIGHT
    y = logarithmic(marked[0], marked[-1], bottom, top)
    marks: list[Mark] = y_axis([(y(tick), f"{tick:g}") for tick in marked], LATENCY_LEFT, WIDTH - RIGHT)
    marks.append(Words(x=0, y=16, text="latency, ms"))
    for (place, one), (left, right) in zip(columns, _columns(LATENCY_LEFT, len(columns)), strict=True):
        x = linear(0, length, left, right)
        marks += _frame(one.side, left, right, top, bottom)
        means = [second.mean if second.count else None for second in one.latency]
        largest = [second.max if second.count else None for second in one.latency]
        marks += _traces(largest, x, y, f"trace largest s{place}")
        marks += _traces(means, x, y, f"trace plain s{place}")
        marks += _traces(one.median_mean_ms, x, y, "trace overall")
        marks += _seconds_axis(x, length, bottom)
    return Chart(
        title=f"{experiment}: latency within a run",
        description=f"One small chart for each of {', '.join(one.side for one in shown)}: mean and largest latency "
        "of the requests due in each second of the window.",
        width=WIDTH,
        height=bottom + AXIS,
        marks=marks,
        caption="Solid: mean of each second, in the run whose headline metric is the side's median. Thin, above it: "
        "the largest of that second. Dotted: median over all counted runs of a second's mean. The same logarithmic "
        f"axis for all; seconds of the window from left to right. Runs: {_shown_runs(shown)}.",
        table=_latency_table(shown, length),
    )


def _latency_table(shown: Sequence[WithinRun], length: int) -> Table:
    rows = []
    for place in range(length):
        row = [str(place + 1)]
        for one in shown:
            second = one.latency[place] if place < len(one.latency) else NOTHING
            median = one.median_mean_ms[place] if place < len(one.median_mean_ms) else None
            row += [
                number(second.mean) if second.count else "-",
                number(second.max) if second.count else "-",
                "-" if median is None else number(median),
            ]
        rows.append(row)
    names = ("mean", "max", "median of means")
    return Table(
        header=["Second", *(f"{one.side}, {name}, ms" for one in shown for name in names)], rows=rows
    )


# --- CPUs --------------------------------------------------------------------------------------


def _cores(experiment: str, columns: Sequence[tuple[int, WithinRun]]) -> Chart | None:
    shown = [within for _, within in columns]
    found = {(core.host, core.cpu): core for one in shown for core in one.cores if core.owners}
    cpus = sorted(found)[:MOST_CORES]
    if not cpus:
        return None
    hosts = {host for host, _ in cpus}
    labels = [_core_label(found[cpu], several=len(hosts) > 1) for cpu in cpus]
    start = label_width(labels)
    length = max(len(core.busy) for core in found.values())
    marks: list[Mark] = []
    bottom = HEAD + len(cpus) * (CORE_HEIGHT + CORE_GAP)
    for row, label in enumerate(labels):
        y = HEAD + row * (CORE_HEIGHT + CORE_GAP) + CORE_HEIGHT / 2 + 4
        marks.append(Words(x=start - 12, y=y, text=label, anchor="end"))
    for (place, one), (left, right) in zip(columns, _columns(start, len(columns)), strict=True):
        x = linear(0, length, left, right)
        of_cpu = {(core.host, core.cpu): core for core in one.cores}
        marks.append(
            Words(x=coordinate((left + right) / 2), y=16, text=one.side, anchor="middle", css="strong")
        )
        for row, cpu in enumerate(cpus):
            top = HEAD + row * (CORE_HEIGHT + CORE_GAP)
            y = linear(0, 100, top + CORE_HEIGHT, top)
            marks.append(Box(x=left, y=top, width=coordinate(right - left), height=CORE_HEIGHT, css="frame"))
            if cpu in of_cpu:
                marks += _core(of_cpu[cpu], x, y, f"area s{place}")
        marks += _seconds_axis(x, length, bottom - CORE_GAP)
    beyond = f" {len(found) - len(cpus)} more CPUs are in results.json." if len(found) > len(cpus) else ""
    return Chart(
        title=f"{experiment}: CPUs within a run",
        description=f"One column for each of {', '.join(one.side for one in shown)}, one row a CPU: how busy it was in "
        "each second of the window, from 0 to 100 per cent.",
        width=WIDTH,
        height=bottom + AXIS - CORE_GAP,
        marks=marks,
        caption="Filled: per cent busy in each second by sar, from 0 at the bottom of a row to 100 at its top, in the "
        "same runs as above. Dotted: median over "
        f"{max(one.core_runs for one in shown)} runs of the side. sar's seconds begin 50 ms before the window's.{beyond}",
        table=_core_table(shown, cpus, length, several=len(hosts) > 1),
    )


def _core(core: CoreSeries, x: Scale, y: Scale, css: str) -> Iterator[Mark]:
    for first, run in _unbroken(core.busy):
        outline = [(x(first), y(0))]
        for place, busy in enumerate(run, first):
            outline += [(x(place), y(min(busy, 100))), (x(place + 1), y(min(busy, 100)))]
        yield Trace(points=[*outline, (x(first + len(run)), y(0))], css=css, closed=True)
    yield from _traces([None if one is None else min(one, 100) for one in core.median], x, y, "trace overall")


def _core_table(
    shown: Sequence[WithinRun], cpus: list[tuple[str, int]], length: int, *, several: bool
) -> Table:
    columns = [(one.side, core) for one in shown for core in one.cores if (core.host, core.cpu) in cpus]
    header = [
        "Second",
        *(f"{side}, {_core_label(core, several=several, owners=False)}, %" for side, core in columns),
    ]
    rows = [
        [
            str(place + 1),
            *(
                "-" if busy is None else f"{busy:.0f}"
                for _, core in columns
                for busy in core.busy[place : place + 1]
            ),
        ]
        for place in range(length)
    ]
    mean = [
        statistics.fmean(known) if (known := [b for b in core.busy if b is not None]) else None
        for _, core in columns
    ]
    rows.append(["Mean", *("-" if one is None else f"{one:.0f}" for one in mean)])
    return Table(header=header, rows=rows)


def _core_label(core: CoreSeries, *, several: bool, owners: bool = True) -> str:
    name = f"{core.host} CPU {core.cpu}" if several else f"CPU {core.cpu}"
    if not owners:
        return name
    return f"{name} {core.owners[0]}" if len(core.owners) == 1 else f"{name} shared"


# --- parts -------------------------------------------------------------------------------------


def _columns(left: float, count: int) -> list[tuple[float, float]]:
    """Return the left and right end of each of ``count`` columns."""
    width = (WIDTH - RIGHT - left - GAP * (count - 1)) / count
    return [
        (coordinate(left + place * (width + GAP)), coordinate(left + place * (width + GAP) + width))
        for place in range(count)
    ]


def _frame(name: str, left: float, right: float, top: float, bottom: float) -> list[Mark]:
    return [
        Words(x=coordinate((left + right) / 2), y=16, text=name, anchor="middle", css="strong"),
        Box(x=left, y=top, width=coordinate(right - left), height=bottom - top, css="frame"),
    ]


def _seconds_axis(x: Scale, length: int, bottom: float) -> Iterator[Mark]:
    step = next((step for step in (1, 2, 5, 10, 20, 30, 60) if length / step <= 4), math.ceil(length / 4))
    for second in range(0, length + 1, step):
        yield Line(x1=x(second), x2=x(second), y1=bottom, y2=bottom + 4, css="axis")
        text = f"{second} s" if second == 0 else str(second)
        anchor = "start" if second == 0 else "end" if second == length else "middle"
        yield Words(x=x(second), y=bottom + 18, text=text, anchor=anchor)


def _traces(series: Sequence[float | None], x: Scale, y: Scale, css: str) -> Iterator[Mark]:
    """Draw a line through the middle of each second, broken where there is no figure."""
    for first, run in _unbroken(series):
        points = [(x(place + 0.5), y(figure)) for place, figure in enumerate(run, first)]
        if len(points) == 1:  # a single second is a short stroke
            points = [(x(first), points[0][1]), (x(first + 1), points[0][1])]
        yield Trace(points=points, css=css)


def _unbroken(series: Sequence[float | None]) -> Iterator[tuple[int, list[float]]]:
    """Give each stretch without a gap, with its first place."""
    stretch: list[float] = []
    for place, figure in enumerate([*series, None]):
        if figure is not None:
            stretch.append(figure)
        elif stretch:
            yield place - len(stretch), stretch
            stretch = []


def _shown_runs(shown: Sequence[WithinRun]) -> str:
    return ", ".join(one.shown for one in shown)
