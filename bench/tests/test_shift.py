"""The shift between two unpaired groups: known limits, brute force, and coverage where the truth is known."""

import itertools
import math
import random

import pytest
from ironbench.compare import shift as module
from ironbench.compare.shift import shift
from ironbench.errors import IronbenchError


def limit(first, second):
    return module._limit.__wrapped__(first, second, 0.95)


@pytest.mark.parametrize(
    ("sizes", "critical"),
    # Two-sided critical values of U at 5 %, as every table of the Mann-Whitney test has them.
    [
        ((4, 4), 0),
        ((3, 5), 0),
        ((5, 5), 2),
        ((5, 8), 6),
        ((6, 6), 5),
        ((8, 8), 13),
        ((10, 10), 23),
        ((20, 20), 127),
    ],
)
def test_limits_are_those_of_the_tables(sizes, critical):
    k, coverage = limit(*sizes)
    assert k == critical + 1
    assert coverage >= 0.95


@pytest.mark.parametrize("sizes", [(3, 3), (2, 7), (1, 30), (3, 4)])
def test_too_few_sessions_have_no_interval(sizes):
    assert limit(*sizes) == (0, 0.0)
    made = shift([10.0 + i for i in range(sizes[0])], [20.0 + i for i in range(sizes[1])])
    assert made
    assert made.value > 1
    assert (made.low, made.high, made.coverage) == (None, None, None)


@pytest.mark.parametrize(("first", "second"), [(3, 4), (5, 2), (4, 4), (1, 6)])
def test_orders_by_brute_force(first, second):
    counts = [0] * (first * second + 1)
    for places in itertools.combinations(range(first + second), first):
        others = [place for place in range(first + second) if place not in places]
        counts[sum(a > b for a in places for b in others)] += 1
    assert module._orders(first, second) == counts


def test_by_hand():
    made = shift([1.0, 2.0, 4.0, 8.0], [2.0, 4.0, 8.0, 16.0])
    assert made
    assert made.value == pytest.approx(2.0)
    assert (made.low, made.high) == (pytest.approx(2 / 8), pytest.approx(16.0))  # the extremes of 16 ratios
    assert made.coverage == pytest.approx(1 - 2 / math.comb(8, 4))
    assert made.sessions == (4, 4)


def test_both_directions_say_the_same():
    draw = random.Random(1)
    one, other = ([draw.lognormvariate(0, 0.1) for _ in range(n)] for n in (7, 9))
    there, back = shift(one, other), shift(other, one)
    assert there
    assert back
    assert there.low
    assert there.high
    assert (back.value, back.low, back.high) == pytest.approx(
        (1 / there.value, 1 / there.high, 1 / there.low)
    )


@pytest.mark.parametrize("noise", ["normal", "heavy", "bimodal"])
@pytest.mark.parametrize("sizes", [(6, 6), (5, 10)])
def test_coverage_where_the_truth_is_known(noise, sizes):
    """95 % or a little more, since there are no fractions of orders; three standard errors of 2,000 plans."""
    draw = random.Random(f"{noise}{sizes}")

    def one():
        if noise == "normal":
            return draw.gauss(0, 0.02)
        if noise == "heavy":
            return 0.02 * draw.gauss(0, 1) / abs(draw.gauss(0, 1))
        return draw.choice((0.0, 0.2)) + draw.gauss(0, 0.01)

    truth, held, plans = math.log(1.07), 0, 2000
    for _ in range(plans):
        made = shift(
            [math.exp(one()) for _ in range(sizes[0])], [math.exp(truth + one()) for _ in range(sizes[1])]
        )
        assert made
        assert made.low
        assert made.high
        held += made.low <= math.exp(truth) <= made.high
    exact = limit(*sizes)[1]
    assert abs(held / plans - exact) < 3 * math.sqrt(exact * (1 - exact) / plans)


def test_many_sessions_without_writing_out_all_pairs(monkeypatch):
    draw = random.Random(3)
    one, other = ([draw.lognormvariate(shifted, 0.1) for _ in range(45)] for shifted in (0, 0.05))
    exact = shift(one, other)
    kept = limit(45, 45)
    monkeypatch.setattr(module, "_limit", lambda *_: kept)
    monkeypatch.setattr(module, "EXACT_PAIRS", 0)
    by_bisection = shift(one, other)
    assert exact
    assert by_bisection
    assert (by_bisection.value, by_bisection.low, by_bisection.high) == pytest.approx(
        (exact.value, exact.low, exact.high), rel=1e-12
    )


@pytest.mark.parametrize("sizes", [(50, 50), (25, 100), (10, 250)])
def test_beyond_the_exact_the_limit_is_off_by_next_to_nothing(monkeypatch, sizes):
    exact = limit(*sizes)[0]
    monkeypatch.setattr(module, "EXACT_PAIRS", 0)
    assert 0 <= exact - limit(*sizes)[0] <= 2


def test_empty_group():
    assert shift([], [1.0]) is None
    assert shift([1.0], []) is None


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_figures_must_be_positive(bad):
    with pytest.raises(IronbenchError, match="positive figures"):
        shift([1.0, bad], [1.0])
