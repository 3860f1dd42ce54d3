"""Does what wrk2 does, slowly: its options, its Lua calls in LuaJIT, real requests, its output.

All connections of a thread fire together. Two things it does for tests alone: it writes its arguments
and the mode of its script to the file STANDIN_TOLD, and ends at once with status 1 for STANDIN_FAILS.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from lupa import luajit20

parser = argparse.ArgumentParser()
for name in ("threads", "connections", "duration", "rate", "timeout", "script"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--latency", action="store_true", required=True)
parser.add_argument("--u_latency", action="store_true", required=True)
parser.add_argument("url")
options = parser.parse_args()
THREADS, CONNECTIONS = int(options.threads), int(options.connections)
SECONDS = int(options.duration.removesuffix("s"))
EACH = int(options.rate) / CONNECTIONS
URL = urlsplit(options.url)


def state():
    """Return a Lua state that has run the script; wrk2 reports a fault and goes on with a script of its own."""
    lua = luajit20.LuaRuntime(encoding="latin-1")  # pyright: ignore[reportCallIssue] - lupa's stub lacks it
    try:
        lua.execute(Path(options.script).read_text("latin-1"))
    except luajit20.LuaError as error:
        print(f"{options.script}: {error}")
        lua.execute(f"function request() return 'GET {URL.path} HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n' end")
    return lua


class Connection:
    def __init__(self, lua, lock):
        self.lua, self.lock = lua, lock
        self.samples, self.non_2xx, self.read_errors = [], 0, 0

    def run(self, start):
        connection = None
        for number in range(int(EACH * SECONDS)):
            due = start + number / EACH
            time.sleep(max(0, due - time.monotonic()))
            with self.lock:
                request = self.lua.eval("request()").encode("latin-1")
            if connection is None:
                connection = http.client.HTTPConnection(URL.hostname or "", URL.port, timeout=5)
                connection.connect()
            sent = time.monotonic()
            try:
                connection.sock.sendall(request)
                answer = http.client.HTTPResponse(connection.sock)
                answer.begin()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.read_errors += 1
                connection.close()
                connection = None
                continue
            done = time.monotonic()
            self.samples.append((round((done - due) * 1e6), round((done - sent) * 1e6)))
            self.non_2xx += answer.status >= 400


def block(kind, samples):
    """Print a distribution with a step for each sample."""
    samples = sorted(samples)
    print(f"  Latency Distribution (HdrHistogram - {kind})")
    for percentile in (50, 75, 90, 99, 99.9, 99.99, 99.999, 100):
        value = samples[max(1, int(percentile / 100 * len(samples) + 0.5)) - 1] if samples else 0
        print(f"{percentile:7.3f}% {value / 1000:8.2f}ms")
    print("\n  Detailed Percentile spectrum:")
    print("       Value   Percentile   TotalCount 1/(1-Percentile)\n")
    for count, value in enumerate(samples[:-1], 1):
        level = (count - 1) / len(samples)
        print(f"{value / 1000:12.3f} {level:12.6f} {count:12d} {1 / (1 - level):12.2f}")
    print(f"{samples[-1] / 1000 if samples else 0:12.3f}     1.000000 {len(samples):12d}          inf")
    mean, stdev = moments(samples)
    print(f"#[Mean    = {mean:12.3f}, StdDeviation   = {stdev:12.3f}]")
    print(f"#[Max     = {max(samples, default=0) / 1000:12.3f}, Total count    = {len(samples):12d}]")
    print("#[Buckets =           27, SubBuckets     =         2048]")
    print("-" * 58)


def moments(samples):
    if not samples:
        return float("nan"), float("nan")
    return statistics.fmean(samples) / 1000, statistics.pstdev(samples) / 1000


def prepare():
    """Give each thread its Lua state, as wrk2 does, and return the connections."""
    first = state()
    connections = []
    for _ in range(THREADS):
        lua, lock = state(), threading.Lock()
        if first.eval("setup ~= nil"):
            first.execute("told = {set = function(_, _, value) told.value = value end}; setup(told)")
            lua.execute(f"ironbench_thread = {first.eval('told.value')}; init({{}})")
        if not connections:
            lua.eval("request()")  # the check of the request, which is not sent
        connections += [Connection(lua, lock) for _ in range(CONNECTIONS // THREADS)]
    return connections


def main():
    if "STANDIN_TOLD" in os.environ:
        told = {"argv": sys.argv[1:], "mode": Path(options.script).stat().st_mode & 0o777}
        Path(os.environ["STANDIN_TOLD"]).write_text(json.dumps(told))
    if "STANDIN_FAILS" in os.environ:
        sys.exit("unable to connect to nowhere")
    connections = prepare()
    start = time.monotonic()
    threads = [threading.Thread(target=connection.run, args=(start,)) for connection in connections]
    print(
        f"Running {SECONDS}s test @ {options.url}\n  {THREADS} threads and {CONNECTIONS} connections",
        flush=True,
    )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(max(0, start + SECONDS - time.monotonic()))
    took = time.monotonic() - start
    samples = [sample for connection in connections for sample in connection.samples]
    corrected, uncorrected = [pair[0] for pair in samples], [pair[1] for pair in samples]
    mean, stdev = moments(corrected)
    print("  Thread Stats   Avg      Stdev     Max   +/- Stdev")
    print(f"    Latency  {mean:8.2f}ms {stdev:8.2f}ms {max(corrected, default=0) / 1000:8.2f}ms   70.00%")
    print("    Req/Sec      -nan      -nan   0.00      0.00%")
    block("Recorded Latency", corrected)
    print()
    block("Uncorrected Latency (measured without taking delayed starts into account)", uncorrected)
    print(f"  {len(samples)} requests in {took:.2f}s, 1.00KB read")
    if errors := sum(connection.read_errors for connection in connections):
        print(f"  Socket errors: connect 0, read {errors}, write 0, timeout 0")
    if non_2xx := sum(connection.non_2xx for connection in connections):
        print(f"  Non-2xx or 3xx responses: {non_2xx}")
    print(f"Requests/sec: {len(samples) / took:9.2f}\nTransfer/sec:      1.00KB")


main()
