"""The exact interval: held against every sign pattern, published tables, and its own symmetries."""

import itertools
import math
import random
import statistics

import pytest
from ironbench.errors import IronbenchError
from ironbench.stats import (
    ALPHA,
    EXACT_BLOCKS,
    MIN_BLOCKS,
    POWER,
    Estimate,
    binomial_p,
    blocks_for_effect,
    blocks_for_family,
    call,
    estimate,
    farthest,
    holm,
    power,
    ratio,
    sign_flip_p,
    smallest_effect,
    spread,
)

MAGNITUDES = [0.013, 0.021, 0.005, 0.034, 0.002, 0.055, 0.0013, 0.089, 0.0144, 0.0233, 0.0377]
"""No two Walsh averages of any signs of these are 0, so that every pattern is told apart."""


def averages_of(values: list[float]) -> list[float]:
    return sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2))


def limits(made: Estimate) -> tuple[float, float]:
    assert made.low is not None
    assert made.high is not None
    return made.low, made.high


@pytest.mark.parametrize(
    ("blocks", "confidence"),
    [(6, 0.95), (7, 0.95), (8, 0.95), (8, 0.99), (10, 0.9), (10, 0.95), (10, 0.99), (11, 0.95)],
)
def test_coverage_is_exact_over_all_sign_patterns(blocks, confidence):
    """Under an effect of 0 all signs are equally likely: count those whose interval holds it."""
    made = [
        estimate([s * m for s, m in zip(signs, MAGNITUDES, strict=False)], confidence)
        for signs in itertools.product((-1, 1), repeat=blocks)
    ]
    held = sum(low <= 0 <= high for low, high in map(limits, made))
    assert made[0].coverage == held / len(made) >= confidence


@pytest.mark.parametrize("blocks", range(6, 12))
def test_interval_is_the_shortest_that_covers_enough(blocks):
    """With one more Walsh average cut off at each end, too many patterns would miss the effect."""
    missed, patterns = 0, list(itertools.product((-1, 1), repeat=blocks))
    for signs in patterns:
        values = [s * m for s, m in zip(signs, MAGNITUDES, strict=False)]
        low, high = (averages_of(values).index(limit) for limit in limits(estimate(values)))
        missed += not averages_of(values)[low + 1] <= 0 <= averages_of(values)[high - 1]
    assert missed / len(patterns) > 0.05


@pytest.mark.parametrize(
    ("blocks", "k"), [(6, 1), (7, 3), (8, 4), (9, 6), (10, 9), (12, 14), (15, 26), (20, 53), (25, 90)]
)
def test_limits_agree_with_published_critical_values(blocks, k):
    """Largest signed-rank sum that rejects at 5 %, two-sided, plus one: any table of Wilcoxon's test."""
    values = [2.0**i for i in range(blocks)]  # their Walsh averages are all different
    assert limits(estimate(values)) == (averages_of(values)[k - 1], averages_of(values)[-k])


def test_ten_blocks_by_hand():
    made = estimate([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    # 9th smallest of 1, 1.5, 2, 2, 2.5, 2.5, 3, 3, 3, ...
    assert (made.value, made.low, made.high, made.blocks) == (5.5, 3.0, 8.0, 10)
    assert made.coverage == pytest.approx(1 - 2 * 25 / 1024)


@pytest.mark.parametrize("blocks", range(1, MIN_BLOCKS))
def test_too_few_blocks_have_no_interval(blocks):
    made = estimate([1.0] * blocks)
    assert (made.value, made.low, made.high, made.coverage) == (1.0, None, None, None)


def test_fewest_blocks_span_all_values():
    made = estimate([3, 1, 2, 6, 5, 4])
    assert (made.low, made.high, made.coverage) == (1, 6, 1 - 2 / 64)


@pytest.mark.parametrize("blocks", range(MIN_BLOCKS, 23))
def test_interval_encloses_the_median(blocks):
    draw = random.Random(blocks)
    for _ in range(50):
        made = estimate([draw.expovariate(1.0) for _ in range(blocks)])
        low, high = limits(made)
        assert low <= made.value <= high


def test_one_bad_block_moves_neither_the_effect_nor_the_far_limit():
    quiet = [-0.02, -0.01, -0.005, 0.0, 0.001, 0.004, 0.008, 0.011, 0.02]
    good, bad = estimate([*quiet, 0.03]), estimate([*quiet, 50.0])
    assert (bad.value, bad.low) == (good.value, good.low)


def test_ratio_is_the_median_of_log_ratios():
    base = [10, 20, 30, 40, 50, 60, 70]
    factors = [0.5, 0.5, 0.4, 0.6, 0.5, 0.55, 0.45]
    made = ratio([b * f for b, f in zip(base, factors, strict=True)], base)
    assert made.value == pytest.approx(0.5)
    # Third smallest and third largest geometric mean of two: those of (0.4, 0.5) and (0.55, 0.55).
    assert made.low == pytest.approx(math.sqrt(0.4 * 0.5))
    assert made.high == pytest.approx(0.55)


def test_ratio_of_the_exchanged_pair_is_the_inverse():
    a, b = [3.0, 3.1, 2.9, 3.3, 3.0, 2.8], [1.0, 1.1, 0.9, 1.0, 1.2, 1.0]
    there, back = ratio(a, b), ratio(b, a)
    assert back.value == pytest.approx(1 / there.value)
    low, high = limits(there)
    assert limits(back) == pytest.approx((1 / high, 1 / low))


def test_common_disturbance_of_a_block_cancels():
    a, b = [3.0, 3.1, 2.9, 3.3, 3.0, 2.8], [1.0, 1.1, 0.9, 1.0, 1.2, 1.0]
    weather = [1, 5, 0.2, 17, 3, 1]
    disturbed = ratio(
        [x * w for x, w in zip(a, weather, strict=True)], [x * w for x, w in zip(b, weather, strict=True)]
    )
    calm = ratio(a, b)
    assert (disturbed.low, disturbed.value, disturbed.high) == pytest.approx(
        (calm.low, calm.value, calm.high)
    )


def test_many_blocks_are_no_burden():
    coverage = estimate([i / 200 for i in range(200)]).coverage
    assert coverage == pytest.approx(0.95, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate([]), "there is no block"),
        (lambda: estimate([1.0, math.nan]), "not a finite number"),
        (lambda: estimate([1.0], confidence=95), "confidence is 95"),
        (lambda: ratio([1.0, 2.0], [1.0]), "2 figures cannot be paired with 1"),
        (lambda: ratio([1.0], [0.0]), "positive figures"),
        (lambda: ratio([-1.0], [1.0]), "positive figures"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(IronbenchError, match=message):
        call()


# --- the test's p ------------------------------------------------------------------------------


def p_by_hand(values: list[float]) -> float:
    """Write out every sign pattern; zeros keep their rank and have no side, ties share their mean rank."""
    magnitudes = sorted(abs(value) for value in values)
    ranks = [
        sum(place for place, m in enumerate(magnitudes, 1) if m == abs(value)) / magnitudes.count(abs(value))
        for value in values
    ]
    sided = [(rank, math.copysign(1, value)) for rank, value in zip(ranks, values, strict=True) if value]
    seen = abs(sum(rank * sign for rank, sign in sided))
    patterns = list(itertools.product((-1, 1), repeat=len(sided)))
    sums = [abs(sum(s * rank for s, (rank, _) in zip(signs, sided, strict=True))) for signs in patterns]
    return sum(one >= seen - 1e-9 for one in sums) / len(patterns)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        [-1.0, 2.0, 3.0, -4.0, 5.0, 6.0, 7.0],
        [1.0, 1.0, -1.0, 2.0, 2.0, -3.0, 3.0, 3.0],
        [0.0, 0.0, 1.0, -2.0, 3.0, 4.0, 5.0],
        [0.0, 1.0, 1.0, 1.0, 1.0, -1.0, 2.0, 2.0, 2.0, 2.0],
        [-2.0, -2.0, -2.0, 2.0],
        [0.0, 0.0, 0.0],
        [-4.0],
    ],
)
def test_p_counts_the_sign_patterns(values):
    assert sign_flip_p(values) == pytest.approx(p_by_hand(values))


def test_p_of_agreeing_blocks_is_the_smallest_there_is():
    for blocks in range(1, 13):
        assert sign_flip_p([0.1 * (i + 1) for i in range(blocks)]) == min(1.0, 2 / 2**blocks)


def test_zeros_weigh_against_an_effect():
    assert sign_flip_p([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]) == 2 / 2**4
    with_small = sign_flip_p([0.001, 0.001, 0.001, 0.001, 1.0, 2.0, 3.0, 4.0])
    assert with_small < 2 / 2**4


@pytest.mark.parametrize("blocks", [6, 7, 8, 9, 10, 12])
def test_p_and_interval_agree_without_ties(blocks):
    """Over sign patterns of one set of magnitudes: p is at most 5 % exactly where 0 is outside."""
    draw = random.Random(blocks)
    told = set()
    for _ in range(400):
        values = [draw.gauss(0.7, 1) for _ in range(blocks)]
        low, high = limits(estimate(values))
        told.add(not low <= 0 <= high)
        assert (sign_flip_p(values) <= ALPHA) == (not low <= 0 <= high)
    assert told == {True, False}


def test_many_blocks_go_over_to_the_normal_distribution():
    """At the seam the exact figures and the normal ones say the same."""
    draw = random.Random(3)
    values = [draw.gauss(0.25, 1) for _ in range(EXACT_BLOCKS)]
    more = [*values, 1e-9]  # the rank below all others
    assert sign_flip_p(more) == pytest.approx(sign_flip_p(values), rel=0.1)
    exact, normal = estimate(values), estimate([*values, statistics.median(values)])
    assert normal.coverage == pytest.approx(0.95, abs=0.0006)
    assert limits(normal) == pytest.approx(limits(exact), rel=0.08)


def test_limits_of_thousands_of_blocks_are_walsh_averages():
    draw = random.Random(4)
    values = [draw.gauss(0, 1) for _ in range(300)]
    low, high = limits(estimate(values))
    averages = averages_of(values)
    places = [min(range(len(averages)), key=lambda i, x=x: abs(averages[i] - x)) for x in (low, high)]
    assert averages[places[0]] == pytest.approx(low, abs=1e-10)
    assert places[0] == len(averages) - 1 - places[1]
    expected = 300 * 301 / 4 - 1.96 * math.sqrt(300 * 301 * 601 / 24)
    assert places[0] == pytest.approx(expected, abs=2)


def test_no_value_no_test():
    with pytest.raises(IronbenchError, match="no block to test"):
        sign_flip_p([])


# --- Holm --------------------------------------------------------------------------------------


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_falls_below_a_smaller_p_and_never_exceeds_one():
    assert holm([0.02, 0.021, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.03]) == [0.03]


@pytest.mark.parametrize(
    ("comparisons", "blocks"), [(1, 6), (2, 7), (25, 10), (26, 11), (102, 12), (103, 13)]
)
def test_blocks_for_a_family(comparisons, blocks):
    assert blocks_for_family(comparisons) == blocks
    smallest = sign_flip_p([1.0 + i for i in range(blocks)])
    assert holm([smallest] * comparisons)[0] <= ALPHA
    if blocks > MIN_BLOCKS:
        assert holm([2 * smallest] * comparisons)[0] > ALPHA


# --- margin and call ---------------------------------------------------------------------------


def factor(value, low, high):
    return Estimate(value=value, low=low, high=high, coverage=0.95, blocks=10)


@pytest.mark.parametrize(
    ("made", "margin", "says"),
    [
        (factor(0.90, 0.88, 0.92), 0.02, "lower"),
        (factor(1.10, 1.08, 1.12), 0.02, "higher"),
        (factor(1.00, 0.99, 1.01), 0.02, "equivalent"),
        (factor(0.99, 0.981, 0.995), 0.02, "equivalent"),
        (factor(0.985, 0.97, 0.995), 0.02, "undecided"),  # below 1, but within the margin
        (factor(0.95, 0.89, 1.01), 0.02, "undecided"),
        (factor(0.90, 0.88, 0.92), 0.12, "undecided"),
        (factor(0.90, 0.88, 0.92), 0.15, "equivalent"),
        (factor(0.90, None, None), 0.02, "too few runs"),
    ],
)
def test_call(made, margin, says):
    assert call(made, margin) == says


def test_margin_counts_both_ways_alike():
    assert farthest(1 / 1.05, 1.01) == pytest.approx(0.05)
    assert farthest(0.99, 1.05) == pytest.approx(0.05)
    assert farthest(1.03, None) == pytest.approx(0.03)


# --- what a plan can see -----------------------------------------------------------------------


def test_power_grows_with_blocks_and_effect_and_falls_with_spread():
    assert power(10, 0.03, 0.05) < power(20, 0.03, 0.05)
    assert power(10, 0.03, 0.05) < power(10, 0.03, 0.10)
    assert power(10, 0.06, 0.05) < power(10, 0.03, 0.05)
    assert power(10, 0.03, 0.05, 0.05 / 20) < power(10, 0.03, 0.05)
    assert power(10, 0.03, 0.05) < power(10, 0.03, 0.05, a_a=False)


def test_power_of_the_test_alone_is_the_published_one():
    """Signed-rank test, 5 %, normal, shift of one standard deviation, n = 10: 0.80 (t test: 0.803)."""
    assert power(10, 1.0, math.expm1(1.0), a_a=False) == pytest.approx(0.79, abs=0.03)
    assert power(20, 1.0, math.expm1(0.5), a_a=False) == pytest.approx(0.54, abs=0.03)


def test_nothing_is_seen_within_the_margin_or_without_enough_blocks():
    assert power(50, 0.001, 0.019) == 0
    assert power(50, 0.001, 0.021) == 1
    assert power(5, 0.001, 0.5) == 0
    assert power(10, 0.001, 0.5, 0.05 / 26) == 0
    assert smallest_effect(5, 0.01) is None
    assert blocks_for_effect(0.015, 0.001) is None
    assert blocks_for_effect(0.05, 0.5) is None


@pytest.mark.parametrize(("effect", "sd"), [(0.05, 0.02), (0.1, 0.05), (0.03, 0.01)])
def test_planned_blocks_have_the_power_and_one_fewer_has_not(effect, sd):
    blocks = blocks_for_effect(effect, sd)
    assert blocks is not None
    assert power(blocks, sd, effect) >= POWER
    smallest = smallest_effect(blocks, sd)
    assert smallest is not None
    assert smallest <= effect
    fewer = smallest_effect(blocks - 1, sd)
    assert fewer is None or fewer > effect


def test_spread_is_the_standard_deviation_of_normal_noise():
    """By the error of 500 draws above it, which is some per cent."""
    draw = random.Random(5)
    for blocks in (10, 30, 60):
        found = [spread([draw.gauss(0, 0.03) for _ in range(blocks)]) for _ in range(60)]
        assert 0.029 <= statistics.fmean(one for one in found if one) <= 0.034
    assert spread([0.1] * 5) is None


def test_spread_is_of_the_noise_and_not_of_the_effect():
    draw = random.Random(6)
    values = [draw.gauss(0, 0.03) for _ in range(12)]
    assert spread([value + 2 for value in values]) == pytest.approx(spread(values))
    assert spread([2 * value for value in values]) == pytest.approx(2 * (spread(values) or 0))


def test_spread_knows_what_outliers_do_to_a_plan():
    """One block in ten far off leaves the middle of the values as it is, and plans of ten blocks half blind."""
    draw = random.Random(7)
    calm = [draw.gauss(0, 0.03) for _ in range(200)]
    disturbed = [value + (0.5 if i % 10 == 0 else 0) for i, value in enumerate(calm)]
    there, here = spread(disturbed, blocks=10), spread(calm, blocks=10)
    assert there is not None
    assert here is not None
    assert there > 4 * here


@pytest.mark.parametrize(
    ("successes", "trials", "p"),
    [(10, 10, 2 / 1024), (0, 10, 2 / 1024), (9, 10, 22 / 1024), (5, 10, 1.0), (1, 1, 1.0), (0, 0, 1.0)],
)
def test_two_sided_binomial(successes, trials, p):
    assert binomial_p(successes, trials) == pytest.approx(p)
