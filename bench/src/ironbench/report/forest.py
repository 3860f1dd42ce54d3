"""Effects as points with intervals on one axis, and the margin behind them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from ironbench.records import Record
from ironbench.report.model import Box, Chart, Line, Point, Table, Words
from ironbench.report.scale import coordinate, label_width, log_ticks, logarithmic, ticks, x_axis
from ironbench.report.words import call_text, change, effect_text, margin_text, metric_title, sides_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import Effect
    from ironbench.report.model import Mark, Shape
    from ironbench.report.scale import Scale

WIDTH = 940
TOP = 8
ROW = 24
HEAD = 26
AXIS = 42
EFFECT = 180
"""Room for an effect in words, and after it for its call."""
CALL = 190
NARROW = 4.0
"""Up to this factor from end to end the axis has ticks at whole per cent, beyond it at 1, 2 and 5."""
MOST_BLOCKS = 40
"""Blocks whose own ratios are drawn; more would be a bar."""

SHAPES: dict[str, Shape] = {
    "lower": "left",
    "higher": "right",
    "equivalent": "square",
    "undecided": "circle",
    "too few runs": "diamond",
}
LEGEND = (
    "Triangle to the left: lower; to the right: higher; square: equivalent; hollow circle: undecided; hollow "
    "diamond: too few runs for an interval. The line is the 95 % interval, short strokes are single blocks, the "
    "band behind them is the margin within which a difference is none."
)


class Row(Record, frozen=True, kw_only=True):
    group: str
    label: str
    effect: Effect


def by_metric(effects: Sequence[Effect]) -> list[Row]:
    """Make a row of each effect that has a value, under its metric."""
    return [
        Row(
            group=metric_title(effect.comparison.metric, unit=False),
            label=sides_text(effect.comparison),
            effect=effect,
        )
        for effect in effects
        if effect.value is not None
    ]


def by_experiment(effects: Sequence[Effect]) -> list[Row]:
    """Make a row of each effect that has a value, under its experiment."""
    return [
        Row(
            group=effect.comparison.experiment,
            label=metric_title(effect.comparison.metric, unit=False),
            effect=effect,
        )
        for effect in effects
        if effect.value is not None
    ]


def forest(title: str, rows: Sequence[Row], table: Table | None = None) -> Chart | None:
    """Draw the rows in groups; None when there is none. Each effect's value must be known.

    ``table`` has the figures, if it is to be another than ``effect_table``.
    """
    if not rows:
        return None
    left = label_width([row.label for row in rows])
    right = WIDTH - EFFECT - CALL
    low, high = _range([row.effect for row in rows])
    # An axis of factors for wide ranges, of per cent for narrow ones; the distances are of logarithms in both.
    marked = log_ticks(low, high) if high / low > NARROW else [1 + tick for tick in ticks(low - 1, high - 1)]
    marked = [tick for tick in marked if tick > 0]
    x = logarithmic(min(low, marked[0]), max(high, marked[-1]), left, right)
    marks: list[Mark] = []
    y = float(TOP)
    for group, members in groupby(rows, key=lambda row: row.group):
        marks.append(Words(x=0, y=y + 17, text=group, css="strong"))
        y += HEAD
        for row in members:
            marks += _row(row, x, y + ROW / 2, left, right)
            y += ROW
    axis = x_axis([(x(tick), f"{100 * (tick - 1):+.4g} %" if tick != 1 else "0") for tick in marked], TOP, y)
    none = Line(x1=x(1), x2=x(1), y1=TOP, y2=y, css="axis")
    return Chart(
        title=title,
        description=f"{len(rows)} effects, each a point with its interval on an axis of relative change; left of "
        "zero is lower.",
        width=WIDTH,
        height=int(y) + AXIS,
        marks=[*axis, none, *marks],
        caption=LEGEND,
        table=table or effect_table([row.effect for row in rows]),
    )


def effect_table(effects: Sequence[Effect]) -> Table:
    """Write effects as a table."""
    return Table(
        header=["Experiment", "Metric", "Sides", "Shows", "Effect (95 % interval)", "Margin", "Blocks"],
        rows=[
            [
                effect.comparison.experiment,
                metric_title(effect.comparison.metric, unit=False),
                sides_text(effect.comparison),
                call_text(effect),
                effect_text(effect),
                margin_text(effect.margin),
                str(effect.blocks),
            ]
            for effect in effects
        ],
        words=4,
    )


def _range(effects: list[Effect]) -> tuple[float, float]:
    ends = [
        end
        for effect in effects
        for end in (effect.value, effect.low, effect.high, 1 / (1 + effect.margin), 1 + effect.margin)
        if end is not None
    ]
    return min(ends), max(ends)


def _row(row: Row, x: Scale, y: float, left: float, right: float) -> list[Mark]:
    effect = row.effect
    assert effect.value is not None
    start, end = x(1 / (1 + effect.margin)), x(1 + effect.margin)
    marks: list[Mark] = [
        Words(x=left - 12, y=y + 4, text=row.label, anchor="end"),
        Box(x=start, y=y - ROW / 2, width=coordinate(end - start), height=ROW, css="margin"),
    ]
    for ratio in list(effect.per_block.values())[:MOST_BLOCKS]:
        at = x(ratio)
        if left <= at <= right:
            marks.append(Line(x1=at, x2=at, y1=y + 5, y2=y + 10, css="block"))
    if effect.low is not None and effect.high is not None:
        low, high = x(effect.low), x(effect.high)
        marks.append(Line(x1=low, x2=high, y1=y, y2=y, css="interval"))
        marks += [Line(x1=end, x2=end, y1=y - 4, y2=y + 4, css="interval") for end in (low, high)]
    hollow = effect.call in ("undecided", "too few runs")
    marks.append(
        Point(
            x=x(effect.value),
            y=y,
            shape=SHAPES[effect.call],
            css="mark effect" + (" left-out" if hollow else ""),
            label=f"{metric_title(effect.comparison.metric)}, {sides_text(effect.comparison)}: "
            f"{change(effect.value)}",
        )
    )
    marks.append(Words(x=right + EFFECT - 4, y=y + 4, text=effect_text(effect), anchor="end"))
    marks.append(Words(x=right + EFFECT + 10, y=y + 4, text=call_text(effect)))
    return marks
