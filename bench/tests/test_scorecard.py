"""The figures of the report: merged by count, hidden where they mean nothing, compared honestly."""

from typing import Any

import pytest
from ironbench.load import histogram
from ironbench.metrics import percentile_shown
from ironbench.records import SCHEMA, Finding, Manifest, Run
from ironbench.scorecard import HIDDEN, make_results

from .made import (
    LAYOUT,
    START,
    S,
    background,
    core,
    cpu_check,
    experiment,
    latencies,
    load_result,
    plan,
    replace,
    service_cpu,
    study,
)

MS = 10**6
FAULT = Finding(kind="steal", detail="stolen")
MANIFEST = Manifest(
    schema=SCHEMA, id="made", created="2026-01-31T12:00:00Z", ironbench_version="0", git=None, study="made",
    study_digest="0" * 64, protocol="quick",
)  # fmt: skip


def make_run(planned, *, durations=None, cpu=None, cores=None, **changes):
    """Return a sealed run and its encoded histogram."""
    durations = latencies() if durations is None else durations
    run = Run(
        schema=SCHEMA, plan="made", run=planned, started_ns=START, sealed_ns=START + S,
        load=load_result(durations), cpu=cpu or [service_cpu()], cores=cores or [core(0), core(1)],
        cpu_check=[], affinity=[], layout={"box": LAYOUT}, mhz={"box": 3500.0}, instrument_faults=[],
        outcomes=[], ironbench_version="0",
    )  # fmt: skip
    return replace(run, **changes), histogram.encode(histogram.of_durations(durations))


def results(made, pairs):
    return make_results(
        MANIFEST,
        made,
        [run for run, _ in pairs],
        {run.run.key: encoded for run, encoded in pairs},
        {},
        merge=histogram.merge,
        rendered_by="0",
    )


def by_name(made, pairs) -> Any:
    (card,) = results(made, pairs).scorecards
    return {row.name: row for row in card.rows}


@pytest.fixture
def signin():
    return plan(experiments=["signin"])


def of(made, variant):
    return [run for run in made.runs if run.variant == variant]


def test_histograms_merge_by_count(signin):
    """90 fast requests and 10 slow ones: the mean is 19 ms, not the 55 ms of averaged means."""
    first, second, _ = of(signin, "final")
    pairs = [make_run(first, durations=[10 * MS] * 90), make_run(second, durations=[100 * MS] * 10)]
    rows = by_name(signin, pairs)
    assert rows["Mean latency"].cells["final"].value == pytest.approx(19.0, rel=0.002)
    assert rows["P90"].cells["final"].value == pytest.approx(10.0, rel=0.002)
    assert rows["Max latency"].cells["final"].value == pytest.approx(100.0, rel=0.002)


def test_percentile_with_few_samples_above_is_hidden(signin):
    rows = by_name(signin, [make_run(of(signin, "final")[0], durations=[10 * MS] * 99)])
    assert (rows["P90"].cells["final"].value, rows["P90"].cells["final"].note) == (None, HIDDEN)
    rows = by_name(signin, [make_run(of(signin, "final")[0], durations=[10 * MS] * 100)])
    assert rows["P90"].cells["final"].value is not None
    assert rows["P99"].cells["final"].note == HIDDEN


@pytest.mark.parametrize(("percentile", "enough"), [(50, 20), (90, 100), (99, 1_000), (99.9, 10_000)])
def test_percentile_shown(percentile, enough):
    assert percentile_shown(enough, percentile)
    assert not percentile_shown(enough - 1, percentile)


def test_cpu_is_the_median_with_its_range(signin):
    pairs = [
        make_run(run, cpu=[service_cpu(per_request_ms=ms), service_cpu("valkey", ms / 10)])
        for run, ms in zip(of(signin, "final"), (50.0, 90.0, 60.0), strict=True)
    ]
    rows = by_name(signin, pairs)
    app = rows["CPU per request: app"].cells["final"]
    assert (app.value, app.low, app.high) == (60.0, 50.0, 90.0)
    assert rows["CPU per request: sum"].cells["final"].value == pytest.approx(66.0)
    assert rows["CPU per request: postgresql"].cells["final"].note == "not measured"


def test_generator_and_other_cgroups_are_not_in_the_sum(signin):
    cpu = [service_cpu(), service_cpu("load_generator", 5.0), service_cpu("other", 7.0)]
    rows = by_name(signin, [make_run(of(signin, "final")[0], cpu=cpu)])
    assert rows["CPU per request: sum"].cells["final"].value == 58.0


def test_delta_is_relative_but_points_for_per_cent(signin):
    base, last = of(signin, "baseline")[0], of(signin, "final")[0]
    pairs = [
        make_run(base, durations=[100 * MS] * 24, cores=[core(0, busy=60.0)]),
        make_run(last, durations=[80 * MS] * 24, cores=[core(0, busy=45.0)]),
    ]
    rows = by_name(signin, pairs)
    assert rows["Mean latency"].delta.relative == pytest.approx(-20, abs=0.1)
    assert rows["Mean latency"].delta.absolute == pytest.approx(-20, abs=0.1)
    busy = rows["CPU 0 busy in the window"]
    assert (busy.delta.absolute, busy.delta.relative) == (-15.0, None)
    assert rows["P99"].delta is None


def test_cores_of_another_host_are_not_the_apps(signin):
    cores = [core(0, busy=99.0, host="elsewhere"), core(0, busy=40.0)]
    rows = by_name(signin, [make_run(of(signin, "final")[0], cores=cores)])
    assert rows["CPU 0 busy in the window"].cells["final"].value == 40.0


def test_faulty_run_is_left_out_and_listed(signin):
    good, bad, _ = of(signin, "final")
    pairs = [
        make_run(good, durations=[10 * MS] * 24),
        make_run(bad, durations=[900 * MS] * 24, instrument_faults=[FAULT]),
    ]
    made = results(signin, pairs)
    assert made.scorecards[0].sessions["final"] == 1
    assert made.scorecards[0].rows[0].cells["final"].value == pytest.approx(10.0, rel=0.002)
    assert [run.why_not for run in made.runs] == ["", "instrument fault: steal"]
    assert made.total == 12


def test_complete_repetition_replaces_its_block_whole(signin):
    block = [run for run in signin.runs if run.block == 1]
    again = [replace(run, attempt=2, position=run.position + 9) for run in block]
    first = [make_run(block[0], instrument_faults=[FAULT]), *(make_run(run) for run in block[1:])]
    made = results(signin, [*first, make_run(again[0])])
    assert [run.counted for run in made.runs] == [False, True, True, False]
    made = results(signin, [*first, *(make_run(run) for run in again)])
    assert [run.counted for run in made.runs] == [False, False, False, True, True, True]


def test_variant_without_runs(signin):
    rows = by_name(signin, [make_run(of(signin, "final")[0])])
    assert rows["Mean latency"].cells["baseline"].note == "no run"
    assert rows["Mean latency"].delta is None


def test_errors_add_up(signin):
    one, two, _ = of(signin, "final")
    pairs = [
        make_run(one, load=load_result(errors={"reset": 2}, unexpected_status=1)),
        make_run(two, load=load_result(errors={"timeout": 4})),
    ]
    assert by_name(signin, pairs)["Errors and unexpected statuses"].cells["final"].value == 7


def test_a_background_has_rows_of_its_own():
    one = experiment(background=background())
    made = plan("short", of=study(experiments={"signin": one}), variants=["final"])
    beside = load_result([200 * MS] * 16, errors={"reset": 3})
    pairs = [make_run(made.runs[0], durations=[10 * MS] * 480, background=beside)]
    (card,) = results(made, pairs).scorecards
    assert card.background == "POST /signup, 2 requests per second over 2 connections"
    cells = {row.name: row.cells["final"] for row in card.rows}
    assert cells["Mean latency"].value == pytest.approx(10.0, rel=0.002)
    assert cells["Mean latency, background"].value == pytest.approx(200.0, rel=0.002)
    assert (cells["P90, background"].value, cells["P90, background"].note) == (None, HIDDEN)
    assert cells["Errors and unexpected statuses"].value == 0
    assert cells["Errors and unexpected statuses, background"].value == 3
    assert "CPU per request: app" not in cells
    assert cells["CPU per request of both loads: app"].value == 58.0
    # Of 24 requests as the hand-made counters have it, over the 8.2 s from first send to drained.
    assert cells["CPU per second: app"].value == pytest.approx(58.0 * 24 / 8.2)


def test_without_a_background_there_is_no_row_of_one(signin):
    pairs = [make_run(of(signin, "final")[0])]
    names = [*by_name(signin, pairs), *results(signin, pairs).runs[0].figures]
    assert not [
        name for name in names if "background" in name or "per second:" in name or "cpu_ms_per_s" in name
    ]


def test_cpu_check_summary(signin):
    pairs = [
        make_run(run, cpu_check=[cpu_check(cpus="0-1", difference=d, host="box")])
        for run, d in zip(of(signin, "final"), (-0.04, 0.01, -0.02), strict=True)
    ]
    (check,) = results(signin, pairs).cpu_check
    assert (check.host, check.runs, check.median, check.low, check.high) == ("box", 3, -0.02, -0.04, 0.01)
