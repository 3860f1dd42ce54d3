"""The section on published series: which run a published figure is, and what all runs say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.report.model import Chart, Line, Point, Section, Table, Words
from ironbench.report.scale import label_width, linear, ticks, x_axis
from ironbench.report.words import change, number
from ironbench.stats import MIN_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ironbench.records import PublishedSeries, Results
    from ironbench.report.model import Mark

WIDTH = 940
RIGHT = 24
TOP = 8
LANE = 26
AXIS = 44
TITLE = "Published series: one run, or all of them?"


def published_sections(results: Results) -> Iterator[Section]:
    """Give the section, if the bundle carries published series."""
    if not results.published:
        return
    shown = [one for one in results.published if one.published_ms is not None]
    single = sum(one.run is not None for one in shown)
    means = sum(one.is_mean for one in shown)
    chart = _chart(results.published)
    few = sum(len(one.runs_ms) < MIN_BLOCKS for one in results.published)
    yield Section(
        title=TITLE,
        paragraphs=[
            f"Of {len(shown)} published means with raw logs, {single} are that of one run, {means} of all runs.",
            f"{few} of {len(results.published)} series have fewer than {MIN_BLOCKS} runs: too few runs for a verdict.",
        ],
        table=_table(results.published),
        notes=[
            "Figures: how many of the published mean, P90, P99, StdDev and Max are that run's.",
            "CV: standard deviation of the runs as a part of their mean.",
        ],
        charts=[chart] if chart else [],
    )


def _table(series: Sequence[PublishedSeries]) -> Table:
    return Table(
        header=[
            "Test",
            "Variant",
            "Logged",
            "Kernel",
            "It is",
            "Verdict",
            "Published, ms",
            "Figures",
            "Mean of all, ms",
            "Published against it",
            "CV",
            "Runs, ms",
        ],
        rows=[
            [
                one.test,
                one.variant,
                one.date,
                one.kernel or "-",
                _which(one),
                "too few runs" if len(one.runs_ms) < MIN_BLOCKS else "-",
                "-" if one.published_ms is None else number(one.published_ms),
                "-" if one.run is None else str(one.equal_figures),
                number(one.mean_ms),
                "-" if one.published_ms is None else change(one.published_ms / one.mean_ms),
                "-" if one.cv is None else f"{100 * one.cv:.1f} %",
                ", ".join(map(number, one.runs_ms)),
            ]
            for one in series
        ],
        words=6,
    )


def _which(one: PublishedSeries) -> str:
    if one.published_ms is None:
        return "in no table"
    if one.run is not None:
        return f"run {one.run} of {len(one.runs_ms)}"
    return "the mean of all" if one.is_mean else "none of these runs"


def _chart(series: Sequence[PublishedSeries]) -> Chart | None:
    """Draw each series' runs against their mean, with what was published."""
    drawn = [one for one in series if one.mean_ms > 0]
    if not drawn:
        return None
    labels = [f"{one.test}, {one.variant}, {one.date}" for one in drawn]
    percents = [
        [100 * (ms / one.mean_ms - 1) for ms in (*one.runs_ms, one.published_ms or one.mean_ms)]
        for one in drawn
    ]
    marked = ticks(min(map(min, percents)), max(map(max, percents)))
    left, right = label_width(labels), WIDTH - RIGHT
    x = linear(marked[0], marked[-1], left, right)
    bottom = TOP + LANE * len(drawn)
    marks: list[Mark] = x_axis([(x(tick), f"{tick:+g} %" if tick else "0") for tick in marked], TOP, bottom)
    marks.append(Line(x1=x(0), x2=x(0), y1=TOP, y2=bottom, css="axis"))
    for lane, (one, label, found) in enumerate(zip(drawn, labels, percents, strict=True)):
        y = TOP + LANE * (lane + 0.5)
        runs = found[:-1]
        marks.append(Words(x=left - 12, y=y + 4, text=label, anchor="end"))
        marks.append(Line(x1=x(min(runs)), x2=x(max(runs)), y1=y, y2=y, css="grid"))
        if one.published_ms is not None:
            marks.append(
                Point(
                    x=x(found[-1]),
                    y=y - 6,
                    shape="down",
                    css="mark s1",
                    label=f"published: {number(one.published_ms)} ms",
                )
            )
        marks += [
            Point(x=x(percent), y=y + 3, shape="circle", css="mark s0", label=f"run {place}: {number(ms)} ms")
            for place, (percent, ms) in enumerate(zip(runs, one.runs_ms, strict=True), 1)
        ]
    return Chart(
        title="Published means and all runs",
        description="One lane a series: a circle for each run, a triangle pointing down for the published mean, both "
        "relative to the mean of all runs of the series.",
        width=WIDTH,
        height=bottom + AXIS,
        marks=marks,
        caption="Circles: runs. Triangle pointing down: what was published. Zero is the mean of all runs of the series; "
        "left is faster.",
        table=_table(drawn),
    )
