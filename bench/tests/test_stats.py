"""The exact interval: held against every sign pattern, published tables, and its own symmetries."""

import itertools
import math
import random

import pytest
from ironbench.errors import IronbenchError
from ironbench.stats import MIN_BLOCKS, Estimate, estimate, ratio

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
