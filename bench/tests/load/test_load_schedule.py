import itertools
import random
import statistics

import pytest
from ironbench.errors import IronbenchError
from ironbench.load.schedule import make_schedule, wakes
from ironbench.records import Load

CASES = [
    (arrivals, *case)
    for arrivals in ("even", "poisson", "wrk2-phase")
    for case in [
        (
            draw.choice([0.7, 3.0, 5.0, 33.3, 600.0, 1000.0, draw.uniform(1, 900)]),
            draw.randint(1, 20),
            draw.choice([4.0, 30.0, draw.uniform(4, 40)]),
            draw.randint(0, 10**6),
        )
        for draw in map(random.Random, range(25))
    ]
    if arrivals != "wrk2-phase" or case[0] * case[2] >= case[1]
]


def load_of(arrivals, rate=600.0, connections=4, threads=1):
    return Load(rate=rate, connections=connections, threads=threads, arrivals=arrivals)


@pytest.mark.parametrize(("arrivals", "rate", "connections", "seconds", "seed"), CASES)
def test_every_request_is_due_once_in_order_inside_the_phase(arrivals, rate, connections, seconds, seed):
    schedule = make_schedule(load_of(arrivals, rate, connections), seconds, str(seed))

    assert sorted(itertools.chain(*(lane.requests for lane in schedule.lanes))) == list(range(schedule.count))
    for lane in schedule.lanes:
        assert len(lane.due_ns) == len(lane.requests)
        assert list(lane.due_ns) == sorted(lane.due_ns)
        assert 0 <= lane.due_ns[0] <= lane.due_ns[-1] < schedule.length_ns
    assert schedule == make_schedule(load_of(arrivals, rate, connections), seconds, str(seed))
    carried = list(itertools.chain(*(lane.connections for lane in schedule.lanes)))
    assert sorted(carried) == list(range(connections))


@pytest.mark.parametrize(("arrivals", "rate", "connections", "seconds", "seed"), CASES)
def test_number_of_requests_is_exact(arrivals, rate, connections, seconds, seed):
    schedule = make_schedule(load_of(arrivals, rate, connections), seconds, str(seed))

    if arrivals == "wrk2-phase":
        assert schedule.count == connections * round(rate * seconds / connections)
        assert schedule.count / schedule.length_ns * 1e9 == pytest.approx(rate, rel=1e-8)
    else:
        assert schedule.count == round(rate * seconds)
        assert schedule.length_ns == round(seconds * 1e9)


def test_even_is_even():
    (lane,) = make_schedule(load_of("even"), 30, "").lanes

    gaps = {b - a for a, b in itertools.pairwise(lane.due_ns)}
    assert gaps <= {1_666_666, 1_666_667}


def test_wrk2_phase_has_each_thread_open_its_connections_5_ms_apart():
    schedule = make_schedule(load_of("wrk2-phase", 5, 4, threads=2), 30, "")

    assert schedule.count == 152  # 37.5 bursts are not whole: 38 of 4
    assert schedule.length_ns == 30_400_000_000
    ms = [[due / 1e6 for due in lane.due_ns] for lane in schedule.lanes]
    assert ms[0] == ms[2] == [i * 800 for i in range(38)]
    assert ms[1] == ms[3] == [i * 800 + 5 for i in range(38)]
    assert list(schedule.lanes[1].requests)[:3] == [1, 5, 9]


def test_wrk2_phase_wraps_around_a_period_shorter_than_the_distance():
    lanes = make_schedule(load_of("wrk2-phase", 800, 6, threads=2), 30, "").lanes

    assert [lane.due_ns[0] / 1e6 for lane in lanes] == [0, 5, 2.5, 0, 5, 2.5]  # periods of 7.5 ms


def test_poisson_has_exponential_gaps_and_another_seed_gives_other_ones():
    (lane,) = make_schedule(load_of("poisson"), 100, "1").lanes
    (other,) = make_schedule(load_of("poisson"), 100, "2").lanes

    gaps = [(b - a) / 1e9 for a, b in itertools.pairwise(lane.due_ns)]
    assert statistics.mean(gaps) == pytest.approx(1 / 600, rel=0.01)
    assert statistics.stdev(gaps) == pytest.approx(1 / 600, rel=0.03)
    assert statistics.median(gaps) == pytest.approx(0.6931 / 600, rel=0.03)
    # The number in a second is Poisson's: its variance is its mean (binomial here: 1 % less).
    per_second = [sum(1 for due in lane.due_ns if due // 10**9 == second) for second in range(100)]
    assert 350 < statistics.variance(per_second) < 900
    assert lane.due_ns != other.due_ns


@pytest.mark.parametrize("arrivals", ["even", "poisson"])
def test_threads_share_one_stream_in_turn(arrivals):
    (whole,) = make_schedule(load_of(arrivals), 2, "1").lanes
    one, two = make_schedule(load_of(arrivals, threads=2), 2, "1").lanes

    assert (one.connections, two.connections) == (range(2), range(2, 4))
    assert (list(one.due_ns), list(two.due_ns)) == (list(whole.due_ns[::2]), list(whole.due_ns[1::2]))
    assert (list(one.requests)[:2], list(two.requests)[:2]) == ([0, 2], [1, 3])


def test_wakes_come_at_every_due_time_and_never_far_apart():
    instants, heartbeats = wakes([[0, 35], [2, 35]], 60, 10)

    assert list(instants) == [0, 2, 12, 22, 32, 35, 45, 55, 60]
    assert list(heartbeats) == [12, 22, 32, 45, 55]


def test_no_warm_up_is_an_empty_schedule():
    assert make_schedule(load_of("even"), 0, "").count == 0


@pytest.mark.parametrize("arrivals", ["even", "poisson", "wrk2-phase"])
def test_a_phase_too_short_for_one_request_is_refused(arrivals):
    with pytest.raises(IronbenchError, match=r"too short .* make the phase longer"):
        make_schedule(load_of(arrivals, 0.1), 2, "")
