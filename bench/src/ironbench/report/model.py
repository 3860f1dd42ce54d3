"""What a report is made of: sections of sentences, tables and charts, before they become text.

A chart is data too: marks with coordinates in SVG units, rounded, so that the same figures give the same
bytes.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from ironbench.records import Record

Shape = Literal["circle", "square", "triangle", "diamond", "down", "left", "right", "plus", "cross"]


class Table(Record, frozen=True, kw_only=True):
    """Text cells; all columns after the first ``words`` ones hold figures, but for those in ``prose``."""

    header: list[str]
    rows: list[list[str]]
    words: int = 1
    prose: list[int] = field(default_factory=list)
    """Columns of sentences; a terminal is too narrow for them and leaves them out."""
    rest: str = "results.json"
    """File of the bundle that has the rows for which a report has no room."""


def first_rows(table: Table, most: int) -> tuple[list[list[str]], str]:
    """Return the rows that a report has room for, and a sentence about the rest, if there is one."""
    if len(table.rows) <= most:
        return table.rows, ""
    return table.rows[:most], f"The first {most} of {len(table.rows)} rows; all are in {table.rest}."


class Line(Record, frozen=True, kw_only=True):
    x1: float
    y1: float
    x2: float
    y2: float
    css: str


class Trace(Record, frozen=True, kw_only=True):
    """A line through points, or the area that they enclose."""

    points: list[tuple[float, float]]
    css: str
    closed: bool = False


class Box(Record, frozen=True, kw_only=True):
    x: float
    y: float
    width: float
    height: float
    css: str
    label: str = ""
    """What a pointer that rests on it is told."""


class Point(Record, frozen=True, kw_only=True):
    x: float
    y: float
    shape: Shape
    css: str
    label: str = ""
    """What a pointer that rests on it is told."""


class Words(Record, frozen=True, kw_only=True):
    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    css: str = ""


Mark = Line | Trace | Box | Point | Words


class Chart(Record, frozen=True, kw_only=True):
    title: str
    description: str
    """What the chart shows, for those who do not see it."""
    width: int
    height: int
    marks: list[Mark]
    caption: str
    """How to read it."""
    table: Table
    """The figures that it is drawn from."""


class Section(Record, frozen=True, kw_only=True):
    title: str
    paragraphs: list[str] = field(default_factory=list)
    table: Table | None = None
    folded: list[tuple[str, Table]] = field(default_factory=list)
    """More tables, by title, which HTML shows when asked; the other reports have none of them."""
    notes: list[str] = field(default_factory=list)
    """Below the table."""
    commands: list[str] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    drawn: bool = False
    """True: the charts bring the table's figures with them, so that HTML has no need of it."""
    terminal: bool = True
    """False: left out of the terminal's report."""
    markdown: bool = True
    """False: left out of report.md, which has to fit into a pull request."""


class Document(Record, frozen=True, kw_only=True):
    title: str
    tallies: dict[str, int]
    """How many there are of what, before all else."""
    facts: dict[str, str]
    flags: list[str]
    """What a reader must know before any figure."""
    sections: list[Section]
    closing: str = ""
    """Last line of report.md: where the rest is."""
