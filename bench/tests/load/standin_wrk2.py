"""Does what wrk2 does, slowly: its options, its Lua calls in LuaJIT, its pace, real requests, its output.

As in wrk2 (github.com/giltene/wrk2, src/wrk.c): the connections of a thread begin 5 ms apart, each follows
a schedule of its own by what it has completed, waits whole milliseconds and sends at once when it is
behind; one that fails is opened anew and sends in the same place of its schedule; a thread ends with the
first answer after the time is up, which counts and has no latency, or at a look that it takes every two
seconds. Its calibration after 10 s is missing. What it does for tests alone: it writes its arguments and
the mode of its script to the file STANDIN_TOLD, ends at once with status 1 for STANDIN_FAILS, and for
STANDIN_OMITS counts latency from the send.
"""

import argparse
import http.client
import json
import math
import os
import select
import socket
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
TIMEOUT_S = int(options.timeout.removesuffix("s"))
URL = urlsplit(options.url)
LOOK_EVERY_S = 2.0
STAGGER_S = 0.005


def state():
    """Return a Lua state that has run the script; wrk2 reports a fault and goes on with a script of its own."""
    lua = luajit20.LuaRuntime(encoding="latin-1")  # pyright: ignore[reportCallIssue] - lupa's stub lacks it
    try:
        lua.execute(Path(options.script).read_text("latin-1"))
    except luajit20.LuaError as error:
        print(f"{options.script}: {error}")
        lua.execute(f"function request() return 'GET {URL.path} HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n' end")
    return lua


class Ended(Exception):  # noqa: N818 - no error
    """The thread's time is up."""


class Thread:
    """One of wrk2's threads, with a thread of Python's for each connection and one that looks at the time."""

    def __init__(self, lua, stop):
        self.lua, self.stop = lua, stop
        self.lock = threading.Lock()
        self.wake, self.waker = os.pipe()
        self.ended = 0.0
        self.complete, self.samples, self.non_2xx = 0, [], 0
        self.connect_errors, self.read_errors, self.timeouts = 0, 0, 0
        self.sent = [0.0] * (CONNECTIONS // THREADS)
        self.start = time.monotonic()
        self.runs = [threading.Thread(target=self.look)]
        self.runs += [threading.Thread(target=self.drive, args=(n,)) for n in range(len(self.sent))]
        for run in self.runs:
            run.start()

    def join(self):
        for run in self.runs:
            run.join()

    def wait(self, until=None, reading=()):
        """Wait until a time or for something to read; raises Ended when the thread does."""
        seconds = None if until is None else max(0, until - time.monotonic())
        if self.wake in select.select([self.wake, *reading], [], [], seconds)[0]:
            raise Ended

    def end(self, at):
        """End the thread; whoever holds the lock."""
        self.ended = at
        os.write(self.waker, b"x")

    def look(self):
        at = self.start + STAGGER_S * len(self.sent)
        try:
            while True:
                at += LOOK_EVERY_S
                self.wait(at)
                with self.lock:
                    self.timeouts += sum(sent < at - TIMEOUT_S for sent in self.sent)
                    if at >= self.stop and not self.ended:
                        self.end(at)
        except Ended:
            pass

    def drive(self, number):
        begin = self.start + STAGGER_S * number
        complete, connection = 0, None
        try:
            self.wait(begin)
            while True:
                due = begin + complete / EACH
                late = time.monotonic() - due
                if late < 0:
                    self.wait(time.monotonic() + math.ceil(-late * 1000) / 1000)
                if connection is None:
                    connection = self.connect()
                    continue
                status = self.exchange(number, connection, due)
                if status is None:
                    connection.close()
                    connection = None
                else:
                    complete += 1
        except Ended:
            pass
        finally:
            if connection is not None:
                connection.close()

    def connect(self):
        try:
            return socket.create_connection((URL.hostname or "", URL.port or 80), timeout=5)
        except OSError:
            self.connect_errors += 1
            self.wait(time.monotonic() + 0.001)
            return None

    def exchange(self, number, connection, due):
        """Send a request and return the answer's status, None where there was none."""
        with self.lock:
            request = self.lua.eval("request()").encode("latin-1")
        sent = self.sent[number] = time.monotonic()
        try:
            connection.sendall(request)
            self.wait(reading=[connection])
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.read()
        except (OSError, http.client.HTTPException):
            with self.lock:
                self.read_errors += 1
            return None
        done = time.monotonic()
        with self.lock:
            if self.ended:
                raise Ended
            self.complete += 1
            self.non_2xx += answer.status >= 400
            if done >= self.stop:
                self.end(done)
                raise Ended
            origin = sent if "STANDIN_OMITS" in os.environ else due
            self.samples.append((round((done - origin) * 1e6), round((done - sent) * 1e6)))
        return answer.status


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


def start_threads():
    """Give each thread its Lua state and start it; the time runs from before the first of them, as in wrk2."""
    first = state()
    stop = time.monotonic() + SECONDS
    threads = []
    for _ in range(THREADS):
        lua = state()
        if first.eval("setup ~= nil"):
            first.execute("told = {set = function(_, _, value) told.value = value end}; setup(told)")
            lua.execute(f"ironbench_thread = {first.eval('told.value')}; init({{}})")
        if not threads:
            lua.eval("request()")  # the check of the request, which is not sent
        threads.append(Thread(lua, stop))
    return threads


def main():
    if "STANDIN_TOLD" in os.environ:
        told = {"argv": sys.argv[1:], "mode": Path(options.script).stat().st_mode & 0o777}
        Path(os.environ["STANDIN_TOLD"]).write_text(json.dumps(told))
    if "STANDIN_FAILS" in os.environ:
        sys.exit("unable to connect to nowhere")
    threads = start_threads()
    print(
        f"Running {SECONDS}s test @ {options.url}\n  {THREADS} threads and {CONNECTIONS} connections",
        flush=True,
    )
    start = time.monotonic()
    for thread in threads:
        thread.join()
    took = max(thread.ended for thread in threads) - start
    samples = [sample for thread in threads for sample in thread.samples]
    corrected, uncorrected = [pair[0] for pair in samples], [pair[1] for pair in samples]
    mean, stdev = moments(corrected)
    print("  Thread Stats   Avg      Stdev     Max   +/- Stdev")
    print(f"    Latency  {mean:8.2f}ms {stdev:8.2f}ms {max(corrected, default=0) / 1000:8.2f}ms   70.00%")
    print("    Req/Sec      -nan      -nan   0.00      0.00%")
    block("Recorded Latency", corrected)
    print()
    block("Uncorrected Latency (measured without taking delayed starts into account)", uncorrected)
    complete, connect, read, timeouts, non_2xx = (
        sum(getattr(thread, name) for thread in threads)
        for name in ("complete", "connect_errors", "read_errors", "timeouts", "non_2xx")
    )
    print(f"  {complete} requests in {took:.2f}s, 1.00KB read")
    if connect or read or timeouts:
        print(f"  Socket errors: connect {connect}, read {read}, write 0, timeout {timeouts}")
    if non_2xx:
        print(f"  Non-2xx or 3xx responses: {non_2xx}")
    print(f"Requests/sec: {complete / took:9.2f}\nTransfer/sec:      1.00KB")


main()
