"""The command ``ironbench load``."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from ironbench.load.clock import MAX_SHIFT_NS
from ironbench.load.engine import run
from ironbench.load.spec import prepare
from ironbench.load.summary import durations, load_result, rows
from ironbench.load.write import make_directory, write

if TYPE_CHECKING:
    import argparse

    from ironbench.load.engine import Prepared, Recording

GATE_FAILED = 3
STOPPED = 128 + signal.SIGTERM


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``ironbench load``."""
    parser = subparsers.add_parser(
        "load",
        help="run one load window against a server",
        description=(
            "Connect, check the endpoint's answer, warm up, measure one window, drain, and write load.json, "
            "latency.hgrm, histograms.json and requests.csv.gz. Exit status: 0 measured, 2 bad input, 3 "
            "the answer is not the expected one (no load was made), 143 stopped by SIGTERM (nothing written)."
        ),
    )
    parser.add_argument("--spec", type=Path, required=True, help="LoadSpec as JSON")
    parser.add_argument("--out", type=Path, required=True, help="directory for the files of this run")
    parser.set_defaults(func=load)


def load(args: argparse.Namespace) -> int:
    """Do what ``args.spec`` says; raises IronbenchError for bad input, before any connection."""
    prepared = prepare(args.spec)
    make_directory(args.out)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        recording = runner.run(_run_until_stopped(prepared))
    if recording is None:
        return STOPPED
    measured = durations(recording.window)
    result = load_result(prepared, recording, measured)
    write(args.out, result, measured, rows(recording))
    if not result.gate.ok:
        print(f"ironbench: {result.gate.detail}", file=sys.stderr)
        return GATE_FAILED
    if abs(recording.realtime_shift_ns) >= MAX_SHIFT_NS:
        shift_ms = recording.realtime_shift_ns / 1e6
        print(f"ironbench: CLOCK_REALTIME moved by {shift_ms:.1f} ms in the window.", file=sys.stderr)
    return 0


async def _run_until_stopped(prepared: Prepared) -> Recording | None:
    """Run; None after SIGTERM. A fault in a callback ends the run instead of hanging it."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(run(prepared))
    faults: list[dict[str, Any]] = []

    def on_fault(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        faults.append(context)
        task.cancel()

    loop.set_exception_handler(on_fault)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        if faults:
            raise RuntimeError(faults[0]["message"]) from faults[0].get("exception")
        return None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
