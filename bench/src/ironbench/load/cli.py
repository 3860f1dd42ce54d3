"""The command ``ironbench load``."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ironbench.judge import WRK2
from ironbench.load import STOPPED, wrk2
from ironbench.load.clock import MAX_SHIFT_NS
from ironbench.load.engine import run
from ironbench.load.search import judge_step, next_rate, search_result
from ironbench.load.spec import prepare, settle
from ironbench.load.summary import durations, load_result, rows
from ironbench.load.write import BACKGROUND, make_directory, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ironbench.load.engine import Recording
    from ironbench.load.spec import Prepared
    from ironbench.records import LoadResult, LoadSpec, Search, SearchStep

SEARCH = "search.json"
GATE_FAILED = 3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench load``."""
    parser = subparsers.add_parser(
        "load",
        help="run one load window against a server",
        description=(
            "Connect, check the endpoint's answer, warm up, measure one window, drain, check the answer again, and write load.json, "
            "histograms.json, requests.csv.gz, and each histogram as .hlog and .hgrm; the same of a background "
            f"into {BACKGROUND}/, and what a search for the rate found into {SEARCH}. Exit status: 0 measured, 2 bad input, 3 an answer is not the expected one before the load (no "
            "load was made), 143 stopped by SIGTERM (nothing written)."
        ),
    )
    parser.add_argument("--spec", type=Path, required=True, help="LoadSpec as JSON")
    parser.add_argument("--out", type=Path, required=True, help="directory for the files of this run")
    parser.set_defaults(func=load)


def load(args: argparse.Namespace) -> int:
    """Do what ``args.spec`` says; raises IronbenchError for bad input, before any connection."""
    loads = prepare(args.spec)
    if loads[0].spec.load.backend == WRK2:
        return _load_with_wrk2(loads[0], args.out)
    make_directory(args.out)
    try:
        with _sigterm_raises():
            if loads[0].spec.search is not None:
                loads = _search(loads[0].spec, loads[0].spec.search, args.out)
            recordings = run(loads)
    except _Stopped:
        return STOPPED
    # The own load's load.json comes last: it says that all files are there.
    background = [_write(args.out / BACKGROUND, *one) for one in zip(loads[1:], recordings[1:], strict=True)]
    result = _write(args.out, loads[0], recordings[0])
    _tell(result, "")
    for other in background:
        _tell(other, "background: ")
    shift_ns = recordings[0].realtime_shift_ns
    if abs(shift_ns) >= MAX_SHIFT_NS:
        print(f"ironbench: CLOCK_REALTIME moved by {shift_ns / 1e6:.1f} ms in the window.", file=sys.stderr)
    return 0 if all(one.gate.ok for one in (result, *background)) else GATE_FAILED


def _search(spec: LoadSpec, search: Search, out: Path) -> list[Prepared]:
    """Try rates, write search.json, and return the load at the rate that was found."""
    steps: list[SearchStep] = []
    while (rate := next_rate(search, steps)) is not None:
        (step,) = settle(_at(spec, rate, warmup_s=search.warmup_s, window_s=search.step_s, idle_s=0.0))
        (recording,) = run([step], gate_after=False)
        if not recording.gate.ok:  # the run itself fails its gate, and says so
            return settle(spec)
        steps.append(judge_step(search, rate, load_result(step, recording, durations(recording.window))))
    found = search_result(search, steps)
    (out / SEARCH).write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return settle(_at(spec, found.highest_rps or search.from_rate))


def _at(spec: LoadSpec, rate: float, **changes: float) -> LoadSpec:
    return msgspec.structs.replace(spec, load=msgspec.structs.replace(spec.load, rate=rate), **changes)


def _load_with_wrk2(prepared: Prepared, out: Path) -> int:
    wrk2.check(prepared)
    make_directory(out)
    try:
        with _sigterm_raises():
            result = wrk2.run(prepared, out)
    except _Stopped:
        return STOPPED
    _tell(result, "")
    return 0 if result.gate.ok else GATE_FAILED


def _write(out: Path, prepared: Prepared, recording: Recording) -> LoadResult:
    make_directory(out)
    measured = durations(recording.window)
    result = load_result(prepared, recording, measured)
    write(out, result, measured, rows(recording))
    return result


def _tell(result: LoadResult, whose: str) -> None:
    """Print why there was no load, or what the generator warns of."""
    if not result.gate.ok:
        print(f"ironbench: {whose}{result.gate.detail}", file=sys.stderr)
    elif result.gate_after is not None and not result.gate_after.ok:
        print(f"ironbench: {whose}after the window: {result.gate_after.detail}", file=sys.stderr)
    if result.bodies_wrong:
        print(
            f"ironbench: {whose}{result.bodies_wrong} of {result.bodies_sampled} answers that were looked at were "
            f"wrong: {result.body_detail}",
            file=sys.stderr,
        )
    if result.alarms:
        details = "; ".join(alarm.detail for alarm in result.alarms)
        print(f"ironbench: {whose}saturation alarm: {details}.", file=sys.stderr)


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
