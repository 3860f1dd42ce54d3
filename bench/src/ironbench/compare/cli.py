"""The command ``ironbench compare``."""

from __future__ import annotations

import hashlib
import string
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench import bundle as bundles
from ironbench.compare.compute import DEFAULT_METRICS, compare
from ironbench.compare.document import make_document
from ironbench.compare.environment import LAYOUT, Side, refuse_same
from ironbench.errors import IronbenchError
from ironbench.files import write_atomic
from ironbench.metrics import METRICS
from ironbench.report import compute, render, terminal

if TYPE_CHECKING:
    import argparse

    from ironbench.records import Run

MARKDOWN_ROWS = 500


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench compare``."""
    parser = subparsers.add_parser(
        "compare",
        help="hold bundles of two times or two hosts against each other",
        description="Print what differs in the environments, then the effects within each bundle side by side, "
        "then each variant between the bundles, without a call. Absolute times are set beside each other on the same CPU "
        "model and core layout only.",
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="two or more")
    parser.add_argument(
        "--metric",
        action="append",
        choices=list(METRICS),
        metavar="NAME",
        help=f"instead of {', '.join(DEFAULT_METRICS)}; one of {', '.join(METRICS)}",
    )
    parser.add_argument(
        "--factor",
        choices=[LAYOUT],
        default="",
        help="what the bundles are to differ in: with `layout` absolute times of two core layouts are set beside each other",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the comparison there as well")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=show)


def show(args: argparse.Namespace) -> int:
    """Compare bundles."""
    if not 2 <= len(args.bundles) <= len(string.ascii_uppercase):
        raise IronbenchError(f"a comparison needs two bundles or more, up to 26, not {len(args.bundles)}.")
    sides = [
        read_side(letter, path) for letter, path in zip(string.ascii_uppercase, args.bundles, strict=False)
    ]
    refuse_same(sides)
    compared = compare(sides, args.metric or DEFAULT_METRICS, factor=args.factor)
    document = make_document(compared)
    if args.markdown:
        try:
            write_atomic(args.markdown, render(document, "report.md.j2", MARKDOWN_ROWS).encode())
        except OSError as error:
            raise IronbenchError(f"cannot write {args.markdown}: {error.strerror}.") from error
    print(
        msgspec.json.encode(compared).decode() if args.json else terminal.render(document),
        end="\n" if args.json else "",
    )
    return 0


def read_side(letter: str, path: Path) -> Side:
    """Read a bundle and compute its results; what is damaged in it is left out."""
    runs = bundles.read_contents(path).runs
    settings: dict[str, dict[str, dict[str, str]]] = {}
    seen: set[tuple[str, str]] = set()
    for run in runs:
        facts = {(host, fact) for host, told in run.measured.items() for fact in told}
        if facts <= seen:  # another variant's alone are new
            continue
        seen |= facts
        for host, told in bundles.read_measured_of(path, run).items():
            settings.setdefault(host, {}).update(told.settings)
    return Side(
        letter=letter,
        path=str(path),
        results=compute(path),
        plan=bundles.read_plan(path),
        sealed=frozenset(map(_identity, runs)),
        settings=settings,
    )


def _identity(run: Run) -> str:
    """Tell a run from all others by what was seen in it: no two have the same times and latencies."""
    seen = msgspec.json.encode((run.run.key, run.started_ns, run.load, run.cpu))
    return hashlib.sha256(seen).hexdigest()
