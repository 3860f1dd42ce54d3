"""Several generators share a load: together they send what one would, at the same instants."""

import itertools

import msgspec
import pytest
from ironbench.errors import IronbenchError
from ironbench.files import read_record
from ironbench.load import histogram
from ironbench.load.engine import LONGEST_WAIT_NS, _appointed
from ironbench.load.histogram import Histograms
from ironbench.load.limits import share_refusals
from ironbench.load.merged import Part, merge_histograms, merge_results
from ironbench.load.schedule import deal, make_schedule, share_of
from ironbench.records import Load

S = 10**9


def load_of(arrivals, rate=101.0, connections=6, threads=3):
    return Load(rate=rate, connections=connections, threads=threads, arrivals=arrivals)


@pytest.mark.parametrize("generators", [1, 2, 3])
@pytest.mark.parametrize("arrivals", ["even", "poisson", "wrk2-phase"])
def test_the_shares_of_a_schedule_are_the_schedule(arrivals, generators):
    load = load_of(arrivals)
    whole = make_schedule(load, 3, "7")
    shares = [share_of(whole, load, threads) for threads in deal(range(load.threads), generators)]

    assert sum(share.count for share in shares) == whole.count
    for share in shares:
        numbered = sorted(itertools.chain(*(lane.requests for lane in share.lanes)))
        assert numbered == list(range(share.count)), "counted from 0, each once"
        assert share.length_ns == whole.length_ns

    def sent(lanes):
        return {
            number: (due, lane.connections)
            for lane in lanes
            for number, due in zip(lane.numbers, lane.due_ns, strict=True)
        }

    assert sent(lane for share in shares for lane in share.lanes) == sent(whole.lanes)


def test_no_warm_up_is_shared_too():
    load = load_of("even")
    assert share_of(make_schedule(load, 0, ""), load, range(1)).count == 0


def test_what_cannot_be_shared_is_refused(measure, server):
    assert list(share_refusals(load_of("even"), 3)) == []
    assert "load.threads is 3" in next(share_refusals(load_of("even"), 4))
    wrk2 = Load(rate=10, connections=4, threads=4, arrivals="wrk2-phase", backend="wrk2")
    assert "from one machine" in next(share_refusals(wrk2, 2))
    assert list(share_refusals(wrk2, 1)) == []
    with pytest.raises(IronbenchError, match="cannot be shared"):
        measure(server.url, threads=1, generators=2)
    with pytest.raises(IronbenchError, match=r"generator of .* is 2"):
        measure(server.url, generator=2, generators=2)


def test_an_appointment_is_kept_if_it_can_be():
    assert _appointed(5 * S, None) == 5 * S
    assert _appointed(5 * S, 9 * S) == 9 * S
    assert _appointed(5 * S, 4 * S) == 5 * S, "too late for it: as soon as possible"
    assert _appointed(5 * S, 6 * S + LONGEST_WAIT_NS) == 5 * S, "of a clock that is wrong"


def test_results_are_merged_by_count(measure, server):
    shares = [
        measure(server.url, out=str(number), generator=number, generators=2, rate=50.0, connections=4)
        for number in range(2)
    ]
    parts = [
        Part(
            host=f"load{number}",
            result=run.result,
            histograms=read_record(run.out / "histograms.json", Histograms),
            waits=[
                (
                    int(row["intended_ns"]) - run.result.idle_until_ns,
                    int(row["done_ns"]) - int(row["intended_ns"]),
                )
                for row in run.rows
            ],
        )
        for number, run in enumerate(shares)
    ]
    one, two = (run.result for run in shares)
    assert {row["connection"] for row in shares[0].rows} == {"0", "1"}
    assert {row["connection"] for row in shares[1].rows} == {"2", "3"}
    merged = merge_results(parts)

    assert (one.scheduled, two.scheduled, merged.scheduled) == (13, 12, 25)
    assert merged.offered_rps == 50.0
    assert merged.completed == one.completed + two.completed == merged.latency.count
    assert merged.latency.max == max(one.latency.max, two.latency.max)
    everything = [*parts[0].waits, *parts[1].waits]
    exact = histogram.summarise(histogram.of_durations(took for _, took in everything))
    assert merged.latency == exact
    assert merged.seconds
    assert sum(second.count for second in merged.seconds) == merged.completed
    assert (merged.first_send_ns, merged.drained_ns) == (one.first_send_ns, two.drained_ns)
    assert len(merged.local_ports) == 4
    assert merged.threads == 2
    assert merged.bodies_sampled == one.bodies_sampled + two.bodies_sampled == merged.completed
    assert merged.gate_after == one.gate_after == two.gate_after
    assert merge_results(parts[:1]) == one, "a generator that is alone has seen all"


def test_what_went_wrong_on_one_of_several_generators_is_in_the_whole(measure, server):
    shares = [
        measure(server.url, path, out=str(number), generator=number, generators=2, rate=100.0, timeout_s=0.2)
        for number, path in enumerate(("/ok", "/after/9/silent"))
    ]
    parts = [
        Part(
            host=f"load{number}",
            result=msgspec.structs.replace(run.result, bodies_wrong=number, body_detail="No." * number),
            histograms=read_record(run.out / "histograms.json", Histograms),
            waits=[],
        )
        for number, run in enumerate(shares)
    ]
    merged = merge_results(parts)
    assert merged.latency.censored == merged.errors["timeout"] == shares[1].result.errors["timeout"] > 0
    assert merged.latency.count == merged.completed + merged.latency.censored
    assert merge_histograms([part.histograms for part in parts]).censored == merged.latency.censored
    assert (merged.bodies_wrong, merged.body_detail) == (1, "No.")
    assert merged.gate.ok
    assert merged.gate_after is not None
    assert not merged.gate_after.ok
