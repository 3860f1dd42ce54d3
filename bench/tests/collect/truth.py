"""Hand-made records with a known truth. Times are seconds after T0, a whole second."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
from ironbench.collect.cgroup import Header, Sample
from ironbench.records import SCHEMA, CoreLayout, Gate, Host, Latency, LoadResult, Service

if TYPE_CHECKING:
    from pathlib import Path

T0 = 1_700_000_000_000_000_000
NONE = Latency(count=0, mean=0, stdev=0, p50=0, p75=0, p90=0, p99=0, p999=0, max=0)
CGROUPS = {
    "app": "/bench.slice/auth-app@final.service",
    "postgresql": "/bench.slice/postgresql@17-main.service",
    "load_generator": "/bench.slice/ironbench-load-x.service",
    "slice": "/bench.slice",
    "root": "/",
    "/bench.slice": "/bench.slice",
    "/init.scope": "/init.scope",
    "/system.slice": "/system.slice",
}


def ns(seconds: float) -> int:
    return T0 + round(seconds * 1e9)


def make_host(app="1", database="2-3", load_generator="0", housekeeping="0") -> Host:
    return Host(
        schema=SCHEMA,
        name="one",
        groups=["app", "load_generators"],
        layout=CoreLayout(
            name="x",
            app=app,
            database=database,
            cache="",
            load_generator=load_generator,
            housekeeping=housekeeping,
        ),
        services=[
            Service(name="app", unit="auth-app@{variant}.service", cpus=app),
            Service(name="postgresql", unit="postgresql@17-main.service", cpus=database),
        ],
        commands=None,
        base_url="http://127.0.0.1:8000",
        health_path="/health",
        state_dir="/var/lib/ironbench",
        slice="bench.slice",
    )


def make_load(first: float, drained: float, completed: int, quiet: float = 4) -> LoadResult:
    return LoadResult(
        schema=SCHEMA,
        backend="ironbench",
        offered_rps=100,
        achieved_rps=100,
        scheduled=completed,
        sent=completed,
        completed=completed,
        unsent=0,
        window_s=drained - first,
        idle_from_ns=ns(first - quiet),
        idle_until_ns=ns(first),
        first_send_ns=ns(first),
        window_end_ns=ns(drained),
        drained_ns=ns(drained),
        latency=NONE,
        service_time=NONE,
        own_send_lag=NONE,
        system_send_lag=NONE,
        statuses={},
        unexpected_status=0,
        errors={},
        reconnects=0,
        gate=Gate(ok=True, status=200, detail="", body_bytes=2),
        warmup_requests=0,
        cpu_ms=0,
        cpu_share=0,
        local_ports=[],
    )


def write_record(
    directory: Path, use: dict, until: float, since: float = 0, mhz=lambda _: [], off_ms=lambda _: 0
) -> Path:
    """Write cgroup.jsonl, sampled at whole tenths; ``use`` maps a cgroup to microseconds at a time, ``off_ms`` is of every CPU."""
    lines: list[Header | Sample] = [Header(schema=SCHEMA, cgroups=CGROUPS, cpus=[0, 1, 2])]
    for tenth in range(round(since * 10), round(until * 10)):
        t = tenth / 10 + 0.0003
        usage = [use.get(name, lambda _: 0)(t) for name in CGROUPS]
        lines.append(
            Sample(
                ns(t),
                [None if u is None else round(u) for u in usage],
                [[7, 7, 7, round(off_ms(t) / 10), 0, 7, 7, 0]] * 3,
                list(mhz(t)),
            )
        )
    path = directory / "cgroup.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def sar_json(cpus: dict, until: int, since: int = 0, scheduler: dict | None = None, **stamp: object) -> bytes:
    """Write sadf's JSON; ``cpus`` maps a CPU to its columns in the second that ends at a time.

    ``scheduler`` does so for "queue" (runq-sz) and "process-and-context-switch" (cswch).
    """
    columns = ("usr", "nice", "sys", "iowait", "steal", "irq", "soft", "guest", "gnice")
    statistics = []
    for second in range(since + 1, until + 1):
        seconds = T0 // 10**9 + second
        clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        assert seconds // 86400 == T0 // 10**9 // 86400, "one day only"
        load = []
        for cpu, use in {"all": lambda _: {}, **cpus}.items():
            told = {name: float(use(second).get(name, 0)) for name in columns}
            load.append({"cpu": str(cpu), **told, "idle": 100 - sum(told.values())})
        statistics.append(
            {
                "timestamp": {"date": "2023-11-14", "time": clock, "interval": 1} | (stamp or {"utc": 1}),
                "cpu-load": load,
                **{name: columns(second) for name, columns in (scheduler or {}).items()},
            }
        )
    return json.dumps({"sysstat": {"hosts": [{"nodename": "x", "statistics": statistics}]}}).encode()
