"""What the playbook runs on the app's host, as root: ``python -m benchmarks.host VERB``.

``describe`` prints the environment; ``block`` reads a MeasureRequest from stdin, measures one block
and prints it; ``stop`` ends what an interrupted block left. Faults are one sentence.
"""

from __future__ import annotations

import fcntl
import os
import random
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from ironbench.collect.cgroup import JIFFY_MS, STAT_COLUMNS
from ironbench.cpus import parse_cpu_list
from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record
from ironbench.host import facts
from ironbench.host.cli import DESCRIPTION
from ironbench.records import SCHEMA, CoreLayout, Host

from .clients import HttpClient
from .endpoints import AUTH, ENDPOINTS, order
from .records import Block, Burst, Environment, MeasureRequest, Plan, Sample, Timings
from .servers import HOME, Running, cgroup_of, online_cpus, running, stop, usage_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICES = ("postgresql", "pgbouncer", "valkey")
SETTINGS = Path("/etc/auth-app/settings.toml")
SETTLE_S = 0.02
"""Before each reading: what a server does after it has answered (closing a connection) is a few ms."""
LOCK = Path("/run/benchmark-app.lock")
"""Held while a block is measured; the playbook looks at it before it changes anything."""
QUIET_S = 3.0
PACKAGES = (
    *("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "msgspec", "sqlalchemy"),
    *("asyncpg", "advanced-alchemy", "cashews", "fastapi-cache2", "redis", "pyjwt", "joserfc"),
    *("cryptography", "pwdlib", "argon2-cffi", "argon2-cffi-bindings"),
)


def main() -> int:
    verbs: dict[str, Callable[[Host], msgspec.Struct | None]] = {
        "describe": _describe,
        "block": _block,
        "stop": _stop,
    }
    try:
        answer = verbs[sys.argv[1]](read_record(DESCRIPTION, Host))
    except IronbenchError as error:
        print(f"benchmark-app: {error}", file=sys.stderr)
        return 2
    if answer is not None:
        sys.stdout.buffer.write(encode_record(answer))
    return 0


def choose_cpus(layout: CoreLayout, online: list[int]) -> tuple[int, list[int]]:
    """Return the one CPU of the servers, and those of the driver.

    The servers get the last of the app's CPUs, if possible one without a service; the driver the load
    generator's, less that one, else all others. Raises IronbenchError where there is only one CPU.
    """
    app = parse_cpu_list(layout.app)
    services = parse_cpu_list(f"{layout.database},{layout.cache}")
    server = max([cpu for cpu in app if cpu not in services] or app)
    driver = [cpu for cpu in parse_cpu_list(layout.load_generator) if cpu != server]
    driver = driver or [cpu for cpu in online if cpu != server]
    if not driver:
        raise IronbenchError("the servers need a CPU of their own, and this host has no other: use two.")
    return server, driver


def _describe(host: Host) -> Environment:
    app_cpu, driver_cpus = choose_cpus(host.layout, online_cpus())
    with SETTINGS.open("rb") as file:
        prepared = tomllib.load(file)["database"].get("prepared_statements", False)
    return Environment(
        schema=SCHEMA,
        facts=facts.describe(host),
        app_cpu=app_cpu,
        driver_cpus=driver_cpus,
        service_cpus={each.name: each.cpus for each in host.services if each.name in SERVICES},
        prepared_statements=prepared,
        versions={
            path.parent.name: _versions(path / "bin" / "python") for path in sorted(HOME.glob("*/venv"))
        },
    )


def _versions(python: Path) -> dict[str, str]:
    code = (
        "import json, platform; from importlib.metadata import version;"
        f"print(json.dumps({{'python': platform.python_version(), **{{p: version(p) for p in {PACKAGES}}}}}))"
    )
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True)
    return msgspec.json.decode(done.stdout)


def _stop(_: Host) -> None:
    with _alone():
        stop()


def _block(host: Host) -> Block:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=MeasureRequest)
    with _alone():
        return _measure_block(host, request)


@contextmanager
def _alone() -> Iterator[None]:
    """Refuse a second driver: one of a run that was broken off may still be at it."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise IronbenchError("another block is being measured here: wait until it has ended.") from error
        yield


def _measure_block(host: Host, request: MeasureRequest) -> Block:
    plan = request.plan
    app_cpu, driver_cpus = choose_cpus(host.layout, online_cpus())
    os.sched_setaffinity(0, driver_cpus)
    started, start = datetime.now(UTC), time.monotonic()
    services = {each.name: cgroup_of(each.unit) for each in host.services if each.name in SERVICES}
    with running(plan.servers, app_cpu, host) as servers:
        for name in plan.servers:
            _warm_up(plan, name, servers[name])
        before = _look_at(app_cpu, servers)
        samples = [_measure(burst, servers[burst.server], services) for burst in order(plan, request.block)]
        timings = _time_refusals(plan, request.block, servers)
        after = _look_at(app_cpu, servers)
        idle = _idle(servers, services)
    passed, off, steal, own = (late - early for early, late in zip(before, after, strict=True))
    return Block(
        schema=SCHEMA,
        number=request.block,
        started=f"{started:%Y-%m-%d %H:%M:%S} UTC",
        took_s=time.monotonic() - start,
        samples=samples,
        timings=timings,
        idle_us_per_s=idle,
        foreign=(passed - off - own) / passed,
        steal=100 * steal / passed,
    )


def _warm_up(plan: Plan, name: str, server: Running) -> None:
    endpoints = {burst.endpoint for burst in plan.bursts if burst.server == name}
    server.client.begin()
    if isinstance(server.client, HttpClient) and (endpoints & set(AUTH) or name in plan.timed):
        server.client.have_user()
    for endpoint in sorted(endpoints):
        server.client.perform(endpoint, ENDPOINTS[endpoint].warm_up)


def _measure(burst: Burst, server: Running, services: dict[str, Path]) -> Sample:
    endpoint = ENDPOINTS[burst.endpoint]
    server.client.begin()
    server.client.perform(burst.endpoint, endpoint.lead)
    cgroups = {"app": server.cgroup, **services}
    time.sleep(SETTLE_S)
    read, before = time.perf_counter(), {name: usage_us(path) for name, path in cgroups.items()}
    started = time.perf_counter()
    server.client.perform(burst.endpoint, endpoint.requests)
    ended = time.perf_counter()
    time.sleep(SETTLE_S)
    cpu_us = {name: usage_us(path) - before[name] for name, path in cgroups.items()}
    return Sample(
        server=burst.server,
        endpoint=burst.endpoint,
        requests=endpoint.requests,
        busy_s=ended - started,
        wall_s=time.perf_counter() - read,
        cpu_us=cpu_us,
    )


def _time_refusals(plan: Plan, block: int, servers: dict[str, Running]) -> dict[str, Timings]:
    draw = random.Random(f"{plan.seed}-{block}-refusals")  # noqa: S311  (an order, not a secret)
    timings = {name: Timings(wrong_password=[], unknown_email=[]) for name in plan.timed}
    for _ in range(plan.pairs):
        for name in draw.sample(plan.timed, len(plan.timed)):
            client = servers[name].client
            assert isinstance(client, HttpClient)
            client.begin()
            for known in draw.sample([True, False], 2):
                kind = timings[name].wrong_password if known else timings[name].unknown_email
                kind.append(client.refused_ms(known=known))
    return timings


def _look_at(cpu: int, servers: dict[str, Running]) -> tuple[float, float, float, float]:
    """Return seconds until now: the clock's, the CPU's without work or stolen, stolen, the servers' own.

    The time without work is exact on kernels that stop the tick in idle, as Debian's do; the time with
    work is counted in ticks and is not (ironbench.collect.check).
    """
    lines = Path("/proc/stat").read_text().splitlines()
    fields = next(line for line in lines if line.startswith(f"cpu{cpu} ")).split()[1:]
    ticks = dict(zip(STAT_COLUMNS, map(int, fields), strict=False))
    off = sum(ticks[name] for name in ("idle", "iowait", "steal"))
    own = sum(server.usage_us() for server in servers.values())
    return time.perf_counter(), off * JIFFY_MS / 1e3, ticks["steal"] * JIFFY_MS / 1e3, own / 1e6


def _idle(servers: dict[str, Running], services: dict[str, Path]) -> dict[str, float]:
    cgroups = {name: server.cgroup for name, server in servers.items()} | services
    start, before = time.perf_counter(), {name: usage_us(path) for name, path in cgroups.items()}
    time.sleep(QUIET_S)
    after = {name: usage_us(path) for name, path in cgroups.items()}
    passed = time.perf_counter() - start
    return {name: (after[name] - before[name]) / passed for name in cgroups}


if __name__ == "__main__":
    sys.exit(main())
