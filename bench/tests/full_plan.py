"""A whole plan as a host would leave it: three experiments, four variants and an A/A, every figure made up.

The sizes of effects, of noise and of tails are near those of the article's endpoints on a small machine. Much
faster than sealing run by run: nothing is judged or synced.
"""

import json
import math
import os
import random
from datetime import UTC, datetime

import msgspec
from ironbench import bundle as bundles
from ironbench import seals
from ironbench.files import encode_record
from ironbench.load import histogram
from ironbench.load.seconds import by_second
from ironbench.plan import make_plan, schedule
from ironbench.records import (
    SCHEMA,
    Claim,
    Claims,
    Comparison,
    Expectation,
    Experiment,
    Finding,
    Landing,
    Load,
    Protocol,
    RequestTemplate,
    Run,
    Study,
)

from .made import LAYOUT, SECOND, START, S, core, cpu_check, load_result, reseal, service_cpu

replace = msgspec.structs.replace

VARIANTS = ["baseline", "optimization-1", "final", "beyond"]
RATES = {"signup": 5.0, "signin": 3.0, "me": 600.0}
APP_CPU_MS = {
    "signup": {"baseline": 181.0, "optimization-1": 178.0, "final": 177.5, "beyond": 170.0},
    "signin": {"baseline": 61.0, "optimization-1": 52.0, "final": 50.5, "beyond": 49.0},
    "me": {"baseline": 2.20, "optimization-1": 1.41, "final": 0.93, "beyond": 0.71},
}
MEAN_MS = {
    "signup": {"baseline": 240.0, "optimization-1": 236.0, "final": 234.0, "beyond": 220.0},
    "signin": {"baseline": 88.0, "optimization-1": 74.0, "final": 72.0, "beyond": 70.0},
    "me": {"baseline": 5.4, "optimization-1": 3.1, "final": 1.9, "beyond": 1.5},
}
SIDES = 3 * (len(VARIANTS) + 1)
"""Runs in one block of all three experiments."""
OTHERS_CPU_MS = {"postgresql": 0.61, "pgbouncer": 0.18, "valkey": 0.07}
NOISE = 0.015
"""Standard deviation of a session's CPU time around its variant's."""
DRIFT = 0.02
"""By which the last run of a plan is dearer than the first."""
LANDINGS = ({"4101": 2, "4102": 2}, {"4101": 3, "4102": 1}, {"4101": 4, "4102": 0})
POOL = 10
"""Blocks after which the raw outputs of a side come again."""


def study(blocks=10, window_s=30.0):
    """Return the study of a plan with so many blocks."""
    return Study(
        schema=SCHEMA,
        name="made",
        title="Made",
        source="a test",
        protocols={"rigorous": Protocol(blocks=blocks, warmup_s=10, window_s=window_s, a_a=True)},
        experiments={
            name: Experiment(
                title=f"{'GET' if name == 'me' else 'POST'} /api/v1/access/{name}",
                request=RequestTemplate(
                    method="GET" if name == "me" else "POST",
                    path=f"/api/v1/access/{name}",
                    expect=Expectation(status=200),
                ),
                load=Load(rate=rate, connections=4, threads=2, arrivals="wrk2-phase"),
                variants=VARIANTS,
                users=1,
            )
            for name, rate in RATES.items()
        },
    )


def full_bundle(tmp_path, *, blocks=10, window_s=30.0, seed=11):
    """Write a finished bundle whose fourth block of signin was repeated after an instrument fault."""
    of = study(blocks, window_s)
    plan = make_plan(of, "rigorous", plan_id="full", seed=seed, retries=1, experiments=[], variants=[])
    bundle = bundles.create(tmp_path / "results", plan, of, tmp_path, claims=claims())
    (bundle / "environment" / "box.json").write_bytes(encode_record(_environment()))
    pool = {}
    sealed = [_write(bundle, plan, planned, pool) for planned in plan.runs]
    for planned in schedule(plan, sealed)[len(plan.runs) :]:
        _write(bundle, plan, planned, pool)
    reseal(bundle, *bundle.glob("environment/*.json"), *bundle.glob("runs/*/*/*/run.json"))
    return bundle


def claims():
    """Make a claim of each kind that a bundle can decide, and one that it cannot."""

    def claim(name, says, kind, metric, **fields):
        experiment, variant, against = fields.pop("of")
        return Claim(
            id=name,
            says=says,
            source="made up, table 1",
            kind=kind,
            comparison=Comparison(experiment=experiment, metric=metric, variant=variant, against=against),
            **fields,
        )

    return Claims(
        schema=SCHEMA,
        claims=[
            claim(
                "me-cpu",
                "GET /me costs 58 % less CPU time in final than in baseline.",
                "direction",
                "app_cpu_ms",
                of=("me", "final", "baseline"),
                expects="lower",
                published={"baseline": 2.2, "final": 0.93},
            ),
            claim(
                "me-latency",
                "GET /me answers 65 % faster in final than in baseline.",
                "direction",
                "latency_mean",
                of=("me", "final", "baseline"),
                expects="lower",
                published={"baseline": 5.4, "final": 1.9},
            ),
            claim(
                "signup-dearer",
                "POST /signup costs more CPU time in optimization-1 than in baseline.",
                "direction",
                "app_cpu_ms",
                of=("signup", "optimization-1", "baseline"),
                expects="higher",
                published={"baseline": 170.0, "optimization-1": 181.0},
            ),
            claim(
                "signin-ratio",
                "POST /signin costs a sixth less CPU time in final.",
                "ratio",
                "app_cpu_ms",
                of=("signin", "final", "baseline"),
                ratio=0.83,
                tolerance=0.05,
                published={"baseline": 61.0, "final": 50.6},
            ),
            claim(
                "signup-same",
                "POST /signup costs the same in final and in optimization-1.",
                "direction",
                "app_cpu_ms",
                of=("signup", "final", "optimization-1"),
                expects="same",
            ),
            Claim(
                id="disk",
                says="The hard disk is the bottleneck of signup at 50 requests per second.",
                source="made up, last paragraph",
                kind="mechanism",
                not_testable="No experiment of this study offers 50 requests per second.",
            ),
        ],
    )


# --- one run -----------------------------------------------------------------------------------


def _write(bundle, plan, planned, pool):
    rng = random.Random(f"{planned.key}")
    experiment, variant = planned.experiment, planned.variant
    key = experiment, planned.side, planned.block % POOL
    drift = 1 + DRIFT * planned.position / len(plan.runs)
    per_request = APP_CPU_MS[experiment][variant] * drift * math.exp(rng.gauss(0, NOISE))
    faulty = (experiment, planned.block, variant, planned.attempt) == ("signin", 4, "final", 1)
    directory = bundles.run_directory(bundle, planned)
    raw = directory / "raw" / "box"
    (raw / "load").mkdir(parents=True)
    busy = per_request * RATES[experiment] / 1000 / 2
    if key in pool:  # links: 10,000 runs are not worth a GB of disk
        load, files = pool[key]
        for name, file in files.items():
            os.link(file, raw / name)
    else:
        load, histograms = _latency(plan, experiment, variant, random.Random("/".join(map(str, key))))
        (raw / "load" / "histograms.json").write_bytes(histograms)
        (raw / "sar.json").write_text(_sar(busy, plan.window_s, rng))
        pool[key] = load, {name: raw / name for name in ("load/histograms.json", "sar.json")}
    names = {f"raw/box/{name}": raw / name for name in pool[key][1]}
    started = START + planned.position * 47 * S
    run = Run(
        schema=SCHEMA,
        plan=plan.id,
        run=planned,
        started_ns=started,
        sealed_ns=started + 45 * S,
        files={name: path.stat().st_size for name, path in names.items()},
        digests={name: seals.file_digest(path) for name, path in names.items()},
        load=load,
        cpu=[
            service_cpu("app", per_request),
            *(
                service_cpu(name, figure * math.exp(rng.gauss(0, 0.04)), cpus="2-3")
                for name, figure in OTHERS_CPU_MS.items()
            ),
        ],
        cores=[
            core(cpu, busy=100 * busy * rng.uniform(0.9, 1.1), usr=85 * busy, idle=100 - 100 * busy)
            for cpu in (0, 1)
        ],
        cpu_check=[cpu_check(cpus="0-1", host="box", difference=rng.gauss(0, 0.01))],
        affinity=[],
        layout={"box": LAYOUT},
        mhz={"box": 3500.0 + rng.gauss(0, 4)},
        instrument_faults=[
            Finding(
                kind="steal",
                detail="the hypervisor took 3.1 % of CPU 1 (limit 2.0 %)",
                host="box",
                value=3.1,
                threshold=2.0,
            )
        ]
        if faulty
        else [],
        outcomes=[
            Finding(kind="timeouts", detail="2 requests had no answer after 10 s", value=2, threshold=0)
        ]
        if (experiment, planned.block, planned.side) == ("signup", 7, "baseline")
        else [],
        ironbench_version="0",
    )
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    sizes = {path.relative_to(directory).as_posix(): path.stat().st_size for path in files}
    run = replace(run, files=sizes)
    (directory / "run.json").write_bytes(encode_record(run))
    return run


def _latency(plan, experiment, variant, rng):
    """Return a load's result and its histograms: lognormal, with a slow spell, and slower on one worker."""
    rate, mean = RATES[experiment], MEAN_MS[experiment][variant]
    count = round(rate * plan.window_s)
    landing = rng.choices(LANDINGS, weights=(3, 4, 1))[0]
    crowded = 1 + 0.12 * (max(landing.values()) - 2)
    session = mean * crowded * math.exp(rng.gauss(0, 0.03))
    spell = rng.randrange(int(plan.window_s))
    answered = []
    for i in range(count):
        due = int(i * plan.window_s * S / count)
        slow = 2.5 if due // S == spell and rng.random() < 0.3 else 1.0
        tail = 6.0 if rng.random() < 0.004 else 1.0
        answered.append((due, int(session * slow * tail * math.exp(rng.gauss(-0.045, 0.3)) * 1e6)))
    durations = [duration for _, duration in answered]
    recorded = histogram.of_durations(durations)
    none = histogram.encode(histogram.of_durations([]))
    histograms = histogram.Histograms(
        latency=histogram.encode(recorded), service_time=none, own_send_lag=none, system_send_lag=none
    )
    load = replace(
        load_result([1_000_000]),
        offered_rps=rate,
        achieved_rps=rate,
        scheduled=count,
        sent=count,
        completed=count,
        window_s=plan.window_s,
        window_end_ns=START + int(plan.window_s * S),
        drained_ns=START + int(plan.window_s * S) + S // 5,
        latency=histogram.summarise(recorded),
        statuses={"200": count},
        landing=Landing(workers=landing, workers_after=landing, reconnects=0, unknown=""),
        seconds=by_second(answered, int(plan.window_s * S)),
    )
    return load, encode_record(histograms)


def _sar(busy, window_s, rng):
    means = [busy, busy, 0.09, 0.06, 0.02, 0.01, 0.05, 0.04]
    statistics = []
    for second in range(-2, int(window_s) + 3):
        stamp = datetime.fromtimestamp(SECOND + second, UTC)
        inside = 0 < second <= window_s
        cpus = []
        for cpu, mean in enumerate(means):
            usr = min(100.0, 100 * mean * rng.uniform(0.75, 1.25)) if inside else 0.3
            zeros = dict.fromkeys(("nice", "sys", "iowait", "irq", "soft", "guest", "gnice", "steal"), 0.0)
            cpus.append({"cpu": str(cpu), "usr": round(usr, 2), **zeros, "idle": round(100 - usr, 2)})
        statistics.append(
            {
                "timestamp": {
                    "date": f"{stamp:%Y-%m-%d}",
                    "time": f"{stamp:%H:%M:%S}",
                    "utc": 1,
                    "interval": 1,
                },
                "cpu-load": cpus,
            }
        )
    return json.dumps({"sysstat": {"hosts": [{"nodename": "box", "statistics": statistics}]}})


def _environment():
    return {
        "schema": SCHEMA,
        "name": "box",
        "cpu_model": "Made CPU at 3.5 GHz",
        "cpu_count": 8,
        "kernel": "6.1.0-made-amd64",
        "os": "Debian GNU/Linux 12 (bookworm)",
        "memory_mib": 15900,
        "governors": {str(cpu): "performance" for cpu in range(8)},
        "packages": {f"package-{number}": f"1.{number}-1" for number in range(40)},
        "layout": msgspec.to_builtins(LAYOUT),
        "nofile": {"app": [65535, 65535]},
    }
