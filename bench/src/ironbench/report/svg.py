"""Charts as SVG text, the same for the same chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from ironbench.report.model import Box, Line, Point, Trace, Words

if TYPE_CHECKING:
    from ironbench.report.model import Chart, Mark, Shape

OUTLINES: dict[Shape, str] = {
    "circle": "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "square": "m-4-4h8v8h-8z",
    "triangle": "m0-5.5l5.2 9.5h-10.4z",
    "diamond": "m0-5.8l5.8 5.8l-5.8 5.8l-5.8-5.8z",
    "down": "m0 5.5l5.2-9.5h-10.4z",
    "left": "m-5.5 0l9.5-5.2v10.4z",
    "right": "m5.5 0l-9.5-5.2v10.4z",
    "plus": "m-1.8-5.4h3.6v3.6h3.6v3.6h-3.6v3.6h-3.6v-3.6h-3.6v-3.6h3.6z",
    "cross": "m-5-5l10 10m0-10l-10 10",
}
"""From the point itself, as relative SVG path."""


def svg(chart: Chart, name: str, style: str = "") -> Markup:
    """Write a chart; ``name`` makes its ids unique in the document, ``style`` makes it a file of its own."""
    own = f' xmlns="http://www.w3.org/2000/svg"><style>{style}</style' if style else ""
    head = (
        f'<svg viewBox="0 0 {chart.width} {chart.height}" width="{chart.width}" height="{chart.height}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc"{own}>\n'
        f'<title id="{name}-title">{escape(chart.title)}</title>\n'
        f'<desc id="{name}-desc">{escape(chart.description)}</desc>\n'
    )
    # All text of others was escaped above or is escaped below.
    return Markup(head + "".join(map(_mark, chart.marks)) + "</svg>")  # noqa: S704


def _mark(mark: Mark) -> str:
    if isinstance(mark, Line):
        places = f'x1="{_n(mark.x1)}" x2="{_n(mark.x2)}" y1="{_n(mark.y1)}" y2="{_n(mark.y2)}"'
        return f'<line class="{mark.css}" {places}/>\n'
    if isinstance(mark, Trace):
        shape = "polygon" if mark.closed else "polyline"
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in mark.points)
        return f'<{shape} class="{mark.css}" points="{points}"/>\n'
    if isinstance(mark, Box):
        places = f'x="{_n(mark.x)}" y="{_n(mark.y)}" width="{_n(mark.width)}" height="{_n(mark.height)}"'
        start = f'<rect class="{mark.css}" {places}'
        return f"{start}><title>{escape(mark.label)}</title></rect>\n" if mark.label else f"{start}/>\n"
    if isinstance(mark, Point):
        start = f'<path class="{mark.css}" d="M{_n(mark.x)} {_n(mark.y)}{OUTLINES[mark.shape]}"'
        return f"{start}><title>{escape(mark.label)}</title></path>\n" if mark.label else f"{start}/>\n"
    assert isinstance(mark, Words)
    css = f' class="{mark.css}"' if mark.css else ""
    anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
    return f'<text x="{_n(mark.x)}" y="{_n(mark.y)}"{css}{anchor}>{escape(mark.text)}</text>\n'


def _n(value: float) -> str:
    """Write a coordinate without a needless fraction."""
    return f"{value:.1f}".removesuffix(".0")
