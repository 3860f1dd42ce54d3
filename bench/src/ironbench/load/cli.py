"""The command ``ironbench load``."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ironbench.judge import WRK2
from ironbench.load import wrk2
from ironbench.load.clock import MAX_SHIFT_NS
from ironbench.load.engine import run
from ironbench.load.spec import prepare
from ironbench.load.summary import durations, load_result, rows
from ironbench.load.write import make_directory, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ironbench.load.spec import Prepared

GATE_FAILED = 3
STOPPED = 128 + signal.SIGTERM


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench load``."""
    parser = subparsers.add_parser(
        "load",
        help="run one load window against a server",
        description=(
            "Connect, check the endpoint's answer, warm up, measure one window, drain, and write load.json, "
            "histograms.json, requests.csv.gz, and each histogram as .hlog and .hgrm. Exit status: 0 "
            "measured, 2 bad input, 3 the answer is not the expected one (no load was made), 143 stopped by "
            "SIGTERM (nothing written)."
        ),
    )
    parser.add_argument("--spec", type=Path, required=True, help="LoadSpec as JSON")
    parser.add_argument("--out", type=Path, required=True, help="directory for the files of this run")
    parser.set_defaults(func=load)


def load(args: argparse.Namespace) -> int:
    """Do what ``args.spec`` says; raises IronbenchError for bad input, before any connection."""
    prepared = prepare(args.spec)
    if prepared.spec.load.backend == WRK2:
        return _load_with_wrk2(prepared, args.out)
    make_directory(args.out)
    try:
        with _sigterm_raises():
            recording = run(prepared)
    except _Stopped:
        return STOPPED
    measured = durations(recording.window)
    result = load_result(prepared, recording, measured)
    write(args.out, result, measured, rows(recording))
    if not result.gate.ok:
        print(f"ironbench: {result.gate.detail}", file=sys.stderr)
        return GATE_FAILED
    if result.alarms:
        details = "; ".join(alarm.detail for alarm in result.alarms)
        print(f"ironbench: saturation alarm: {details}.", file=sys.stderr)
    if abs(recording.realtime_shift_ns) >= MAX_SHIFT_NS:
        shift_ms = recording.realtime_shift_ns / 1e6
        print(f"ironbench: CLOCK_REALTIME moved by {shift_ms:.1f} ms in the window.", file=sys.stderr)
    return 0


def _load_with_wrk2(prepared: Prepared, out: Path) -> int:
    wrk2.check(prepared)
    make_directory(out)
    try:
        with _sigterm_raises():
            result = wrk2.run(prepared, out)
    except _Stopped:
        return STOPPED
    if not result.gate.ok:
        print(f"ironbench: {result.gate.detail}", file=sys.stderr)
        return GATE_FAILED
    return 0


class _Stopped(BaseException):
    """SIGTERM."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
