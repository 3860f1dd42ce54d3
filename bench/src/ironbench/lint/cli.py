"""The command ``ironbench lint``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.lint.read import read_tables
from ironbench.lint.rules import Flaw, lint
from ironbench.records import Record

if TYPE_CHECKING:
    import argparse

FOUND = 1


class Linted(Record, frozen=True, kw_only=True):
    """Answer of ``ironbench lint``."""

    files: list[str]
    errors: int
    warnings: int
    flaws: list[Flaw]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench lint``."""
    parser = subparsers.add_parser(
        "lint",
        help="say what is wrong with published tables of results",
        description="Read tables of latencies and rates (CSV or JSON, anybody's) and say what in them cannot be, or "
        "cannot be known from so little. Files that belong together, as a table and the runs behind it, are given "
        "together. Exit status 1: there are errors.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="CSV, JSON, or JSON lines")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=show)


def show(args: argparse.Namespace) -> int:
    """Print what is wrong; nothing when one of the files cannot be read."""
    flaws = lint([table for path in args.files for table in read_tables(path)])
    errors = sum(flaw.severity == "error" for flaw in flaws)
    answer = Linted(
        files=[str(path) for path in args.files], errors=errors, warnings=len(flaws) - errors, flaws=flaws
    )
    if args.json:
        print(msgspec.json.encode(answer).decode())
    else:
        for flaw in flaws:
            print(_line(flaw))
        counts = (
            _many(number, what)
            for number, what in (
                (answer.errors, "error"),
                (answer.warnings, "warning"),
                (len(args.files), "file"),
            )
        )
        print("{}, {} in {}".format(*counts))
    return FOUND if errors else 0


def _many(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _line(flaw: Flaw) -> str:
    place = ":".join(filter(None, [flaw.file, str(flaw.row) if flaw.row else "", flaw.table, flaw.column]))
    return f"{place}: {flaw.severity}: {flaw.what}, {flaw.why}. [{flaw.rule}]"
