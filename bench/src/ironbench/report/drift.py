"""Runs in the order of measurement, each against the median of its side: what drifts with time shows."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from ironbench.records import Record
from ironbench.report.model import Box, Chart, Line, Point, Table, Words
from ironbench.report.scale import (
    COLOURS,
    SIDE_SHAPES,
    coordinate,
    linear,
    text_width,
    ticks,
    x_axis,
)
from ironbench.report.words import change, metric_title, number
from ironbench.within import HEADLINE, SECOND_BEST, evenly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import RunFigures
    from ironbench.report.model import Mark
    from ironbench.report.scale import Scale

WIDTH = 940
LEFT = 76
RIGHT = 16
PANEL = 130
HEAD = 48
AXIS = 42
MOST = 400
"""Runs of one experiment that are drawn."""
THIRD = 3
FEWEST = 6
"""Runs of a side for which its first third is compared with its last."""


class Deviation(Record, frozen=True, kw_only=True):
    """One run's headline metric over the median of its side."""

    run: RunFigures
    figure: float
    factor: float


def deviations(runs: Sequence[RunFigures]) -> tuple[str, list[Deviation]]:
    """Return the headline metric of one experiment, and every run that has it against its side's median.

    The median is that of the runs that count; a side without any is left out, as is one whose median is
    not positive.
    """
    measured = [run for run in runs if run.number]
    metric = HEADLINE if any(HEADLINE in run.figures for run in measured) else SECOND_BEST
    by_side: dict[str, list[float]] = {}
    for run in measured:
        if run.counted and metric in run.figures:
            by_side.setdefault(run.side, []).append(run.figures[metric])
    medians = {
        side: median for side, figures in by_side.items() if (median := statistics.median(figures)) > 0
    }
    return metric, [
        Deviation(run=run, figure=run.figures[metric], factor=run.figures[metric] / medians[run.side])
        for run in measured
        if metric in run.figures and run.side in medians
    ]


def drift_chart(experiments: dict[str, list[str]], runs: Sequence[RunFigures]) -> Chart | None:
    """Draw one panel an experiment (given with its sides) over one axis of order; None without a figure."""
    panels = []
    for name, sides in experiments.items():
        metric, found = deviations([run for run in runs if run.experiment == name])
        if found:
            panels.append((name, sides, metric, found))
    if not panels:
        return None
    last = max(one.run.position for _, _, _, found in panels for one in found)
    x = linear(0, last + 1, LEFT, WIDTH - RIGHT)
    marks: list[Mark] = []
    drawn: list[Deviation] = []
    y = 0.0
    for name, sides, metric, found in panels:
        chosen = evenly(found, MOST)
        drawn += chosen
        marks += _panel(f"{name}: {metric_title(metric, unit=False)}", sides, chosen, x, y)
        y += HEAD + PANEL
    steps = [tick for tick in ticks(0, last) if tick <= last + 1 and tick == int(tick)]
    marks += x_axis([(x(tick), f"{tick:g}") for tick in steps], y - 5, y)
    marks.append(Words(x=WIDTH - RIGHT, y=y + 36, text="position in the plan", anchor="end"))
    total = sum(len(found) for _, _, _, found in panels)
    fewer = f" {len(drawn)} of {total} runs are drawn." if len(drawn) < total else ""
    return Chart(
        title="Order of runs and drift",
        description="One panel an experiment; a mark for each run, in the order of measurement, at its headline metric "
        "relative to the median of its side. A slope would be drift.",
        width=WIDTH,
        height=int(y) + AXIS,
        marks=marks,
        caption="Each run against the median of its own side, so that all sides lie around zero and only time is left. "
        f"Hollow marks with a cross: an instrument fault or a block that was repeated; they do not count.{fewer}",
        table=Table(
            header=["Run", "Position", "Figure", "Against its side's median", "Counts"],
            rows=[
                [
                    one.run.key,
                    str(one.run.position),
                    number(one.figure),
                    change(one.factor),
                    "yes" if one.run.counted else one.run.why_not,
                ]
                for one in drawn
            ],
            rest="runs.csv",
        ),
    )


def drift_table(experiments: dict[str, list[str]], runs: Sequence[RunFigures]) -> Table | None:
    """Compare the first third of each side's counted runs with its last; None where no side has enough."""
    rows = []
    for name, sides in experiments.items():
        metric, found = deviations([run for run in runs if run.experiment == name])
        for side in sides:
            figures = [one.figure for one in found if one.run.side == side and one.run.counted]
            if len(figures) < FEWEST:
                continue
            third = len(figures) // THIRD
            first, last = statistics.median(figures[:third]), statistics.median(figures[-third:])
            if first > 0:
                row = [name, side, metric_title(metric), number(first), number(last), change(last / first)]
                rows.append(row)
    if not rows:
        return None
    header = ["Experiment", "Side", "Metric", "First third", "Last third", "Change"]
    return Table(header=header, rows=rows, words=3)


def _panel(
    title: str, sides: Sequence[str], found: Sequence[Deviation], x: Scale, start: float
) -> list[Mark]:
    percents = [100 * (one.factor - 1) for one in found]
    marked = ticks(min(*percents, -1.0), max(*percents, 1.0))
    top, bottom = start + HEAD, start + HEAD + PANEL - 12
    y = linear(marked[0], marked[-1], bottom, top)
    marks: list[Mark] = [
        Words(x=0, y=start + 16, text=title, css="strong"),
        Box(x=LEFT, y=top, width=WIDTH - RIGHT - LEFT, height=bottom - top, css="frame"),
    ]
    for tick in marked:
        css = "axis" if tick == 0 else "grid"
        marks.append(Line(x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick), css=css))
        marks.append(Words(x=LEFT - 7, y=y(tick) + 4, text=f"{tick:+g} %" if tick else "0", anchor="end"))
    place_of = {side: place % COLOURS for place, side in enumerate(sides)}
    at = float(LEFT)
    for side, place in place_of.items():
        marks.append(Point(x=at + 6, y=start + 34, shape=SIDE_SHAPES[place], css=f"mark s{place}"))
        marks.append(Words(x=at + 18, y=start + 38, text=side))
        at = coordinate(at + 18 + text_width(side) + 20)
    for one in found:
        place = place_of[one.run.side]
        px, py = x(one.run.position), y(100 * (one.factor - 1))
        label = f"{one.run.key}: {number(one.figure)}" + (f", {one.run.why_not}" if one.run.why_not else "")
        css = f"mark s{place}" + ("" if one.run.counted else " left-out")
        marks.append(Point(x=px, y=py, shape=SIDE_SHAPES[place], css=css, label=label))
        if not one.run.counted:
            marks.append(Point(x=px, y=py, shape="cross", css="mark struck"))
    return marks
