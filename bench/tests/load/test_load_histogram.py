import random
import statistics

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from ironbench.errors import IronbenchError
from ironbench.load.histogram import Histograms, encode, hgrm, hlog, merge, of_durations, summarise
from ironbench.metrics import latency_figure

MS = 1_000_000


def test_summary_agrees_with_the_samples_to_three_digits():
    draw = random.Random(1)
    samples = [draw.lognormvariate(2, 1) for _ in range(20_000)]

    latency = summarise(of_durations(round(ms * MS) for ms in samples))

    samples.sort()
    assert latency.count == 20_000
    assert latency.mean == pytest.approx(statistics.mean(samples), rel=1e-3)
    assert latency.stdev == pytest.approx(statistics.pstdev(samples), rel=1e-3)
    for value, share in ((latency.p50, 0.5), (latency.p75, 0.75), (latency.p90, 0.9), (latency.p99, 0.99)):
        assert value == pytest.approx(samples[int(share * 20_000) - 1], rel=1.1e-3)
    assert latency.p999 == pytest.approx(samples[19_979], rel=1.1e-3)
    assert latency.max == pytest.approx(samples[-1], rel=1.1e-3)


def test_percentiles_follow_hdrhistograms_rule_on_few_samples():
    latency = summarise(of_durations(ms * MS for ms in (1, 2, 3, 4)))

    # floor(p / 100 * 4 + 0.5): samples 2, 3, 4, 4
    assert [round(ms) for ms in (latency.p50, latency.p75, latency.p90, latency.p99)] == [2, 3, 4, 4]


def test_nothing_recorded_is_all_zeros():
    empty = of_durations(())

    assert set(msgspec.structs.astuple(summarise(empty))) == {0}
    assert merge([encode(empty), encode(empty)]) == merge([]) == summarise(empty)
    assert "Total count    =            0" in hgrm(empty)


def test_merging_adds_counts_and_never_averages():
    fast, slow = [1 * MS] * 990, [100 * MS] * 30

    merged = merge([encode(of_durations(fast)), encode(of_durations(slow))])

    assert merged == summarise(of_durations(fast + slow))
    assert merged.count == 1020
    assert merged.p50 == pytest.approx(1, rel=1e-3)
    assert merged.p99 == pytest.approx(100, rel=1e-3)


def test_merging_one_gives_the_same_summary():
    histogram = of_durations(range(0, 300 * MS, 77_777))

    assert merge([encode(histogram)]) == summarise(histogram)


@pytest.mark.parametrize("text", ["", "nonsense", "AAAA", "HISTFAAA"])
def test_text_that_is_no_histogram_is_refused(text):
    with pytest.raises(IronbenchError, match="Histogram 2 of 2"):
        merge([encode(of_durations([MS])), text])


@pytest.mark.parametrize("duration", [-1_000_000, 48 * 3600 * 10**9])
def test_a_duration_out_of_range_is_an_error_not_lost(duration):
    with pytest.raises(ValueError, match="does not fit"):
        of_durations([duration])


def test_hgrm_is_in_milliseconds_and_ends_at_the_maximum():
    histogram = of_durations(ms * MS for ms in range(1, 1001))

    head, *rows = [line.split() for line in hgrm(histogram).splitlines() if line and not line.startswith("#")]
    assert head == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    values = [float(row[0]) for row in rows]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1000, rel=1e-3)
    assert rows[-1][1:] == ["1.000000000000", "1000"]
    median = next(row for row in rows if float(row[1]) >= 0.5)
    assert float(median[0]) == pytest.approx(1000 * float(median[1]), rel=0.01)
    assert "#[Mean    =      500.5" in hgrm(histogram)
    assert "StdDeviation   =      288.6" in hgrm(histogram)


def test_the_encoded_form_is_readable_by_the_library():
    decoded = HdrHistogram.decode(encode(of_durations([5 * MS, 7 * MS])))

    assert (decoded.total_count, decoded.significant_figures) == (2, 3)
    assert decoded.get_value_at_percentile(100) == pytest.approx(7000, rel=1e-3)


def test_hlog_is_read_by_hdrhistograms_own_reader(tmp_path):
    histogram = of_durations(ms * MS for ms in range(1, 1001))
    path = tmp_path / "latency.hlog"
    path.write_text(hlog(histogram, 1_700_000_000 * 10**9, 1_700_000_030 * 10**9))

    reader = HistogramLogReader(str(path), HdrHistogram(1, 10**9, 3))
    interval = reader.get_next_interval_histogram()
    assert interval is not None

    assert summarise(interval) == summarise(histogram)
    assert reader.get_start_time_sec() == 1_700_000_000
    assert interval.get_end_time_stamp() - interval.get_start_time_stamp() == pytest.approx(30_000)
    assert reader.get_next_interval_histogram() is None
    assert ",30.000000,1000.000000,HISTF" in path.read_text()


def test_requests_that_were_given_up_count_and_are_told():
    answered, given_up = [MS] * 900, [500 * MS] * 100
    kept = Histograms(
        latency=encode(of_durations(answered + given_up)),
        service_time="",
        own_send_lag="",
        system_send_lag="",
        timeouts=encode(of_durations(given_up)),
        censored=100,
    )
    earlier = msgspec.structs.replace(kept, latency=encode(of_durations(answered)), censored=None)
    for histograms in (kept, earlier):
        encoded, censored = histograms.latency_counted()
        latency = merge([encoded], censored)
        assert (latency.count, latency.censored) == (1000, 100)
        assert latency.mean == pytest.approx(50.9, rel=0.001)
        known = {
            name: latency_figure(latency, name) for name in ("mean", "p50", "p90", "p99", "max", "stdev")
        }
        assert [name for name, figure in known.items() if figure is not None] == ["mean", "p50", "p90"]
    assert kept.latency_counted()[0] is kept.latency
