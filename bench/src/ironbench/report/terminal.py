"""The report as plain text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.report.model import first_rows
from ironbench.report.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.report.model import Document, Section, Table

ROWS = 60
"""Of a table: a terminal's reader wants the top of the report within reach."""


def render(document: Document) -> str:
    """Lay out the sections that are for a terminal."""
    width = max(map(len, document.facts))
    lines = [document.title, "=" * len(document.title), ""]
    if document.tallies:
        lines += [*(f"{count:4}  {what}" for what, count in document.tallies.items()), ""]
    lines += [f"{name:<{width}}  {one_line(value)}" for name, value in document.facts.items()]
    for flag in document.flags:
        lines += ["", f"! {one_line(flag)}"]
    for section in document.sections:
        if section.terminal:
            lines += section_lines(section)
    return "\n".join(lines) + "\n"


def section_lines(section: Section) -> Iterator[str]:
    """Give the lines of one section, after an empty one."""
    yield from ("", section.title, "-" * len(section.title))
    yield from map(one_line, section.paragraphs)
    if section.table:
        yield from _table(section.table)
    yield from (f"  {one_line(note)}" for note in section.notes)
    yield from (f"  {command}" for command in section.commands)


def _table(table: Table) -> Iterator[str]:
    shown, rest = first_rows(table, ROWS)
    kept = [column for column in range(len(table.header)) if column not in table.prose]
    rows = [[one_line(row[column]) for column in kept] for row in (table.header, *shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < table.words else cell.rjust(width)
            for column, cell, width in zip(kept, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    yield lines[0]
    yield "  ".join("-" * width for width in widths)
    yield from lines[1:]
    if rest:
        yield f"  {rest}"
