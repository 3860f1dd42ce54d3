"""Tables of results as typed records, whatever way round they were printed.

Times are milliseconds, shares are per cent, all other figures are as printed.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation

from ironbench.records import Record

_SCALES = {
    "ns": ("ms", Decimal("1e-6")),
    "us": ("ms", Decimal("1e-3")),
    "µs": ("ms", Decimal("1e-3")),  # micro sign
    "μs": ("ms", Decimal("1e-3")),
    "ms": ("ms", Decimal(1)),
    "msec": ("ms", Decimal(1)),
    "s": ("ms", Decimal(1000)),
    "sec": ("ms", Decimal(1000)),
    "seconds": ("ms", Decimal(1000)),
    "m": ("ms", Decimal(60_000)),
    "min": ("ms", Decimal(60_000)),
    "%": ("%", Decimal(1)),
    "pct": ("%", Decimal(1)),
    "percent": ("%", Decimal(1)),
    "x": ("x", Decimal(1)),
    "×": ("x", Decimal(1)),  # noqa: RUF001 - the sign that tables have
}
"""A unit's base unit and how much of it one is."""

_NUMBER = re.compile(
    r"([+-]?)(\d[\d,'\s]*(?:\.\d+)?|\.\d+)(e[+-]?\d{1,3})?\s*([^\d\s()+-][^\d\s()+]*)?", re.IGNORECASE
)
_LONGEST = 60
"""Characters of a cell's number with its unit."""
_THOUSANDS = re.compile(r"\d{1,3}(?:[,'\s]\d{3})+(?:\.\d+)?")
_MINUS = str.maketrans({"−": "-", "–": "-", "\u00a0": " ", "\u202f": " "})  # noqa: RUF001 - as tables have them


class Metric(Record, frozen=True, kw_only=True):
    """What a figure is of."""

    stat: str
    """mean, min, max, stdev, p50, p99.9, count, runs, rate (offered), achieved, duration, connections; else
    empty."""
    family: str = ""
    """Of what, where a table has several, as ``service`` or ``cpu load core 0``; empty: of the requests."""

    @property
    def percentile(self) -> float | None:
        """50 for the median, 99.9 for ``p99.9``; None for what is no percentile."""
        return float(self.stat[1:]) if self.stat.startswith("p") else None


class Figure(Record, frozen=True, kw_only=True):
    """A number as it was printed, in its base unit."""

    value: float
    half: float
    """Half of its last digit: how far the figure before rounding may be away."""
    unit: str
    """``ms``, ``%``, ``x`` (times), another word as it was printed, or empty."""
    digits: int
    """Significant ones."""
    text: str
    row: int
    """Line of a CSV file, item of a JSON list, from 1."""
    column: str


class Series(Record, frozen=True, kw_only=True):
    """The figures of one thing that was measured: a variant, or one run of it."""

    name: str
    figures: dict[Metric, Figure]
    text: str = ""
    """Its words, in lower case."""
    run: bool = False
    """True: one run of several."""
    group: str = ""
    """What the runs that belong together have in common."""


class Delta(Record, frozen=True, kw_only=True):
    """A cell that says how two figures differ."""

    metric: str
    """As it was printed."""
    figures: list[Figure]
    """The cell's number, and the one in parentheses behind it."""
    pairs: list[tuple[Figure, Figure]]
    """What it may be the difference of, from the first to the second."""


class Table(Record, frozen=True, kw_only=True):
    file: str
    name: str
    series: list[Series]
    deltas: list[Delta]
    text: str = ""
    """Its title and notes, in lower case."""


def read_figures(text: str, row: int, column: str, unit: str = "", *, comma: bool = False) -> list[Figure]:
    """Read a cell: a number with or without its unit, and others in parentheses behind it.

    ``unit`` is what the header says, where the cell has none. With ``comma`` the decimal sign is a comma. A
    cell that does not start with a number holds none.
    """
    parts = [" ".join(part.split()) for part in re.split(r"[()]", text.translate(_MINUS))]
    found = [
        _figure(part, row, column, unit if number == 0 else "", comma) for number, part in enumerate(parts)
    ]
    if not found or found[0] is None:
        return []
    return [figure for figure in found if figure is not None]


def measured(figures: list[Figure]) -> Figure:
    """Return a cell's figure; the same in another unit behind it may say that it was rounded more.

    ``1100.00 ms (1.10s)`` is known to 5 ms.
    """
    first = figures[0]
    rounder = [
        one for one in figures[1:] if one.unit == first.unit and abs(one.value - first.value) <= one.half
    ]
    if not rounder:
        return first
    widest = max(rounder, key=lambda one: one.half)
    if widest.half <= first.half:
        return first
    return Figure(
        value=first.value,
        half=widest.half,
        unit=first.unit,
        digits=widest.digits,
        text=first.text,
        row=first.row,
        column=first.column,
    )


def _figure(text: str, row: int, column: str, unit: str, comma: bool) -> Figure | None:
    plain = text.replace(".", "").replace(",", ".") if comma else text
    match = _NUMBER.fullmatch(plain) if len(plain) <= _LONGEST else None
    if match is None:
        return None
    sign, digits, exponent, own = match.groups()
    digits = digits.strip()
    digits = re.sub(r"[,'\s]", "", digits) if _THOUSANDS.fullmatch(digits) else digits.replace(",", ".")
    try:
        number = Decimal(f"{sign}{digits}{exponent or ''}")
    except InvalidOperation:
        return None
    printed = (own or unit).strip(".,;").lower()
    base, scale = _SCALES.get(printed, (printed, Decimal(1)))
    if not math.isfinite(float(number * scale)):
        return None
    step = Decimal(1).scaleb(int(number.as_tuple().exponent))
    return Figure(
        value=float(number * scale),
        half=float(step * scale / 2),
        unit=base,
        digits=len(number.as_tuple().digits),
        text=text,
        row=row,
        column=column,
    )
