"""From figures to coordinates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ironbench.report.model import Line, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ironbench.report.model import Mark, Shape

    Scale = Callable[[float], float]
    """From a figure to a coordinate."""

SIDE_SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "diamond", "down", "plus", "left", "right")
"""In the order of sides, taken again from the start when there are more."""
COLOURS = len(SIDE_SHAPES)

LETTER = 6.7
"""Mean width of a letter of the charts' font."""


def coordinate(value: float) -> float:
    """Round to a tenth of a unit; a negative zero would be written with its sign."""
    return round(value, 1) + 0.0


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Map low..high to start..end."""
    return lambda figure: coordinate(start + (figure - low) / (high - low) * (end - start))


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Map low..high, both positive, to start..end by their logarithms; what is lower lies at the start."""
    bottom, span = math.log(low), math.log(high) - math.log(low)
    return lambda figure: coordinate(start + (math.log(max(figure, low)) - bottom) / span * (end - start))


def ticks(low: float, high: float) -> list[float]:
    """Round figures around low..high, four to nine of them, in steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    if first == last:
        last += 1
    return [round(n * step, 9) for n in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten around low..high; powers alone when those are many."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        every = [round(step * 10.0**power, 9) for power in powers for step in steps]
        first = max(place for place, tick in enumerate(every) if tick <= low)
        last = min((place for place, tick in enumerate(every) if tick >= high), default=len(every) - 1)
        if first == last:
            last += 1
        if last - first <= 9:
            break
    return every[first : last + 1]


def text_width(text: str) -> float:
    """Estimate how wide a label is, in SVG units."""
    return LETTER * len(text)


def label_width(labels: Sequence[str]) -> float:
    """Return the room that the longest label needs, with a gap."""
    return coordinate(max(map(text_width, labels), default=0) + 16)


def x_axis(places: Sequence[tuple[float, str]], top: float, bottom: float) -> list[Mark]:
    """Draw vertical lines of the grid with their labels below."""
    marks: list[Mark] = []
    for x, label in places:
        marks.append(Line(x1=x, x2=x, y1=top, y2=bottom, css="grid"))
        marks.append(Words(x=x, y=bottom + 17, text=label, anchor="middle"))
    return marks


def y_axis(places: Sequence[tuple[float, str]], left: float, right: float) -> list[Mark]:
    """Draw horizontal lines of the grid with their labels on the left."""
    marks: list[Mark] = []
    for y, label in places:
        marks.append(Line(x1=left, x2=right, y1=y, y2=y, css="grid"))
        marks.append(Words(x=left - 7, y=y + 4, text=label, anchor="end"))
    return marks
