"""The report as plain text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ironbench.report.document import Document, Table


def render(document: Document) -> str:
    """Lay out everything but the appendices."""
    width = max(map(len, document.facts))
    lines = [document.title, "=" * len(document.title), ""]
    lines += [f"{name:<{width}}  {value}" for name, value in document.facts.items()]
    for flag in document.flags:
        lines += ["", f"! {flag}"]
    for section in document.sections:
        if section.appendix:
            continue
        lines += ["", section.title, "-" * len(section.title)]
        lines += section.paragraphs
        if section.table:
            lines += _table(section.table)
        lines += [f"  {note}" for note in section.notes]
        lines += [f"  {command}" for command in section.commands]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    rows = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if index < table.words else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
