"""The command ``ironbench selftest``."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from hdrh.histogram import HdrHistogram

from ironbench.collect.wrk2 import quantiles
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record
from ironbench.importing.files import read_wrk2
from ironbench.judge import WRK2
from ironbench.load.histogram import Histograms
from ironbench.load.wrk2 import LOG
from ironbench.records import Backend, LoadResult
from ironbench.selftest.cases import CASES, TOLERANCE, Measured, clear_in_s, figures

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ironbench.records import LoadSpec
    from ironbench.selftest.cases import Case, Figure

BEYOND = 1
_SPARE_S = 30.0
"""What a backend may take beyond window and drain: start, connecting, and writing."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench selftest``."""
    parser = subparsers.add_parser(
        "selftest",
        help="prove a load generator against servers with known behaviour",
        description=(
            "Start servers with known stalls, capacity, resets, errors, silences and dripped answers on "
            "loopback, put the load generator on each, and print what it must find beside what it found. "
            f"Takes less than a minute. Exit status: 0, or 1 when a figure is more than {TOLERANCE:.0%} off."
        ),
    )
    parser.add_argument("--backend", choices=get_args(Backend), default="ironbench", help="load generator")
    parser.set_defaults(func=selftest)


def selftest(args: argparse.Namespace) -> int:
    """Run all cases and print the table."""
    print(f"{'server':<10} {'figure':<36} {'expected':>10} {'measured':>10} {'off':>8}")
    beyond = 0
    for case in CASES:
        if reason := case.not_asked.get(args.backend):
            print(f"{case.behaviour:<10} not asked: {reason}")
            continue
        measured = measure(case, args.backend)
        for figure in figures(case, measured):
            print(line(figure), flush=True)
            beyond += not figure.ok
        for alarm in measured.result.alarms:
            print(f"{case.behaviour:<10} alarm: {alarm.detail}")
    if beyond:
        print(
            f"{beyond} figures are more than {TOLERANCE:.0%} off: do not trust {args.backend} on this host."
        )
        return BEYOND
    print(f"{args.backend}: all figures are within {TOLERANCE:.0%}.")
    return 0


def line(figure: Figure) -> str:
    """Format one line of the table."""
    mark = "" if figure.ok else "  <-- beyond"
    return (
        f"{figure.case:<10} {figure.name:<36} {figure.expected:>10.2f} {figure.measured:>10.2f} "
        f"{figure.difference:>+8.2%}{mark}"
    )


def measure(case: Case, backend: Backend) -> Measured:
    """Start the case's server, put the generator on it, and read what it wrote."""
    if case.behaviour == "stalling":
        time.sleep(clear_in_s(time.time()))
    with _server(case.behaviour) as base_url, tempfile.TemporaryDirectory(prefix="ironbench-") as directory:
        spec = case.spec(base_url, backend)
        return _run(spec, Path(directory))


def _run(spec: LoadSpec, directory: Path) -> Measured:
    (directory / "spec.json").write_bytes(encode_record(spec))
    out = directory / "out"
    command = [_ironbench(), "load", "--spec", str(directory / "spec.json"), "--out", str(out)]
    limit_s = spec.window_s + spec.drain_s + _SPARE_S
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, timeout=limit_s)
    if done.returncode:
        raise IronbenchError(f"the load generator failed ({done.returncode}): {done.stderr.strip()}")
    result = read_record(out / "load.json", LoadResult)
    if spec.load.backend == WRK2:
        corrected = read_wrk2(out / LOG).corrected
        (p95,) = quantiles([corrected], [0.95])
        return Measured(spec=spec, result=result, corrected_p95_ms=p95, service_time=None)
    histograms = read_record(out / "histograms.json", Histograms)
    latency, service_time = map(HdrHistogram.decode, (histograms.latency, histograms.service_time))
    return Measured(
        spec=spec,
        result=result,
        corrected_p95_ms=latency.get_value_at_percentile(95) / 1000,
        service_time=service_time,
    )


def _ironbench() -> str:
    return str(Path(sys.executable).with_name("ironbench"))


@contextlib.contextmanager
def _server(behaviour: str) -> Iterator[str]:
    command = [sys.executable, "-m", "ironbench.selftest.server", behaviour]
    # It ends when its stdin does, so it cannot outlive this process.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise IronbenchError(f"the server {behaviour} did not start; its error is above.")
        yield f"http://127.0.0.1:{port}"
