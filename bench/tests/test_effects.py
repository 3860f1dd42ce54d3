"""Effects of counted runs: paired by block, by session, against the noise of the host."""

import math

import pytest
from ironbench.effects import compare, make_effects, make_noise
from ironbench.load import histogram
from ironbench.metrics import METRICS
from ironbench.records import SCHEMA, Comparison, PlannedRun, Run
from ironbench.scorecard import make_results
from ironbench.stats import MIN_MARGIN

from .made import (
    LAYOUT,
    PACKED,
    START,
    S,
    core,
    experiment,
    load_result,
    plan,
    replace,
    service_cpu,
    study,
)
from .test_scorecard import MANIFEST

MS = 10**6
ME = Comparison(experiment="signin", metric="app_cpu_ms", variant="final", against="baseline")


def run_of(block, variant, cpu_ms=10.0, *, number=1, again=False, durations=None, **changes):
    planned = PlannedRun(
        position=block, experiment="signin", block=block, variant=variant, number=number, again=again
    )
    made = Run(
        schema=SCHEMA, plan="made", run=planned, started_ns=START, sealed_ns=START + S,
        load=load_result(durations), cpu=[] if cpu_ms is None else [service_cpu(per_request_ms=cpu_ms)],
        cores=[core(0), core(1)], cpu_check=[], affinity=[], layout={"box": LAYOUT}, mhz={},
        instrument_faults=[], outcomes=[], ironbench_version="0",
    )  # fmt: skip
    return replace(made, **changes)


def effects_of(runs, *, asked=(), of=None):
    made = plan(experiments=["signin"]) if of is None else of
    distributions = {
        run.run.key: histogram.encode(histogram.of_durations([int(run.load.latency.mean * MS)]))
        for run in runs
    }
    noise, effects = make_effects(
        made,
        runs,
        asked,
        latency=lambda several: histogram.merge([distributions[r.run.key] for r in several]),
    )
    return noise, {effect.comparison: effect for effect in effects}


def blocks_of(values):
    return dict(enumerate(values, 1))


# --- one comparison ----------------------------------------------------------------------------


def test_ratio_within_blocks_by_hand():
    """Six blocks whose level varies tenfold: the ratios are 0.5, 0.5, 0.4, 0.6, 0.5 and 0.55."""
    base = [10.0, 20.0, 100.0, 40.0, 50.0, 60.0]
    final = [5.0, 10.0, 40.0, 24.0, 25.0, 33.0]
    made = compare(ME, blocks_of(final), blocks_of(base), margin=0.02)
    assert made.value == pytest.approx(0.5)
    assert (made.low, made.high) == pytest.approx((0.4, 0.6))  # six blocks: smallest to largest
    assert made.coverage == 1 - 2 / 64
    assert made.p == 2 / 64
    assert made.blocks == 6
    assert made.call == "lower"
    assert made.per_block == pytest.approx({1: 0.5, 2: 0.5, 3: 0.4, 4: 0.6, 5: 0.5, 6: 0.55})


def test_five_blocks_give_a_value_and_no_call():
    made = compare(ME, blocks_of([5.0] * 5), blocks_of([10.0] * 5), margin=0.02)
    assert (made.value, made.low, made.p, made.call) == (0.5, None, None, "too few runs")


def test_unusable_blocks_are_left_out_and_named():
    good = range(8, 26)
    base = {1: 10.0, 2: 10.0, 3: 0.0, 4: 10.0, 5: None, 7: None, **dict.fromkeys(good, 10.0)}
    final = {1: 5.0, 2: -1.0, 3: 5.0, 6: 5.0, 7: 5.0, **dict.fromkeys(good, 5.0)}
    made = compare(ME, final, base, margin=0.02)
    assert made.per_block == dict.fromkeys((1, *good), 0.5)
    assert made.left_out == {
        2: "final has -1, and a ratio needs a positive figure",
        3: "baseline has 0, and a ratio needs a positive figure",
        4: "no run counts of final",
        5: "no run counts of final",
        6: "no run counts of baseline",
        7: "no figure of baseline",
    }


def test_nothing_to_compare():
    made = compare(ME, {}, {1: 4.0}, margin=0.02)
    assert (made.value, made.blocks, made.call, made.per_block) == (None, 0, "too few runs", {})


def test_noise_floor_is_the_farther_end():
    again = make_noise(ME, blocks_of([1.0, 1.01, 0.99, 1.0, 1.02, 0.90]), blocks_of([1.0] * 6))
    assert again.floor == pytest.approx(1 / 0.9 - 1)
    assert again.effect.margin == MIN_MARGIN
    assert make_noise(ME, blocks_of([1.0] * 5), blocks_of([1.0] * 5)).floor is None


# --- a bundle's comparisons --------------------------------------------------------------------


def test_each_variant_against_the_first_and_the_one_before():
    runs = [
        run_of(block, variant, cpu * (1 + block / 10))
        for block in range(1, 7)
        for variant, cpu in (("baseline", 10.0), ("optimization-1", 8.0), ("final", 4.0))
    ]
    _, made = effects_of(runs)
    found = {
        (one.variant, one.against): effect.value for one, effect in made.items() if one.metric == "app_cpu_ms"
    }
    assert found == pytest.approx(
        {("optimization-1", "baseline"): 0.8, ("final", "baseline"): 0.4, ("final", "optimization-1"): 0.5}
    )
    assert {one.metric for one in made} == {
        "app_cpu_ms", "app_gross_cpu_ms", "sum_cpu_ms", "sum_gross_cpu_ms", "core_usr", "core_busy", "latency_mean",
        "latency_p50", "latency_max", "latency_stdev", "achieved_rps",
    }  # fmt: skip


def test_claims_add_their_pairs_and_only_known_ones():
    runs = [run_of(block, v, cpu) for block in range(1, 7) for v, cpu in (("baseline", 10.0), ("final", 4.0))]
    asked = [
        Comparison(experiment="signin", metric="app_cpu_ms", variant="baseline", against="final"),
        Comparison(experiment="signin", metric="errors", variant="final", against="baseline"),
        Comparison(experiment="signin", metric="app_cpu_ms", variant="beyond", against="final"),
        Comparison(experiment="me", metric="app_cpu_ms", variant="final", against="baseline"),
    ]
    _, made = effects_of(runs, asked=asked)
    assert made[asked[0]].value == pytest.approx(2.5)
    assert made[asked[1]].left_out[1] == "final has 0, and a ratio needs a positive figure"
    assert asked[2] not in made
    assert asked[3] not in made


def test_first_variant_when_the_baseline_is_not_there():
    made_plan = plan(experiments=["signin"], variants=["optimization-1", "final"])
    runs = [run_of(1, "optimization-1", 8.0), run_of(1, "final", 4.0)]
    _, made = effects_of(runs, of=made_plan)
    assert {(one.variant, one.against) for one in made} == {("final", "optimization-1")}


def test_twins_make_the_floor_and_nothing_else():
    """The A/A reaches 1.05; final is 4 % lower in every block, which is within that."""
    ratios = [1.05, 0.99, 1.01, 1.0, 0.98, 1.02]
    runs = []
    for block, noise in enumerate(ratios, 1):
        runs += [run_of(block, "baseline"), run_of(block, "baseline", 10.0 * noise, again=True)]
        runs += [run_of(block, "final", 9.6)]
    noise, made = effects_of(runs)
    (app,) = (one for one in noise if one.effect.comparison.metric == "app_cpu_ms")
    assert (app.effect.comparison.variant, app.effect.comparison.against) == ("baseline.again", "baseline")
    assert app.floor == pytest.approx(0.05)
    assert app.effect.call == "undecided"
    final = made[ME]
    assert (final.value, final.margin, final.call) == (
        pytest.approx(0.96), pytest.approx(0.05), "equivalent",
    )  # fmt: skip
    assert not any("again" in one.variant + one.against for one in made)
    rates = {one.effect.comparison.metric: one for one in noise}["achieved_rps"]
    assert rates.floor == 0
    assert {e.margin for one, e in made.items() if one.metric == "achieved_rps"} == {MIN_MARGIN}


def test_without_a_twin_the_margin_is_two_per_cent():
    noise, made = effects_of([run_of(1, "baseline"), run_of(1, "final")])
    assert noise == []
    assert made[ME].margin == MIN_MARGIN


def test_scorecards_do_not_know_twins():
    made = plan(experiments=["signin"])
    runs = [run_of(1, "baseline", 10.0), run_of(1, "baseline", 99.0, again=True), run_of(1, "final", 5.0)]
    results = make_results(
        MANIFEST, made, runs,
        {run.run.key: histogram.encode(histogram.of_durations([MS])) for run in runs}, {},
        merge=histogram.merge, rendered_by="0",
    )  # fmt: skip
    (card,) = results.scorecards
    assert card.runs == {"baseline": 1, "optimization-1": 0, "final": 1}
    app = next(row for row in card.rows if row.name == "CPU per request: app")
    assert app.cells["baseline"].high == 10.0
    assert [(run.variant, run.again) for run in results.runs] == [
        ("baseline", False), ("baseline", True), ("final", False),
    ]  # fmt: skip
    assert results.effects
    assert results.noise


# --- sessions with several runs ----------------------------------------------------------------


def test_several_runs_of_a_session_are_one_figure():
    """CPU: mean of all runs, sar's included. Latency: measured runs merged by count, percentiles not averaged."""
    fast, slow = [10 * MS] * 90, [100 * MS] * 10
    runs = [
        run_of(1, "baseline", 10.0, number=0, durations=[999 * MS] * 24),
        run_of(1, "baseline", 20.0, number=1, durations=fast),
        run_of(1, "baseline", 30.0, number=2, durations=slow),
        run_of(1, "final", 10.0, number=1, durations=[19 * MS] * 100),
    ]
    distributions = {
        run.run.key: histogram.encode(histogram.of_durations(durations))
        for run, durations in zip(runs, ([999 * MS] * 24, fast, slow, [19 * MS] * 100), strict=True)
    }
    _, effects = make_effects(
        plan(experiments=["signin"]), runs, [],
        latency=lambda several: histogram.merge([distributions[run.run.key] for run in several]),
    )  # fmt: skip
    found = {effect.comparison.metric: effect.value for effect in effects}
    assert found["app_cpu_ms"] == pytest.approx(0.5)
    assert found["latency_mean"] == pytest.approx(1.0, rel=0.01)
    assert found["latency_p90"] == pytest.approx(1.9, rel=0.01)
    assert found["latency_max"] == pytest.approx(0.19, rel=0.01)


def test_sar_run_alone_has_no_latency():
    runs = [run_of(1, "baseline", number=0), run_of(1, "final", number=0)]
    _, made = effects_of(runs)
    gross = {"app_gross_cpu_ms", "sum_gross_cpu_ms"}
    assert {one.metric for one in made} == {"app_cpu_ms", "sum_cpu_ms", "core_usr", "core_busy"} | gross


def test_packed_layout_is_noted():
    runs = [run_of(1, v, layout={"box": PACKED}) for v in ("baseline", "final")]
    assert all(effect.packed for effect in effects_of(runs)[1].values())


# --- metrics -----------------------------------------------------------------------------------


def figure(name, run):
    return METRICS[name].figure(run)


def test_services_and_their_sums():
    cpu = [service_cpu(name, ms) for name, ms in (("app", 8.0), ("postgresql", 3.0), ("pgbouncer", 1.0))]
    run = run_of(1, "final", cpu=[*cpu, service_cpu("load_generator", 50.0), service_cpu("other", 9.0)])
    found = {name: figure(name, run) for name in METRICS if METRICS[name].unit == "CPU-ms"}
    net = {
        "app_cpu_ms": 8.0, "postgresql_cpu_ms": 3.0, "pgbouncer_cpu_ms": 1.0, "valkey_cpu_ms": None,
        "database_cpu_ms": 4.0, "sum_cpu_ms": 12.0,
    }  # fmt: skip
    # Nobody is idle here, so the gross figures are the same.
    assert found == net | {METRICS[name].gross: value for name, value in net.items()}
    bare = run_of(1, "final", cpu=[])
    assert {figure(name, bare) for name in found} == {None}


def test_cores_are_the_mean_of_the_apps():
    cores = [core(0, usr_whole_record=40.0, busy=60.0), core(1, usr_whole_record=50.0, busy=70.0), core(5)]
    run = run_of(1, "final", cores=cores)
    assert (figure("core_usr", run), figure("core_busy", run)) == (45.0, 65.0)
    assert figure("core_busy", run_of(1, "final", cores=cores[:1])) is None  # one of the two is missing


def test_percentiles_need_ten_samples_above():
    at_p90 = run_of(1, "final", durations=[10 * MS] * 100)
    below = run_of(1, "final", durations=[10 * MS] * 99)
    assert figure("latency_p90", at_p90) == pytest.approx(10, rel=0.01)
    assert figure("latency_p90", below) is None
    assert figure("latency_p99", at_p90) is None
    assert figure("latency_max", below) == pytest.approx(10, rel=0.01)
    empty = run_of(1, "final", durations=[])
    assert {figure(name, empty) for name in METRICS if METRICS[name].latency} == {None}


def test_background_has_figures_of_its_own():
    slow = load_result([50 * MS] * 24)
    run = run_of(1, "final", durations=[10 * MS] * 24, background=slow)
    assert figure("latency_mean", run) == pytest.approx(10, rel=0.01)
    assert figure("background_latency_mean", run) == pytest.approx(50, rel=0.01)
    assert figure("background_achieved_rps", run) == 3.0
    assert figure("background_errors", replace(run, background=replace(slow, errors={"reset": 2}))) == 2
    assert figure("background_latency_mean", run_of(1, "final")) is None


def test_metrics_know_what_they_are():
    assert {name for name, metric in METRICS.items() if not metric.lower_is_better} == {
        "achieved_rps", "background_achieved_rps", "highest_rps",
    }  # fmt: skip
    # Waits for a CPU are in these two as well, which a packed layout cannot judge either.
    waits = {"blocked_ms", "highest_rps"}
    assert {name for name, metric in METRICS.items() if metric.latency} == waits | {
        name for name in METRICS if "latency" in name
    }
    assert {metric.unit for metric in METRICS.values() if metric.latency} == {"ms", "rps"}
    assert {name for name, metric in METRICS.items() if metric.whole_cpus} == {"core_usr", "core_busy"}


def test_figures_of_a_live_study_have_names():
    made = study(experiments={"signin": experiment()})
    assert made.experiments["signin"].variants[0] == "baseline"
    assert math.isclose(figure("achieved_rps", run_of(1, "final")) or 0, 3.0)
