"""One lane a side, one dot a run: how far the sessions of one experiment lie apart."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from ironbench.report.model import Chart, Line, Point, Table, Words
from ironbench.report.scale import COLOURS, SIDE_SHAPES, coordinate, label_width, linear, ticks, x_axis
from ironbench.report.words import metric_title, number
from ironbench.within import HEADLINE, evenly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import RunFigures
    from ironbench.report.model import Mark

WIDTH = 720
RIGHT = 24
TOP = 8
LANE = 36
AXIS = 44
MOST = 100
"""Dots of one side; more could not be told apart."""
OFFSETS = (0, -8, 8, -4, 4)
"""Vertical places that dots of one lane take in turn, so that equal figures stay apart."""


def dot_chart(experiment: str, sides: Sequence[str], runs: Sequence[RunFigures]) -> Chart | None:
    """Place the headline metric of every sealed run; None when no run has it."""
    known = [(run, run.figures[HEADLINE]) for run in runs if HEADLINE in run.figures]
    if not known:
        return None
    marked = ticks(min(figure for _, figure in known), max(figure for _, figure in known))
    left, right = label_width(sides), WIDTH - RIGHT
    x = linear(marked[0], marked[-1], left, right)
    bottom = TOP + LANE * len(sides)
    marks: list[Mark] = x_axis([(x(tick), f"{tick:g}") for tick in marked], TOP, bottom)
    marks.append(Line(x1=left, x2=right, y1=bottom, y2=bottom, css="axis"))
    marks.append(Words(x=right, y=bottom + 36, text=metric_title(HEADLINE), anchor="end"))
    drawn: list[tuple[RunFigures, float]] = []
    for lane, side in enumerate(sides):
        y = TOP + LANE * (lane + 0.5)
        mine = [(run, figure) for run, figure in known if run.side == side]
        counted = [figure for run, figure in mine if run.counted]
        marks.append(Words(x=left - 12, y=y + 4, text=side, anchor="end"))
        if counted:
            median = x(statistics.median(counted))
            marks.append(Line(x1=median, x2=median, y1=y - 14, y2=y + 14, css="median"))
        chosen = evenly(mine, MOST)
        drawn += chosen
        marks += [
            Point(
                x=x(figure),
                y=coordinate(y + OFFSETS[place % len(OFFSETS)]),
                shape=SIDE_SHAPES[lane % COLOURS],
                css=f"mark s{lane % COLOURS}" + ("" if run.counted else " left-out"),
                label=f"{run.key}: {number(figure)}" + (f", {run.why_not}" if run.why_not else ""),
            )
            for place, (run, figure) in enumerate(chosen)
        ]
    fewer = f" {len(drawn)} of {len(known)} runs are drawn." if len(drawn) < len(known) else ""
    return Chart(
        title=f"{experiment}: {metric_title(HEADLINE, unit=False)}, run by run",
        description=f"One lane for each of {', '.join(sides)}; a mark for every run at its CPU-ms per request, "
        "and a bar at the median of the runs that count.",
        width=WIDTH,
        height=bottom + AXIS,
        marks=marks,
        caption="One mark a run; the bar is the median. Hollow marks are left out of the figures. The axis does "
        f"not start at zero.{fewer}",
        table=Table(
            header=["Run", metric_title(HEADLINE), "Counts"],
            rows=[[run.key, number(figure), "yes" if run.counted else run.why_not] for run, figure in drawn],
            rest="runs.csv",
        ),
    )
