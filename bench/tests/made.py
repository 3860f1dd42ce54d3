"""Hand-made records, raw directories and bundles for the tests of the controller's side.

The window starts at START; a run lasts from START - 20 s to START + 12 s.
"""

import gzip
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from ironbench import bundle as bundles
from ironbench import seals
from ironbench.archive import pack
from ironbench.load import histogram
from ironbench.plan import make_plan, make_session, next_run
from ironbench.records import (
    SCHEMA,
    Affinity,
    Background,
    Collected,
    CoreLayout,
    CoreUse,
    CpuCheck,
    Expectation,
    Experiment,
    Gate,
    Host,
    HostCommands,
    Load,
    LoadResult,
    PlannedRun,
    Protocol,
    RequestTemplate,
    Service,
    ServiceCpu,
    Session,
    Snapshot,
    Study,
    UnitState,
)

S = 10**9
SECOND = 1_790_000_000
START = SECOND * S + 50_000_000
WINDOW_S = 8
DRAINED = START + WINDOW_S * S + 200_000_000
VARIANTS = ["baseline", "optimization-1", "final"]
UNITS: dict[Any, str] = {
    "app": "auth-app@{variant}",
    "postgresql": "postgresql",
    "pgbouncer": "pgbouncer",
    "valkey": "valkey",
}
LAYOUT = CoreLayout(
    name="eight", app="0-1", database="2-3", cache="4", load_generator="6-7", housekeeping="5"
)
PACKED = CoreLayout(
    name="two", app="0-1", database="0-1", cache="0-1", load_generator="0-1", housekeeping="0-1", packed=True
)
replace = msgspec.structs.replace


def experiment(rate=3.0, **changes):
    request = RequestTemplate(
        method="POST",
        path="/signin",
        form={"username": "{user.email}"},
        expect=Expectation(status=204),
    )
    load = Load(rate=rate, connections=4, threads=2, arrivals="wrk2-phase")
    made = Experiment(title="POST /signin", request=request, load=load, variants=VARIANTS, users=1)
    return replace(made, **changes)


def background(rate=2.0):
    """Make a background of signups."""
    request = RequestTemplate(
        method="POST", path="/signup", json={"email": "{unique}"}, expect=Expectation(status=201)
    )
    return Background(request=request, load=Load(rate=rate, connections=2, threads=2, arrivals="even"))


def study(**changes):
    made = Study(
        schema=SCHEMA,
        name="made",
        title="Made",
        source="a test",
        protocols={
            "quick": Protocol(blocks=3, warmup_s=2, window_s=WINDOW_S),
            "short": Protocol(blocks=1, warmup_s=2, window_s=WINDOW_S),
        },
        experiments={"signin": experiment(), "me": experiment(rate=60.0, title="GET /me")},
    )
    return replace(made, **changes)


def plan(protocol="quick", *, seed=7, retries=1, experiments=(), variants=(), of=None):
    return make_plan(
        of or study(),
        protocol,
        plan_id="made",
        seed=seed,
        retries=retries,
        experiments=list(experiments),
        variants=list(variants),
    )


def host(layout=LAYOUT, name="box", groups=("app", "database", "cache", "load_generators")):
    cpus = {"app": layout.app, "postgresql": layout.database, "pgbouncer": layout.database}
    cpus["valkey"] = layout.cache
    return Host(
        schema=SCHEMA,
        name=name,
        groups=list(groups),
        layout=layout,
        services=[Service(name=s, unit=f"{u}.service", cpus=cpus[s]) for s, u in UNITS.items()],
        commands=HostCommands(prepare=["true"]),
        base_url="http://127.0.0.1:8000",
        health_path="/healthz",
        state_dir="/var/lib/ironbench",
        slice="bench.slice",
    )


def unit(service="app", **changes):
    made = UnitState(
        service=service,
        unit=f"{service}.service",
        active="active",
        result="success",
        invocation=f"{service}-1",
        main_pid=100,
        restarts=0,
        pids=[100, 101, 102],
        cgroup=f"/bench.slice/{service}.service",
        nofile_soft=65535,
        nofile_hard=65535,
        affinity=[Affinity(service=service, pid=100, wanted="0-1", effective="0-1", ok=True)],
    )
    return replace(made, **changes)


def snapshot(at_s, **changes):
    ns = START + at_s * S
    made = Snapshot(
        schema=SCHEMA,
        ns=ns,
        monotonic_ns=ns - 1_000 * S,
        units=[unit(service) for service in UNITS],
        throttled={"0": 3, "1": 3},
        observers={"ironbench-sar.service": "active", "ironbench-cgroup.service": "active"},
    )
    return replace(made, **changes)


def latencies(mean_ms=60.0, count=24):
    """Durations in ns around a mean, spread by a tenth to either side."""
    return [int((mean_ms * (0.9 + 0.2 * i / max(1, count - 1))) * 1e6) for i in range(count)]


@cache
def _summary(durations_ns):
    return histogram.summarise(histogram.of_durations(durations_ns))


def load_result(durations_ns=None, *, rate=3.0, gate=None, **changes):
    durations_ns = latencies(count=round(rate * WINDOW_S)) if durations_ns is None else durations_ns
    count = len(durations_ns)
    none, summary = _summary(()), _summary(tuple(durations_ns))
    made = LoadResult(
        schema=SCHEMA,
        backend="ironbench",
        offered_rps=count / WINDOW_S,
        achieved_rps=count / WINDOW_S,
        scheduled=count,
        sent=count,
        completed=count,
        unsent=0,
        window_s=WINDOW_S,
        idle_from_ns=START - 1_500_000_000,
        idle_until_ns=START,
        first_send_ns=START,
        window_end_ns=START + WINDOW_S * S,
        drained_ns=DRAINED,
        latency=summary,
        service_time=summary,
        own_send_lag=none,
        system_send_lag=none,
        statuses={"204": count},
        unexpected_status=0,
        errors={},
        reconnects=0,
        gate=gate or Gate(ok=True, status=204, detail="", body_bytes=0),
        warmup_requests=6,
        cpu_ms=20.0,
        cpu_share=0.01,
        local_ports=[40000],
    )
    return replace(made, **changes)


def core(cpu, **changes):
    made = CoreUse(
        cpu=cpu, usr=50.0, sys=5.0, iowait=0, irq=0, soft=0, steal=0, idle=45.0, busy=55.0,
        usr_whole_record=40.0, host="box",
    )  # fmt: skip
    return replace(made, **changes)


def service_cpu(service="app", per_request_ms=58.0, **changes):
    made = ServiceCpu(
        service=service, cgroup=f"/bench.slice/{service}.service", cpus="0-1", total_ms=per_request_ms * 24,
        idle_ms_per_s=0.0, net_ms=per_request_ms * 24, per_request_ms=per_request_ms, host="box",
    )  # fmt: skip
    return replace(made, **changes)


def planned(**changes):
    return replace(PlannedRun(position=1, experiment="signin", block=1, variant="baseline"), **changes)


# --- raw directories ---------------------------------------------------------------------------


def write_raw(
    raw,
    session,
    *,
    layout=LAYOUT,
    app_share=0.3,
    durations_ns=None,
    load=None,
    background_load=None,
    background_durations_ns=None,
    before=None,
    after=None,
    foreign=0.0,
    steal=0.0,
    quiet_share=0.0,
    late_share=0.0,
    slow_callbacks=None,
    search=None,
    measured=None,
):
    """Write what one host leaves behind; the app uses ``app_share`` of each of its CPUs in the window.

    It uses ``quiet_share`` of them in the quiet time before, and ``late_share`` in the second after. ``slow_callbacks``
    makes the debug log of a session's app; ``measured`` is the content of measured.json.
    """
    directory = raw / "box"
    rate = session.experiment.load.rate
    durations_ns = latencies(count=round(rate * WINDOW_S)) if durations_ns is None else durations_ns
    _write_load(directory / "load", load or load_result(durations_ns, rate=rate), durations_ns)
    if beside := session.experiment.background:
        durations_ns = background_durations_ns
        if durations_ns is None:
            durations_ns = latencies(200.0, round(beside.load.rate * WINDOW_S))
        result = background_load or load_result(durations_ns, statuses={"201": len(durations_ns)})
        _write_load(directory / "load/background", result, durations_ns)
    here = host(layout)
    for name, record in {
        "session.json": session,
        "host.json": here,
        "before.json": before or snapshot(-20),
        "after.json": after or snapshot(10),
    }.items():
        (directory / name).write_bytes(msgspec.json.encode(record))
    (directory / "cgroup.jsonl").write_text(_cgroup(app_share, foreign, quiet_share, late_share))
    (directory / "sar.json").write_text(_sar(app_share, foreign, steal))
    (directory / "sar.txt").write_text("sar\n")
    if slow_callbacks is not None:
        (directory / "slow_callbacks.jsonl").write_bytes(slow_callbacks(session))
    if search is not None:
        (directory / "load/search.json").write_bytes(msgspec.json.encode(search))
    if measured is not None:
        (directory / "measured.json").write_text(json.dumps(measured))
    (directory / "journal.txt").write_text("")
    return raw


def _write_load(directory, result, durations_ns):
    directory.mkdir(parents=True)
    (directory / "load.json").write_bytes(msgspec.json.encode(result))
    (directory / "histograms.json").write_bytes(msgspec.json.encode(_histograms(durations_ns)))
    (directory / "latency.hgrm").write_text(histogram.hgrm(histogram.of_durations(durations_ns)))
    step = WINDOW_S * S // max(1, len(durations_ns))
    rows = ["connection,intended_ns,sent_ns,done_ns,outcome"]
    for i, duration in enumerate(durations_ns):
        due = START + i * step
        rows.append(f"{i % 4},{due},{due},{due + duration},204")
    (directory / "requests.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode() + b"\n"))


def _histograms(durations_ns):
    encoded = histogram.encode(histogram.of_durations(durations_ns))
    none = histogram.encode(histogram.of_durations([]))
    return histogram.Histograms(
        latency=encoded, service_time=encoded, own_send_lag=none, system_send_lag=none
    )


def _shares(app_share):
    """Make the busy share of each CPU in the window."""
    return (app_share, app_share, 0.11, 0.11, 0.02, 0.0, 0.01, 0.01)


def _cgroup(app_share, foreign, quiet_share, late_share):
    rates = {
        "app": 2 * app_share,
        "postgresql": 0.2,
        "pgbouncer": 0.02,
        "valkey": 0.02,
        "load_generator": 0.02,
    }
    cgroups = {name: f"/bench.slice/{name}" for name in rates}
    cgroups |= {"/bench.slice": "/bench.slice", "/system.slice": "/system.slice"}
    lines = [json.dumps({"schema": SCHEMA, "cgroups": cgroups, "cpus": list(range(8))})]
    for tenth in range(-30, 120):
        ns = SECOND * S + tenth * S // 10
        in_window = min(max(ns - START, 0), DRAINED - START) / S
        # Of each of the app's two CPUs, seconds of work outside of the window.
        outside = quiet_share * min(max(ns - START + 1.5 * S, 0), 1.5 * S) / S
        outside += late_share * min(max(ns - DRAINED, 0), S) / S
        usage = [round(1e6 * rate * in_window) for rate in rates.values()]
        usage[0] += round(1e6 * 2 * outside)
        usage += [sum(usage), round(1e6 * 0.01 * (tenth + 30) / 10)]
        elapsed = (tenth + 30) / 10
        busy = [
            (share + (foreign if cpu < 2 else 0)) * in_window + (outside if cpu < 2 else 0)
            for cpu, share in enumerate(_shares(app_share))
        ]
        stat = [[0, 0, 0, round(100 * (elapsed - b)), 0, 0, 0, 0] for b in busy]
        lines.append(json.dumps([ns, usage, stat, [3500.0] * 8]))
    return "\n".join(lines) + "\n"


def _sar(app_share, foreign, steal):
    shares = dict(enumerate(_shares(app_share)))
    statistics = []
    for second in range(-2, 12):
        stamp = datetime.fromtimestamp(SECOND + second, UTC)
        loaded = min(max(second, 0), 9) - min(max(second - 1, 0), 9)  # 1 for the seconds 0 to 9
        span = 1.0 if second <= 8 else 0.25
        cpus = []
        for cpu, share in shares.items():
            usr = 100 * (share * span + (foreign if cpu < 2 else 0)) * loaded
            zeros = dict.fromkeys(("nice", "sys", "iowait", "irq", "soft", "guest", "gnice"), 0.0)
            cpus.append({"cpu": str(cpu), "usr": usr, **zeros, "steal": steal, "idle": 100 - usr - steal})
        statistics.append(
            {
                "timestamp": {
                    "date": f"{stamp:%Y-%m-%d}",
                    "time": f"{stamp:%H:%M:%S}",
                    "utc": 1,
                    "interval": 1,
                },
                "cpu-load": cpus,
                "process-and-context-switch": {"proc": 0.0, "cswch": 500.0 + 1500.0 * loaded},
                "queue": {"runq-sz": 1 + 4 * loaded, "plist-sz": 200},
            }
        )
    return json.dumps({"sysstat": {"hosts": [{"nodename": "box", "statistics": statistics}]}})


def handed_in(raw, *, started_ns=START - 25 * S):
    """Make what the hosts of a raw directory hand in for sealing: a line each."""
    lines = []
    for directory in sorted(path for path in raw.iterdir() if path.is_dir()):
        session = msgspec.json.decode((directory / "session.json").read_bytes(), type=Session)
        collected = Collected(
            schema=SCHEMA,
            host=directory.name,
            key=session.run.key,
            plan=session.plan,
            generator_exit=0,
            started_ns=started_ns,
            archive=pack(directory),
        )
        lines.append(msgspec.json.encode(collected))
    return b"\n".join(lines)


# --- bundles -----------------------------------------------------------------------------------


def new_bundle(tmp_path, the_plan=None, claims=None):
    """Create a bundle outside of any git working tree."""
    return bundles.create(tmp_path / "results", the_plan or plan(), study(), tmp_path, claims=claims)


def reseal(bundle, *paths):
    """Seal records that a test changed, as somebody would who writes the ledger anew."""
    seals.append(bundle, {path.relative_to(bundle).as_posix(): seals.file_digest(path) for path in paths})


def due(bundle) -> Any:
    """Return the pending run, None when there is none."""
    return next_run(bundles.read_plan(bundle), bundles.read_runs(bundle))


def seal_next(bundle, tmp_path, *, started_ns=None, **changes):
    """Make the pending run's raw outputs and seal them; return the run."""
    run = due(bundle)
    raw = tmp_path / "raw" / run.key
    write_raw(raw, make_session(bundles.read_plan(bundle), run), **changes)
    return bundles.seal(bundle, raw, started_ns=started_ns)


def cpu_check(**changes: Any) -> CpuCheck:
    """Make two instruments that agree, but for ``changes``."""
    agreeing = CpuCheck(
        cpus="0",
        cgroup_ms=1000.0,
        sar_ms=1000.0,
        difference=0.0,
        sampling_error=0.01,
        nonidle_ms=1000.0,
        foreign_ms=0.0,
    )
    return replace(agreeing, **changes)
