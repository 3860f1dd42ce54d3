"""Latency distributions with the tail stretched: latency against 1/(1-p) on a logarithmic axis.

The axis is that of HdrHistogram's and wrk2's percentile plots: each factor of ten is one nine more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.metrics import MIN_ABOVE, PERCENTILES
from ironbench.records import Record
from ironbench.report.model import Chart, Line, Point, Table, Trace, Words
from ironbench.report.scale import (
    COLOURS,
    SIDE_SHAPES,
    log_ticks,
    logarithmic,
    text_width,
    x_axis,
    y_axis,
)
from ironbench.report.words import number
from ironbench.scorecard import CENSORED, HIDDEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import Curve
    from ironbench.report.model import Mark

WIDTH = 720
LEFT = 70
RIGHT = 24
HEIGHT = 300
AXIS = 44
LEGEND_ROW = 22
SAMPLE = 58
"""Length of a legend's piece of line."""
GAP = 22

MICROSECOND = 0.001
"""Of a millisecond: no latency is known to be smaller."""

NINES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
"""Percentiles on the axis, as parts; each curve is marked at those with enough samples above."""
LISTED = {
    **{f"P{percentile:g}": round(percentile / 100, 9) for percentile in PERCENTILES.values()},
    "Max": 1.0,
}


class Told(Record, frozen=True, kw_only=True):
    """The words of a distribution."""

    title: str
    axis: str
    samples: str
    """What there is one of for each sample, as ``Requests``."""
    caption: str


def tail_chart(experiment: str, sides: Sequence[str], curves: Sequence[Curve]) -> Chart | None:
    """Draw the latency of one experiment, which has ``sides``; None when there is none."""
    told = Told(
        title=f"{experiment}: latency distribution",
        axis="latency",
        samples="Requests",
        caption="Latency from the intended send time, all counted runs of a side merged by count.",
    )
    return distribution_chart(told, sides, curves)


def distribution_chart(told: Told, sides: Sequence[str], curves: Sequence[Curve]) -> Chart | None:
    """Draw one curve a side; None when there is none."""
    if not curves:
        return None
    lowest = max(MICROSECOND, min(curve.ms[0] for curve in curves))
    marked = log_ticks(lowest, max(lowest, *(curve.ms[-1] for curve in curves)))
    most = max(curve.count for curve in curves)
    place_of = {side: place % COLOURS for place, side in enumerate(sides)}
    legend, top = _legend({curve.side: place_of[curve.side] for curve in curves})
    bottom = top + HEIGHT
    x = logarithmic(marked[0], marked[-1], LEFT, WIDTH - RIGHT)
    y = logarithmic(1, max(most, 10), bottom, top)
    nines = [(y(1), "0 %")]
    nines += [(y(1 / (1 - nine)), f"{100 * nine:g} %") for nine in NINES if 1 / (1 - nine) <= max(most, 10)]
    marks: list[Mark] = y_axis(nines, LEFT, WIDTH - RIGHT)
    marks += x_axis([(x(tick), f"{tick:g}") for tick in marked], top, bottom)
    marks.append(Line(x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, css="axis"))
    marks.append(Words(x=WIDTH - RIGHT, y=bottom + 36, text=f"{told.axis}, ms", anchor="end"))
    marks += legend
    for curve in curves:
        side = place_of[curve.side]
        # The last sample has none above it: its place is that of one in ``count``.
        points = [
            (x(ms), y(min(curve.count, 1 / (1 - share)) if share < 1 else curve.count), share)
            for share, ms in zip(curve.shares, curve.ms, strict=True)
        ]
        known = [(px, py) for px, py, share in points if _shown(curve.count, share)]
        rare = [(px, py) for px, py, share in points if not _shown(curve.count, share)]
        marks.append(Trace(points=known, css=f"trace s{side}"))
        marks.append(Trace(points=[*known[-1:], *rare], css=f"trace rare s{side}"))
        marks += [
            Point(
                x=px,
                y=py,
                shape=SIDE_SHAPES[side],
                css=f"mark s{side}",
                label=f"{curve.side}: {100 * share:g} % up to {number(ms)} ms",
            )
            for (px, py, share), ms in zip(points, curve.ms, strict=True)
            if share in NINES and _shown(curve.count, share)
        ]
    return Chart(
        title=told.title,
        description=f"One curve for each of {', '.join(curve.side for curve in curves)}: the part of the "
        f"{told.samples.lower()} that took at most so long, with one more nine for each step upwards.",
        width=WIDTH,
        height=bottom + AXIS,
        marks=marks,
        caption=f"{told.caption} Both axes are logarithmic; further left is faster. Dotted: fewer than "
        f"{MIN_ABOVE} samples lie above, so this part is chance.",
        table=_table(told, curves),
    )


def _shown(count: int, share: float) -> bool:
    """As ``percentile_shown``, for parts beyond its per mille too."""
    return round(count * (1 - share), 6) >= MIN_ABOVE


def _table(told: Told, curves: Sequence[Curve]) -> Table:
    rows = []
    for name, share in LISTED.items():
        cells = []
        for curve in curves:
            # The curve's own points are at shares of its choice; the next one above is what it was drawn to.
            points = zip(curve.shares, curve.ms, strict=True)
            ms = next((ms for known, ms in points if known >= share), None)
            if ms is None:
                cells.append(CENSORED)
            else:
                cells.append(number(ms) if share == 1 or _shown(curve.count, share) else HIDDEN)
        rows.append([f"{name}, ms", *cells])
    rows.append([told.samples, *(str(curve.count) for curve in curves)])
    return Table(header=[told.axis.capitalize(), *(curve.side for curve in curves)], rows=rows)


def _legend(places: dict[str, int]) -> tuple[list[Mark], int]:
    """Return the marks of a legend above the chart, and where it ends."""
    marks: list[Mark] = []
    x, row = float(LEFT), 0
    for name, side in places.items():
        width = SAMPLE + 8 + text_width(name) + GAP
        if x + width > WIDTH and x > LEFT:
            x, row = float(LEFT), row + 1
        y = 12.0 + row * LEGEND_ROW
        marks.append(Trace(points=[(round(x, 1), y), (round(x + SAMPLE, 1), y)], css=f"trace s{side}"))
        marks.append(Point(x=round(x + SAMPLE / 2, 1), y=y, shape=SIDE_SHAPES[side], css=f"mark s{side}"))
        marks.append(Words(x=round(x + SAMPLE + 8, 1), y=y + 4, text=name))
        x += width
    return marks, 12 + (row + 1) * LEGEND_ROW
