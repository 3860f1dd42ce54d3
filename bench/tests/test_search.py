"""Which rates a search tries, and what it concludes; every step is made up."""

import pytest
from ironbench.load.search import judge_step, next_rate, search_result
from ironbench.records import Search

from .made import latencies, load_result, replace

SEARCH = Search(p99_ms=50, from_rate=100, to_rate=1600, steps=6, step_s=10)


def walk(capacity, search=SEARCH):
    """Search where P99 stays under the bound up to a capacity."""
    steps = []
    while (rate := next_rate(search, steps)) is not None:
        load = load_result(latencies(20.0 if rate <= capacity else 80.0, 1000))
        steps.append(judge_step(search, rate, load))
    return search_result(search, steps)


def test_it_halves_the_ratio():
    found = walk(700)
    assert [step.rate for step in found.steps] == [100, 1600, 400, 800, 566, 673]
    assert (found.highest_rps, found.lowest_rps) == (673, 800)


def test_all_is_kept():
    found = walk(9999)
    assert [step.rate for step in found.steps] == [100, 1600]
    assert (found.highest_rps, found.lowest_rps) == (1600, None)


def test_nothing_is_kept():
    found = walk(10)
    assert [step.rate for step in found.steps] == [100]
    assert (found.highest_rps, found.lowest_rps) == (None, 100)


@pytest.mark.parametrize(
    ("changes", "why_not"),
    [
        ({}, ""),
        ({"achieved_rps": 90.0, "offered_rps": 100.0}, "90 requests per second were answered"),
        ({"errors": {"timeout": 2}}, "2 errors and unexpected answers"),
        ({"unexpected_status": 3}, "3 errors and unexpected answers"),
    ],
)
def test_a_rate_is_kept_only_if_all_was_answered(changes, why_not):
    load = replace(load_result(latencies(20.0, 1000)), **changes)
    step = judge_step(SEARCH, 100, load)
    assert (step.kept, step.why_not) == (not why_not, why_not)


def test_p99_above_the_bound_is_named():
    assert "P99 was" in judge_step(SEARCH, 100, load_result(latencies(80.0, 1000))).why_not
