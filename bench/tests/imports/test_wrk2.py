"""The parser of wrk2's output: each of its quirks, and each way to be no whole log."""

import msgspec
import pytest
from ironbench.collect import wrk2
from ironbench.errors import IronbenchError
from ironbench.records import Expectation, Experiment, Load, RequestTemplate

from .logs import distribution, histogram, wrk2_log

EXPERIMENT = Experiment(
    title="x",
    request=RequestTemplate(method="POST", path="/api/v1/access/signup", expect=Expectation(status=201)),
    load=Load(rate=5, connections=4, threads=2, arrivals="wrk2-phase"),
    variants=["baseline"],
)


def parse(text):
    return wrk2.parse(text.encode(), "run.txt")


def refused(text, line, what):
    with pytest.raises(IronbenchError, match=rf"^run\.txt, line {line}: .*{what}"):
        parse(text)


def line_of(text, start):
    return next(n for n, line in enumerate(text.split("\n"), 1) if line.strip().startswith(start))


def ramp(from_us, to_us, count):
    return [from_us + (to_us - from_us) * i / (count - 1) for i in range(count)]


def exact(samples_us):
    """Return what the histogram itself says, in ms."""
    made = histogram(samples_us)
    named = {"p50": 50, "p75": 75, "p90": 90, "p99": 99, "p999": 99.9}
    return {name: made.get_value_at_percentile(p) / 1000 for name, p in named.items()}


# --- figures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("from_us", "to_us", "unit", "resolution"),
    [
        (100, 800, "us", 0.00001),
        (900, 840_000, "ms", 0.01),
        (1_100_000, 9_000_000, "s", 10),
        (1_100_000, 49_000_000, "s", 10),
        (52_000_000, 200_000_000, "m", 600),
    ],
)
def test_every_unit_comes_out_in_milliseconds(from_us, to_us, unit, resolution):
    samples = ramp(from_us, to_us, 400)
    text = wrk2_log(samples)
    assert f"{unit}\n" in text[text.index(" 50.000%") : text.index(" 75.000%")]
    told = parse(text).corrected
    made = histogram(samples)
    assert told.latency_ms.mean == pytest.approx(made.get_mean_value() / 1000, abs=0.0006)
    assert told.latency_ms.stdev == pytest.approx(made.get_stddev() / 1000, abs=0.0006)
    for name, figure in exact(samples).items():
        assert getattr(told.latency_ms, name) == pytest.approx(figure, abs=resolution / 2 + 0.0006), name


def test_the_spectrum_is_preferred_to_the_list_and_its_coarse_units():
    """At 1.1 to 9 s the list knows 10 ms only; at most percentiles the spectrum has the figure."""
    samples = ramp(1_100_000, 9_000_000, 100)
    told = parse(wrk2_log(samples)).corrected
    assert told.latency_ms.p50 == exact(samples)["p50"]
    assert exact(samples)["p50"] % 10


def test_the_list_is_taken_where_the_spectrum_has_no_step():
    """p99 lies between the steps at 98.9 % and 99.1 %: the list's figure is the only one."""
    samples = ramp(2_000, 800_000, 5000)
    told = parse(wrk2_log(samples)).corrected
    assert round(exact(samples)["p99"], 3) not in {step.value_ms for step in told.spectrum}
    assert told.latency_ms.p99 == pytest.approx(exact(samples)["p99"], abs=0.0051)
    assert f"{told.latency_ms.p99:.2f}ms" in wrk2_log(samples)


def test_mean_and_deviation_have_the_footers_three_decimals():
    samples = ramp(1_000_000, 3_000_000, 101)
    told = parse(wrk2_log(samples)).corrected.latency_ms
    made = histogram(samples)
    assert f"{told.mean:.3f}" == f"{made.get_mean_value() / 1000:.3f}"
    assert f"{told.stdev:.3f}" == f"{made.get_stddev() / 1000:.3f}"


def test_a_percentile_may_exceed_max_by_the_edge_of_its_bucket():
    """683.007 is the highest value of the bucket whose lowest one, 682.496, is Max."""
    told = parse(wrk2_log([682_700] * 100)).corrected.latency_ms
    assert (told.p999, told.max) == (683.007, 682.496)


def test_calibration_is_left_out_of_the_count_and_not_of_the_requests():
    log = parse(wrk2_log([665_000] * 100, requests=148))
    assert (log.corrected.recorded, log.requests, log.duration_s) == (100, 148, 30.02)
    assert [c.interval_ms for c in log.calibration] == [1360, 1360]


def test_a_short_run_has_no_calibration_and_no_rate_statistics():
    text = wrk2_log([5_000] * 50, requests=50, duration_s=10.0, header="10s", calibrated=False)
    assert "-nan" in text
    log = parse(text)
    assert (log.calibration, log.corrected.recorded, log.requests) == ([], 50, 50)


def test_threads_that_saw_nothing_while_calibrating():
    text = wrk2_log().replace("mean lat.: 665.002ms", "mean lat.: -nanms", 1)
    assert [c.mean_ms for c in parse(text).calibration] == [None, 665.002]


def test_a_run_without_any_answer():
    text = wrk2_log((), requests=0, errors=(4, 0, 0, 0))
    log = parse(text)
    assert log.corrected.recorded == 0
    assert set(msgspec.structs.astuple(log.corrected.latency_ms)) == {None}
    assert log.errors.connect == 4
    assert wrk2.summary(log.corrected, "x").count == 0


def test_a_duration_of_minutes():
    log = parse(wrk2_log(requests=450, duration_s=90.0, header="2m"))
    assert log.duration_s == 90


def test_uncorrected_latency_is_a_block_of_its_own():
    log = parse(wrk2_log([900_000] * 100, uncorrected_us=[100_000] * 100))
    assert log.uncorrected
    assert log.corrected.latency_ms.p50 == pytest.approx(900, rel=0.001)
    assert log.uncorrected.latency_ms.p50 == pytest.approx(100, rel=0.001)


def test_errors_are_zero_where_the_log_has_no_line_for_them():
    log = parse(wrk2_log())
    assert (log.errors, log.non_2xx) == (wrk2.SocketErrors(), 0)


def test_errors_where_it_has():
    log = parse(wrk2_log(errors=(1, 2, 3, 40), non_2xx=7))
    assert log.errors == wrk2.SocketErrors(connect=1, read=2, write=3, timeout=40)
    assert log.non_2xx == 7


def test_five_connections_of_two_threads_drive_four():
    log = parse(wrk2_log(connections=5))
    assert (log.connections, log.driven) == (5, 4)


def test_the_whole_spectrum_is_kept():
    samples = ramp(100_000, 300_000, 1000)
    lines = [
        line.split() for line in distribution(samples) if line.endswith("inf") or line.strip()[:1].isdigit()
    ]
    steps = [(float(a), float(b), int(c)) for a, b, c, _ in (line for line in lines if len(line) == 4)]
    told = parse(wrk2_log(samples)).corrected.spectrum
    assert [(s.value_ms, s.percentile, s.count) for s in told] == steps
    assert told[-1].count == 1000


def test_without_latency_there_are_the_coarse_figures_only():
    log = parse(wrk2_log([665_000] * 100, latency=False))
    assert log.corrected.latency_ms.mean == pytest.approx(665, abs=0.3)
    assert (log.corrected.latency_ms.p90, log.corrected.recorded, log.corrected.spectrum) == (None, None, [])
    with pytest.raises(IronbenchError, match="without --latency"):
        wrk2.summary(log.corrected, "run.txt")


def test_what_a_script_prints_is_passed_over():
    text = "hello from init\n" + wrk2_log() + "------\ndone: 3 of {unique}\n"
    assert parse(text) == parse(wrk2_log())


@pytest.mark.parametrize("change", [lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t, str.rstrip])
def test_line_ends_and_marks_of_other_systems(change):
    assert parse(change(wrk2_log())) == parse(wrk2_log())


# --- refused -----------------------------------------------------------------------------------


def test_every_truncation_at_a_line_is_refused_and_says_where():
    lines = wrk2_log(errors=(1, 2, 3, 4), non_2xx=1).split("\n")[:-1]
    for kept in range(1, len(lines)):
        with pytest.raises(IronbenchError, match=rf"^run\.txt, line ({kept - 1}|{kept}|{kept + 1}): "):
            parse("\n".join(lines[:kept]))


def test_no_log_at_all():
    refused("", 1, "empty")
    refused("hello\n\nworld", 3, "ends here and the line `Running")


def test_other_encodings():
    with pytest.raises(IronbenchError, match=r"^run\.txt, line 1: .* not UTF-8"):
        wrk2.parse(wrk2_log().encode("utf-16"), "run.txt")
    raw = wrk2_log().encode().replace(b"  2 threads", b"  2 thr\xe9ads")
    with pytest.raises(IronbenchError, match=r"^run\.txt, line 2: .* not UTF-8"):
        wrk2.parse(raw, "run.txt")


def test_the_log_of_wrk():
    text = wrk2_log().replace(" (HdrHistogram - Recorded Latency)", "")
    refused(text, line_of(text, "Latency Distribution"), "a log of wrk")


def test_two_runs_in_one_file():
    one = wrk2_log()
    refused(one + one, one.count("\n") + 1, "second run")


def test_a_spectrum_without_its_last_line():
    lines = wrk2_log().split("\n")
    last = next(n for n, line in enumerate(lines) if line.endswith("inf"))
    refused("\n".join(lines[:last] + lines[last + 1 :]), last, "before its last line")


def test_a_spectrum_with_two_lines_swapped():
    lines = wrk2_log().split("\n")
    at = (
        line_of("\n".join(lines), "0.5") if False else next(n for n, x in enumerate(lines) if "0.500000" in x)
    )
    lines[at], lines[at + 3] = lines[at + 3], lines[at]
    refused("\n".join(lines), rf"({at + 1}|{at + 2}|{at + 4}|{at + 5})", "goes back")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("Total count    =          100", "Total count    =          101", "Total count"),
        ("    Latency   656.51ms", "    Latency   656.51s", "not the one in Thread Stats"),
        ("  148 requests in 30.02s", "  148 requests in 30.02ms", "a second, not"),
        ("  148 requests", "   48 requests", "100 samples cannot come from 48"),
        (" 50.000%  650", " 50.000%  950", "contradicts the spectrum"),
        (" 75.000%", " 74.000%", "percentile 75.000% comes here"),
        ("  2 threads and 4", "  5 threads and 4", "cannot share"),
        ("Thread calibration: mean", "Thread calibration: men", "calibration"),
    ],
)
def test_figures_that_contradict_each_other(old, new, what):
    text = wrk2_log()
    assert old in text, text
    with pytest.raises(IronbenchError, match=rf"^run\.txt, line \d+: .*{what}"):
        parse(text.replace(old, new))


# --- other records -----------------------------------------------------------------------------


def test_the_run_as_a_live_one():
    log = parse(wrk2_log(errors=(0, 0, 0, 3), non_2xx=2, uncorrected_us=[90_000] * 100))
    load = wrk2.load_result(log, "x", EXPERIMENT, 10**18)
    assert (load.backend, load.offered_rps, load.achieved_rps) == ("wrk2", 5, 4.93)
    assert (load.latency.count, load.completed, load.unexpected_status, load.errors) == (
        100,
        148,
        2,
        {"timeout": 3},
    )
    assert load.service_time.mean < load.latency.mean
    assert load.window_end_ns - load.first_send_ns == 30_020_000_000
    assert load.unsent == 0


def test_one_run_merges_to_itself():
    one = parse(wrk2_log()).corrected
    assert wrk2.merge([one]) == wrk2.summary(one, "x")


def test_runs_merge_by_count_as_their_samples_do():
    parts = [ramp(100_000, 200_000, 500), ramp(400_000, 500_000, 1500)]
    merged = wrk2.merge([parse(wrk2_log(part)).corrected for part in parts])
    whole = histogram([*parts[0], *parts[1]])
    assert merged.count == 2000
    assert merged.mean == pytest.approx(whole.get_mean_value() / 1000, abs=0.001)
    assert merged.stdev == pytest.approx(whole.get_stddev() / 1000, rel=1e-4)
    for name, percentile in {"p50": 50, "p90": 90, "p99": 99}.items():
        assert getattr(merged, name) == pytest.approx(
            whole.get_value_at_percentile(percentile) / 1000, rel=0.03
        )
    averaged = sum(exact(part)["p50"] for part in parts) / 2
    assert merged.p50 > averaged + 100


def test_hgrm_is_the_logs_own_spectrum():
    samples = ramp(100_000, 300_000, 1000)
    written = wrk2.hgrm(wrk2_log(samples).encode(), "x").rstrip().split("\n")
    assert written == [line.rstrip() for line in distribution(samples)[11:-1]]
    assert (written[0].split()[0], written[-1].split()[0]) == ("Value", "#[Buckets")
