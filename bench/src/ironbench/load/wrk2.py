"""Runs wrk2 in the place of the built-in generator."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import resource
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from ironbench.collect import wrk2
from ironbench.errors import IronbenchError
from ironbench.files import encode_record
from ironbench.judge import WRK2
from ironbench.load.clock import window_start
from ironbench.load.engine import Recording
from ironbench.load.gate import pass_gate, refused
from ironbench.load.limits import wrk2_refusals
from ironbench.load.lua import script
from ironbench.load.pool import Pool
from ironbench.load.spec import read_users
from ironbench.load.summary import durations, load_result
from ironbench.load.template import process_token
from ironbench.load.write import write
from ironbench.records import QUIET_AFTER_S, Experiment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ironbench.load.spec import Prepared
    from ironbench.records import Gate, LoadResult, LoadSpec

PROGRAM = Path("/opt/wrk2/wrk2")
"""Where the role wrk2 puts it."""
LOG = "wrk2.log"
"""What wrk2 printed in the window, as it printed it."""
WARMUP_LOG = "wrk2-warmup.log"


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One run of wrk2; times are of CLOCK_REALTIME."""

    log: wrk2.Wrk2Log
    started_ns: int
    ended_ns: int
    cpu_ms: float
    """Of wrk2, all its threads."""


def check(prepared: Prepared) -> None:
    """Raise IronbenchError for what wrk2 cannot do, and when it is not there."""
    spec = prepared.spec
    here = (
        (spec.processes is None, "processes must be left out"),
        (prepared.address.family != socket.AF_UNIX, "base_url must be http://HOST:PORT"),
        (os.access(PROGRAM, os.X_OK), f"{PROGRAM} is missing, run playbooks/tools.yml with wrk2_enabled"),
    )
    broken = wrk2_refusals(
        spec.load, warmup_s=spec.warmup_s, window_s=spec.window_s, requests_file=spec.requests_file
    )
    for rule in (*broken, *(rule for kept, rule in here if not kept)):
        raise IronbenchError(f"The backend wrk2 cannot run {spec.run}: {rule}.")


def run(prepared: Prepared, out: Path) -> LoadResult:
    """Pass the gate, warm up, rest, run wrk2 for the window, rest, ask the gate again; write all files.

    They are wrk2's logs, latency.hgrm and load.json.

    The window is the whole of wrk2's run, its calibration included, so that the requests and the CPU
    time are those of one interval; only its latencies leave the calibration out. When the gate is not
    passed no load is made, and the files are those that the built-in generator writes of no request.
    Raises IronbenchError when wrk2 fails or prints what cannot be read.
    """
    spec = prepared.spec
    gate = asyncio.run(_gate(prepared, 0))
    if not gate.ok:
        none = durations(None)
        result = load_result(prepared, Recording(gate=gate), none)
        result = msgspec.structs.replace(result, backend=WRK2, processes=1)
        write(out, result, none, ())
        return result
    warmup = _run(prepared, out / WARMUP_LOG, int(spec.warmup_s)) if spec.warmup_s else None
    idle_from = time.time_ns()
    start = window_start(idle_from + round(spec.idle_s * 1e9))
    time.sleep(max(0, start - time.time_ns()) / 1e9)
    ran = _run(prepared, out / LOG, int(spec.window_s))
    time.sleep(max(0, ran.ended_ns + round(QUIET_AFTER_S * 1e9) - time.time_ns()) / 1e9)
    gate_after = asyncio.run(_gate(prepared, prepared.gate_after_number))
    (out / "latency.hgrm").write_text(wrk2.hgrm((out / LOG).read_bytes(), LOG))
    result = msgspec.structs.replace(
        wrk2.load_result(ran.log, str(out / LOG), _experiment(spec), ran.started_ns),
        idle_from_ns=idle_from,
        idle_until_ns=start,
        drained_ns=ran.ended_ns,
        gate=gate,
        gate_after=gate_after,
        warmup_requests=warmup.log.requests if warmup else 0,
        cpu_ms=ran.cpu_ms,
        cpu_share=ran.cpu_ms * 1e6 / (ran.ended_ns - ran.started_ns),
        threads=spec.load.threads,
    )
    return _finish(out, result)


def arguments(spec: LoadSpec, seconds: int, lua: str) -> list[str]:
    """Write the command line: nothing of a user is in it, that is in the file ``lua``."""
    load = spec.load
    # The script says where the requests go; the URL names the server, and the path in the log.
    path = spec.request.path if "{" not in spec.request.path else "/"
    return [
        str(PROGRAM),
        f"--threads={load.threads}",
        f"--connections={load.connections}",
        f"--duration={seconds}s",
        f"--rate={load.rate:.0f}",
        f"--timeout={math.ceil(spec.timeout_s)}s",
        "--latency",
        "--u_latency",
        f"--script={lua}",
        spec.base_url.rstrip("/") + path,
    ]


@contextlib.contextmanager
def script_file(text: bytes) -> Iterator[int]:
    """Give a file with mode 0600 that lives in memory, so nothing is left of it however the run ends."""
    descriptor = os.memfd_create("wrk2.lua")
    try:
        os.fchmod(descriptor, 0o600)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text)
        yield descriptor
    finally:
        os.close(descriptor)


def _run(prepared: Prepared, output: Path, seconds: int) -> Ran:
    spec = prepared.spec
    users = read_users(Path(spec.users_file)) if spec.users_file is not None else []
    host = urlsplit(spec.base_url).netloc
    text = script(spec.request, host, users, process_token(spec.run), spec.load.threads)
    with script_file(text) as descriptor, output.open("wb") as file:
        lua = f"/proc/self/fd/{descriptor}"
        cpu_s = _children_cpu_s()
        started = time.time_ns()
        process = subprocess.Popen(
            arguments(spec, seconds, lua),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            pass_fds=[descriptor],
        )
        try:
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        ended = time.time_ns()
    raw = output.read_bytes()
    # With a script that it cannot load wrk2 goes on, with requests of its own.
    if status or lua.encode() in raw:
        first = raw.decode("utf-8", "replace").strip().partition("\n")[0]
        raise IronbenchError(f"wrk2 failed ({status}): {first or 'it printed nothing'}; see {output}.")
    return Ran(
        log=wrk2.parse(raw, str(output)),
        started_ns=started,
        ended_ns=ended,
        cpu_ms=(_children_cpu_s() - cpu_s) * 1000,
    )


async def _gate(prepared: Prepared, number: int) -> Gate:
    pool = Pool(prepared.address, range(1), prepared.spec.timeout_s)
    try:
        await pool.open()
        return await pass_gate(pool, prepared.stream.render_gate(number), prepared.spec.request.expect)
    except OSError as error:
        return refused(error, prepared.address)
    finally:
        pool.close()


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _experiment(spec: LoadSpec) -> Experiment:
    return Experiment(title=spec.run, request=spec.request, load=spec.load, variants=[])


def _finish(out: Path, result: LoadResult) -> LoadResult:
    """Write load.json last: its presence means that the files are complete."""
    (out / ".load.json.part").write_bytes(encode_record(result))
    (out / ".load.json.part").rename(out / "load.json")
    return result
