"""Latency by second of the window."""

import random

from ironbench.load import histogram
from ironbench.load.seconds import by_second
from ironbench.records import Second

MS = 1_000_000
S = 1_000 * MS
NOTHING = Second(count=0, mean=0, p50=0, p99=0, max=0)


def test_requests_belong_to_the_second_in_which_they_were_due():
    answered = [(0, 2 * MS), (S - 1, 4 * MS), (S, 3_000 * MS), (2 * S + 400 * MS, 1 * MS)]
    first, second, third = by_second(answered, 2 * S + 500 * MS)
    assert first == Second(count=2, mean=3, p50=2, p99=4, max=4)
    assert second == Second(count=1, mean=3000, p50=3000, p99=3000, max=3000)
    assert third == Second(count=1, mean=1, p50=1, p99=1, max=1)


def test_a_second_without_an_answer_is_there():
    assert by_second([(2 * S, MS)], 3 * S) == [NOTHING, NOTHING, Second(count=1, mean=1, p50=1, p99=1, max=1)]
    assert by_second([], 2 * S) == [NOTHING, NOTHING]


def test_durations_are_rounded_to_microseconds():
    (second,) = by_second([(0, 1_499), (0, 1_500)], S)
    assert (second.p50, second.max) == (0.001, 0.002)


def test_percentiles_are_those_of_the_histogram():
    rng = random.Random(3)
    for count in (1, 2, 3, 9, 50, 99, 100, 101, 600):
        durations = [rng.randrange(2_000_000) // 1000 * 1000 for _ in range(count)]  # exact in both
        (second,) = by_second([(0, duration) for duration in durations], S)
        summary = histogram.summarise(histogram.of_durations(durations))
        assert (second.count, second.p50, second.p99, second.max) == (
            count,
            summary.p50,
            summary.p99,
            summary.max,
        )
