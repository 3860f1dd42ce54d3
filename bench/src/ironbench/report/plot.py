"""Geometry of the dot plot: one lane a variant, one dot a session."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from ironbench.records import Record

if TYPE_CHECKING:
    from ironbench.records import RunFigures

WIDTH = 680
LABEL_WIDTH = 150
RIGHT = 24
TOP = 10
LANE = 40
AXIS = 44
OFFSETS = (0, -8, 8, -4, 4)
"""Vertical places that dots of one lane take in turn, so that equal figures stay apart."""


class Dot(Record, frozen=True, kw_only=True):
    x: float
    y: float
    counted: bool
    label: str


class Lane(Record, frozen=True, kw_only=True):
    variant: str
    y: float
    median_x: float | None


class Tick(Record, frozen=True, kw_only=True):
    x: float
    label: str


class Plot(Record, frozen=True, kw_only=True):
    """Coordinates in SVG units, rounded, so that the same figures give the same bytes."""

    width: int
    height: int
    left: int
    right: int
    axis_y: int
    lanes: list[Lane]
    dots: list[Dot]
    ticks: list[Tick]


def dot_plot(variants: list[str], runs: list[RunFigures]) -> Plot | None:
    """Place the app's CPU-ms per request of every sealed run; None when there is none."""
    known = [(run, run.app_cpu_ms) for run in runs if run.app_cpu_ms is not None]
    if not known:
        return None
    ticks = _ticks(min(figure for _, figure in known), max(figure for _, figure in known))
    low, high = ticks[0], ticks[-1]

    def x(figure: float) -> float:
        return round(LABEL_WIDTH + (figure - low) / (high - low) * (WIDTH - LABEL_WIDTH - RIGHT), 1)

    lanes, dots = [], []
    for index, variant in enumerate(variants):
        y = TOP + LANE * index + LANE / 2
        mine = [(run, figure) for run, figure in known if run.variant == variant]
        counted = [figure for run, figure in mine if run.counted]
        lanes.append(Lane(variant=variant, y=y, median_x=x(statistics.median(counted)) if counted else None))
        for place, (run, figure) in enumerate(mine):
            dots.append(
                Dot(
                    x=x(figure),
                    y=y + OFFSETS[place % len(OFFSETS)],
                    counted=run.counted,
                    label=f"{run.key}: {figure:.3f} CPU-ms" + (f" ({run.why_not})" if run.why_not else ""),
                )
            )
    axis_y = TOP + LANE * len(variants)
    return Plot(
        width=WIDTH,
        height=axis_y + AXIS,
        left=LABEL_WIDTH,
        right=WIDTH - RIGHT,
        axis_y=axis_y,
        lanes=lanes,
        dots=dots,
        ticks=[Tick(x=x(tick), label=f"{tick:g}") for tick in ticks],
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round figures around low..high, four to nine of them, in steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    if first == last:
        last += 1
    return [round(n * step, 9) for n in range(first, last + 1)]
