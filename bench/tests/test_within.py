"""Distributions, seconds and placement of counted runs."""

import random

import pytest
from ironbench.collect import wrk2
from ironbench.collect.sar import CpuColumns, CpuSample
from ironbench.errors import IronbenchError
from ironbench.ingest import Distribution, merge_quantiles
from ironbench.load import histogram
from ironbench.records import Landing, Run, Second
from ironbench.within import (
    CORE_RUNS,
    evenly,
    make_curves,
    make_strata,
    make_within,
    placement,
    shares,
    sides_of,
)

from .made import LAYOUT, SECOND, START, S, load_result, plan, planned, replace, service_cpu

PLAN = plan(experiments=["signin"])


def run(cpu=50.0, *, variant="baseline", block=1, again=False, number=1, position=1, **load):
    made = load_result([60_000_000] * 20)
    return Run(
        schema=1,
        plan="made",
        run=planned(variant=variant, block=block, again=again, number=number, position=position),
        started_ns=0,
        sealed_ns=0,
        load=replace(made, **load),
        cpu=[service_cpu("app", cpu)],
        cores=[],
        cpu_check=[],
        affinity=[],
        layout={"box": LAYOUT},
        mhz={},
        instrument_faults=[],
        outcomes=[],
        ironbench_version="0",
    )


def no_cores(_):
    return {}


def seconds(*means):
    return [Second(count=1, mean=m, p50=m, p99=m, max=m) if m else Second(count=0, mean=0, p50=0, p99=0, max=0) for m in means]  # fmt: skip


# --- curves ------------------------------------------------------------------------------------


def test_shares_ascend_to_all_and_hold_the_listed_percentiles():
    for count in (1, 7, 1000, 180_000):
        found = shares(count)
        assert found == sorted(set(found))
        assert found[-1] == 1
        assert found[0] > 0
        assert {0.25, 0.5, 0.75} <= set(found)
    assert {0.9, 0.99, 0.999} <= set(shares(1000))
    assert len(shares(180_000)) < 120


def test_quantiles_of_merged_histograms_are_the_ordered_samples():
    rng = random.Random(5)
    parts = [[int(rng.lognormvariate(2, 1) * 1e6) for _ in range(count)] for count in (400, 1, 2000)]
    ordered = sorted(duration / 1e6 for part in parts for duration in part)
    encoded = [histogram.encode(histogram.of_durations(part)) for part in parts]
    wanted = shares(len(ordered))
    found = merge_quantiles([Distribution(one) for one in encoded], wanted)
    expected = [ordered[max(1, int(share * len(ordered) + 0.5)) - 1] for share in wanted]
    assert found == pytest.approx(expected, rel=0.001)
    assert found == sorted(found)


def test_quantiles_agree_with_the_summary():
    encoded = [histogram.encode(histogram.of_durations(range(1_000_000, 900_000_000, 1_000_003)))]
    summary = histogram.merge(encoded)
    assert merge_quantiles([Distribution(one) for one in encoded], [0.5, 0.75, 0.9, 0.99, 1]) == [
        summary.p50,
        summary.p75,
        summary.p90,
        summary.p99,
        summary.max,
    ]


def test_quantiles_of_printed_spectra():
    def distribution(*steps):
        spectrum = [wrk2.Step(value_ms=ms, percentile=0, count=count) for ms, count in steps]
        latency = wrk2.LatencyMs(mean=1, stdev=1, max=steps[-1][0])
        return Distribution(wrk2.Distribution(latency_ms=latency, recorded=steps[-1][1], spectrum=spectrum))

    both = [distribution((1.0, 5), (3.0, 10)), distribution((2.0, 10))]
    assert merge_quantiles(both, [0.25, 0.26, 0.75, 0.8, 1]) == [1.0, 1.0, 2.0, 3.0, 3.0]
    with pytest.raises(IronbenchError, match="do not merge"):
        merge_quantiles([*both, Distribution(histogram.encode(histogram.of_durations([1000])))], [1])
    none = wrk2.LatencyMs(mean=None, stdev=None, max=None)
    unlisted = Distribution(wrk2.Distribution(latency_ms=none, recorded=None, spectrum=[]))
    with pytest.raises(IronbenchError, match="--latency"):
        merge_quantiles([unlisted], [1])


def test_a_curve_a_side_from_its_measured_runs():
    asked = []

    def quantiles(distributions, parts):
        asked.append(distributions)
        return [1.0] * len(parts)

    runs = [
        run(block=1, number=0),
        run(block=1),
        run(block=2),
        run(block=1, again=True),
        run(block=1, variant="final"),
    ]
    curves = make_curves(PLAN, runs, {one.run.key: one.run.key for one in runs}, quantiles)
    assert [(curve.side, curve.count) for curve in curves] == [
        ("baseline", 40),
        ("baseline.again", 20),
        ("final", 20),
    ]
    assert asked[0] == ["signin.01.baseline", "signin.02.baseline"]


def test_sides_come_in_the_order_of_variants():
    runs = [run(variant="final"), run(again=True), run()]
    assert sides_of(PLAN, "signin", runs) == ["baseline", "baseline.again", "final"]


# --- within a run ------------------------------------------------------------------------------


def test_the_shown_run_is_the_median_one_by_cpu_time():
    runs = [run(cpu, block=block) for block, cpu in enumerate((70.0, 10.0, 40.0, 20.0), 1)]
    (within,) = make_within(
        PLAN, [replace(one, load=replace(one.load, seconds=seconds(1))) for one in runs], no_cores
    )
    assert within.shown == "signin.04.baseline"  # the lower of the two in the middle
    assert within.runs == 4


def test_without_cpu_time_the_shown_run_is_the_median_one_by_latency():
    runs = [
        replace(
            run(block=block, seconds=seconds(1), latency=replace(load_result().latency, mean=mean)), cpu=[]
        )
        for block, mean in enumerate((9.0, 5.0, 7.0), 1)
    ]
    (within,) = make_within(PLAN, runs, no_cores)
    assert within.shown == "signin.03.baseline"


def test_medians_by_second_leave_out_seconds_without_an_answer():
    runs = [
        run(block=1, seconds=seconds(1, 0, 10)),
        run(block=2, seconds=seconds(3, 0, 30)),
        run(block=3, seconds=seconds(8, 0)),
    ]
    (within,) = make_within(PLAN, runs, no_cores)
    assert within.median_mean_ms == [3, None, 20]


def test_nothing_to_show_without_seconds_and_samples():
    assert make_within(PLAN, [run()], no_cores) == []


def sample(cpu, second, busy, length=1):
    use = CpuColumns(
        cpu=str(cpu), usr=busy, nice=0, sys=0, iowait=0, steal=0, irq=0, soft=0, guest=0, gnice=0, idle=0
    )
    until = (SECOND + second) * S
    return CpuSample(cpu=cpu, from_ns=until - length * S, until_ns=until, use=use)


def test_cpus_by_second_of_the_window():
    """The window starts 50 ms after SECOND and lasts 3 s; sar's sample of its first second ends at SECOND + 1."""
    one = run(cpu=1.0, idle_until_ns=START, window_end_ns=START + 3 * S)
    two = run(cpu=2.0, block=2, idle_until_ns=START + 60 * S, window_end_ns=START + 63 * S)
    read = {
        one.run.key: [
            sample(0, 0, 99),
            sample(0, 1, 10),
            sample(0, 2, 20),
            sample(0, 3, 30),
            sample(0, 4, 99),
        ],
        two.run.key: [sample(0, 61, 50), sample(0, 63, 60, length=2)],
    }
    (within,) = make_within(PLAN, [one, two], lambda run: {"box": read[run.run.key]})
    (core,) = within.cores
    assert (core.host, core.cpu, core.owners) == ("box", 0, ["app"])
    assert core.busy == [10, 20, 30]
    assert core.median == [30, 20, 30]  # a sample of two seconds is of neither
    assert within.core_runs == 2


def test_few_runs_samples_are_read():
    runs = [run(block=block, idle_until_ns=START, window_end_ns=START + 2 * S) for block in range(1, 101)]
    read = []

    def read_cores(one):
        read.append(one.run.key)
        return {"box": [sample(0, 1, 10)]}

    (within,) = make_within(PLAN, runs, read_cores)
    assert within.core_runs == CORE_RUNS
    assert len(read) == CORE_RUNS + 1


def test_evenly():
    assert evenly([1, 2, 3], 3) == [1, 2, 3]
    chosen = evenly(range(1000), 20)
    assert (len(set(chosen)), chosen[0], chosen[-1]) == (20, 0, 999)


# --- placement ---------------------------------------------------------------------------------


def landing(before, after=None):
    return Landing(workers=before, workers_after=after or before, reconnects=0, unknown="")


def test_placement_in_words():
    assert placement(None) == ""
    assert placement(Landing(workers={}, workers_after={}, reconnects=0, unknown="another host")) == ""
    assert placement(landing({"11": 1, "12": 3})) == "3+1"
    assert placement(landing({"11": 4, "12": 0})) == "4+0"
    assert placement(landing({"11": 4, "12": 0}, {"11": 2, "12": 2})) == "4+0 to 2+2"
    assert placement(landing({"11": 1, "12": 3}, {"11": 3, "12": 1})) == "3+1"


def test_strata_pool_requests_and_not_runs():
    def with_latency(count, mean, cpu, before, **where):
        latency = replace(load_result().latency, count=count, mean=mean)
        return run(cpu, latency=latency, landing=landing(before), **where)

    even, odd = {"11": 2, "12": 2}, {"11": 3, "12": 1}
    strata = make_strata(
        PLAN,
        [
            with_latency(100, 10.0, 5.0, even, block=1),
            with_latency(300, 20.0, 7.0, even, block=2),
            with_latency(100, 50.0, 6.0, odd, block=3),
            run(block=4),
        ],
    )
    assert [(one.placement, one.runs, one.requests, one.mean_ms, one.app_cpu_ms) for one in strata] == [
        ("2+2", 2, 400, 17.5, 6.0),
        ("3+1", 1, 100, 50.0, 6.0),
    ]
    assert strata[0].declared == "as_landed"
