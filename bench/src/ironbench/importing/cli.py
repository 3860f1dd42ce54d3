"""The command ``ironbench import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.collect.wrk2 import as_told
from ironbench.importing.files import parse_window, read_sar, read_wrk2

if TYPE_CHECKING:
    import argparse

    from ironbench.collect.sar import SarReport
    from ironbench.collect.wrk2 import Told


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench import`` and its kinds of input."""
    group = subparsers.add_parser(
        "import",
        help="read published logs of wrk2 and sar",
        description="Read logs that somebody else made. A log that is cut off or contradicts itself is refused.",
    )
    kinds = group.add_subparsers(metavar="KIND", required=True)

    parser = kinds.add_parser("wrk2", help="print the figures of wrk2's outputs")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="output of one run")
    parser.add_argument("--json", action="store_true", help="print one JSON object a file, each on a line")
    parser.set_defaults(func=show_wrk2)

    parser = kinds.add_parser(
        "sar",
        help="print the figures of sar's reports",
        description="Reads text reports of sar 12, sadf's JSON, and, with sysstat, binary files.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument(
        "--window", metavar="FIRST-LAST", help="samples under load, from 1, as 2-31 (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a file, each on a line")
    parser.set_defaults(func=show_sar)

    parser = kinds.add_parser(
        "bundle",
        help="make a sealed bundle out of a directory of logs",
        description="`ironbench report` treats the bundle as any other; see docs/how-to/import-published-logs.md.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="the logs")
    parser.add_argument(
        "--describe", type=Path, required=True, metavar="FILE", help="YAML that says which log is which"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where bundles lie (default: results)",
    )
    parser.add_argument(
        "--study", type=Path, metavar="DIR", help="the study whose claims are to be judged (default: none)"
    )
    parser.add_argument("--id", help="name of the bundle (default: UTC time and protocol)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=make_bundle)


def show_wrk2(args: argparse.Namespace) -> int:
    """Print what each file holds; nothing when one of them is refused."""
    for path, log in [(path, read_wrk2(path)) for path in args.files]:
        told = as_told(log, str(path))
        print(msgspec.json.encode(told).decode() if args.json else _wrk2_line(told))
    return 0


def show_sar(args: argparse.Namespace) -> int:
    """Print what each file holds; nothing when one of them is refused."""
    window = parse_window(args.window) if args.window else None
    for path, report in [(path, read_sar(path, window)) for path in args.files]:
        if args.json:
            print(msgspec.json.encode({"file": str(path), **msgspec.structs.asdict(report)}).decode())
        else:
            print("\n".join(_sar_lines(str(path), report)))
    return 0


def make_bundle(args: argparse.Namespace) -> int:
    """Make a sealed bundle."""
    from ironbench.importing.bundle import import_bundle  # noqa: PLC0415 - the other kinds do not need it

    bundle = import_bundle(args.directory, args.describe, args.out, args.id, args.study)
    print(msgspec.json.encode({"bundle": str(bundle)}).decode() if args.json else bundle)
    return 0


def _wrk2_line(told: Told) -> str:
    figures = [
        f"{name} {_figure(getattr(told.latency_ms, name))}"
        for name in ("mean", "p50", "p90", "p99", "stdev", "max")
    ]
    errors = sum(msgspec.structs.astuple(told.errors))
    return (
        f"{told.file}: {', '.join(figures)} ms; {told.recorded or 0} of {told.requests} requests recorded in "
        f"{told.duration_s:g} s, {errors} errors, {told.non_2xx} non-2xx"
    )


def _sar_lines(file: str, report: SarReport) -> list[str]:
    window = f", window {report.window[0]}-{report.window[1]}" if report.window else ""
    lines = [f"{file}: {report.host}, {report.samples} samples{window}"]
    lines += [
        f"  CPU {core.cpu}: {core.usr_whole_record:.2f} %usr of the whole record, {core.busy:.2f} % busy in the window"
        for core in report.cores
    ]
    lines += [f"  {one.name}: mean {one.mean:.2f}, max {one.max:g}" for one in report.series]
    return lines + [f"  note: {note}" for note in report.notes]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
