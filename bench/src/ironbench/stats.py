"""Effect of one variant on another over paired blocks: interval, exact test, margin, and what can be seen.

The figures of one block are compared with each other only. The effect is the median over blocks; its
interval inverts the sign-flip test that has Wilcoxon's signed-rank sum as its statistic. For that
statistic the inversion has a closed form. It is a third shorter than the one from the signs alone where
ten blocks are well-behaved, and hardly longer where some are not; one from the mean follows every outlier.

The test needs that the blocks' values lie symmetrically around the effect. The random order within
a block makes it so for log-ratios: when two variants differ by a constant factor, exchanging their
disturbances turns the deviation of the log-ratio around and is as likely as not.

Beyond ``EXACT_BLOCKS`` blocks the distribution of the signed-rank sum is replaced by the normal one of the
same mean and variance, which is then within 0.001 of it.

Sources: J. W. Tukey, "The simplest signed-rank tests", Princeton Memorandum Report 17 (1949), for the
interval; M. Hollander, D. A. Wolfe, E. Chicken, "Nonparametric Statistical Methods", 3rd ed. (2014),
sections 3.1-3.3, for the test, its exact distribution and the interval; J. W. Pratt, "Remarks on zeros and
ties in the Wilcoxon signed rank procedures", JASA 54 (1959), for zeros; S. Holm, "A simple sequentially
rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
import random
import statistics
from bisect import bisect_left
from functools import cache, lru_cache
from itertools import accumulate, combinations_with_replacement
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ironbench.records import Call

CONFIDENCE = 0.95
ALPHA = 0.05
"""Of a test after correction; 1 - CONFIDENCE."""

MIN_BLOCKS = 6
"""Of fewer blocks no interval of 95 % can be had: even its widest, from the smallest to the largest
value, misses the effect when all signs agree, in 2 of 2**n cases, and 2/2**5 is more than 5 %."""

MIN_MARGIN = 0.02
"""Differences up to 2 % are none, however quiet the host: a factor from 1/1.02 to 1.02."""

POWER = 0.8
"""With which a plan is to see the effect that it was made for."""

EXACT_BLOCKS = 50

_SIMULATIONS = 2000
_RESAMPLES = 500
_SEED = 20260518


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of the paired blocks, in the unit of the values that it was made of."""

    value: float
    """Median over blocks."""
    low: float | None
    high: float | None
    """Ends of the interval; None where there are too few blocks for one."""
    coverage: float | None
    """Probability with which such an interval holds the effect: ``confidence`` or little more, since
    there are 2**blocks sign patterns and no fractions of them."""
    blocks: int


# --- the interval ------------------------------------------------------------------------------


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the median of one value a block, with its interval.

    The limits are Walsh averages (means of two values, each with itself included): the k-th smallest
    and the k-th largest. Up to 22 blocks they always enclose the median.

    Raises IronbenchError when there is no value, or one that is not finite, or when ``confidence``
    is not between 0 and 1.
    """
    if not values:
        raise IronbenchError("there is no block to estimate from: measure at least one.")
    if not all(math.isfinite(value) for value in values):
        raise IronbenchError("a block's value is not a finite number: leave that block out or repeat it.")
    low = high = coverage = None
    k, exact = _limit(len(values), confidence)
    if k:
        low, high = _averages(values, k)
        coverage = exact
    return Estimate(
        value=statistics.median(values), low=low, high=high, coverage=coverage, blocks=len(values)
    )


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Return the factor between two variants, from one figure of each a block, in the same order.

    It is estimated as a log-ratio and transformed back, so that a/b and b/a say the same.

    Raises IronbenchError when the lengths differ, and when a figure is not a positive number.
    """
    logs = estimate(log_ratios(numerators, denominators))
    return msgspec.structs.replace(
        logs,
        value=math.exp(logs.value),
        low=None if logs.low is None else math.exp(logs.low),
        high=None if logs.high is None else math.exp(logs.high),
    )


def log_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the logarithm of each block's ratio; raises as ``ratio`` does."""
    if len(numerators) != len(denominators):
        raise IronbenchError(
            f"{len(numerators)} figures cannot be paired with {len(denominators)}: give one of each a block."
        )
    if not all(0 < figure < math.inf for figure in (*numerators, *denominators)):
        raise IronbenchError("a ratio needs positive figures: leave the block with another one out.")
    return [math.log(a / b) for a, b in zip(numerators, denominators, strict=True)]


@cache
def _limit(blocks: int, confidence: float) -> tuple[int, float]:
    """Return (k, coverage) of the interval from the k-th smallest Walsh average to the k-th largest.

    A signed-rank sum of k or more on either side accepts the effect; k is the largest for which that
    happens with the wanted probability. k is 0 when there is none.
    """
    if not 0 < confidence < 1:
        raise IronbenchError(f"confidence is {confidence}: give a probability between 0 and 1, such as 0.95.")
    if blocks > EXACT_BLOCKS:
        normal = _rank_sum(blocks)
        k = math.floor(normal.inv_cdf((1 - confidence) / 2) + 0.5)
        return k, 1 - 2 * normal.cdf(k - 0.5)
    patterns = 2**blocks
    k, coverage = 0, 0.0
    for ranks_below, below in enumerate(accumulate(_sign_patterns(tuple(range(1, blocks + 1))))):
        exact = 1 - 2 * below / patterns
        if exact < confidence:
            break
        k, coverage = ranks_below + 1, exact
    return k, coverage


def _rank_sum(blocks: int) -> statistics.NormalDist:
    """Return the normal distribution with mean and variance of the sum of positive ranks."""
    variance = blocks * (blocks + 1) * (2 * blocks + 1) / 24
    return statistics.NormalDist(blocks * (blocks + 1) / 4, math.sqrt(variance))


@lru_cache(maxsize=256)
def _sign_patterns(ranks: tuple[int, ...]) -> list[int]:
    """How many of the sign patterns have which sum of positive ranks, from 0 upwards.

    Counted rank by rank, so that no pattern is written out: with or without each rank.
    """
    counts = [1]
    for rank in ranks:
        without, with_rank = [*counts, *[0] * rank], [*[0] * rank, *counts]
        counts = [a + b for a, b in zip(without, with_rank, strict=True)]
    return counts


def _averages(values: Sequence[float], k: int) -> tuple[float, float]:
    """Return the k-th smallest and the k-th largest Walsh average."""
    if len(values) <= EXACT_BLOCKS:
        averages = sorted((a + b) / 2 for a, b in combinations_with_replacement(values, 2))
        return averages[k - 1], averages[-k]
    return _average(values, k), -_average([-value for value in values], k)


def _average(values: Sequence[float], k: int) -> float:
    """Return the k-th smallest Walsh average to a part in 10**12 of the values' range, by bisection.

    Thousands of blocks have millions of averages, and none of them needs to be written out.
    """
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    for _ in range(40):
        middle = (low + high) / 2
        if _averages_up_to(ordered, middle) >= k:
            high = middle
        else:
            low = middle
    return high


def _averages_up_to(ordered: list[float], limit: float) -> int:
    """How many Walsh averages of ascending values are at most ``limit``."""
    count, last = 0, len(ordered) - 1
    for first, value in enumerate(ordered):
        while last >= first and value + ordered[last] > 2 * limit:
            last -= 1
        if last < first:
            break
        count += last - first + 1
    return count


# --- the test ----------------------------------------------------------------------------------


def sign_flip_p(values: Sequence[float]) -> float:
    """Two-sided p of no effect: the part of all sign patterns whose signed-rank sum lies as far out.

    Equal magnitudes share their mean rank. A zero has its rank among the others and no side, so that it
    weighs against an effect without favouring either. The distribution is that of the very ranks found,
    so the p is exact with ties too. Without ties p <= 0.05 says just what the interval says; with ties the
    interval is the more careful of the two. Raises IronbenchError without a value.
    """
    if not values:
        raise IronbenchError("there is no block to test: measure at least one.")
    doubled = _doubled_ranks([abs(value) for value in values])
    sided = [(rank, value > 0) for rank, value in zip(doubled, values, strict=True) if value]
    ranks = tuple(sorted(rank for rank, _ in sided))
    if not ranks:
        return 1.0
    positive, total = sum(rank for rank, above in sided if above), sum(ranks)
    smaller = min(positive, total - positive)
    if len(ranks) > EXACT_BLOCKS:
        spread = math.sqrt(sum(rank**2 for rank in ranks))
        return min(1.0, math.erfc((total - 2 * smaller - 2) / spread / math.sqrt(2)))
    below = sum(_sign_patterns(ranks)[: smaller + 1])
    return min(1.0, 2 * below / 2 ** len(ranks))


def _doubled_ranks(magnitudes: list[float]) -> list[int]:
    """Twice the rank of each magnitude, ties sharing their mean: twice, so that it is a whole number."""
    ordered = sorted(magnitudes)
    found: dict[float, int] = {}
    first = 0
    while first < len(ordered):
        last = first
        while last + 1 < len(ordered) and ordered[last + 1] == ordered[first]:
            last += 1
        found[ordered[first]] = first + last + 2
        first = last + 1
    return [found[magnitude] for magnitude in magnitudes]


def binomial_p(successes: int, trials: int) -> float:
    """Return the exact two-sided p of so many successes where each trial succeeds with probability one half."""
    extreme = max(successes, trials - successes)
    tail = sum(math.comb(trials, k) for k in range(extreme, trials + 1))
    return min(1.0, 2 * tail / 2**trials)


def holm(ps: Sequence[float]) -> list[float]:
    """Return each p after Holm's step-down correction.

    With those up to 0.05 taken for effects, any of them is a false one with a probability of at most 5 %.
    """
    corrected = [1.0] * len(ps)
    largest = 0.0
    for step, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - step) * ps[index]))
        corrected[index] = largest
    return corrected


def blocks_for_family(comparisons: int) -> int:
    """Fewest blocks with which Holm's correction over so many comparisons can let anything pass.

    The smallest p of n blocks is 2/2**n, and the correction multiplies it by the number of comparisons.
    """
    blocks = MIN_BLOCKS
    while 2 / 2**blocks * comparisons > ALPHA:
        blocks += 1
    return blocks


# --- margin and call ---------------------------------------------------------------------------


def farthest(*factors: float | None) -> float:
    """How far the farthest of some factors is from 1, as a factor beyond 1; those that are None do not count.

    Of an A/A's limits this is the noise floor. Both directions count alike: 1/1.1 is as far as 1.1.
    """
    return math.expm1(max(abs(math.log(factor)) for factor in factors if factor is not None))


def call(factor: Estimate, margin: float) -> Call:
    """Say what a factor between two variants shows; ``margin`` is a factor beyond 1."""
    if factor.low is None or factor.high is None:
        return "too few runs"
    if farthest(factor.low, factor.high) <= margin:
        return "equivalent"
    if abs(math.log(factor.value)) > math.log1p(margin):
        if factor.high < 1:
            return "lower"
        if factor.low > 1:
            return "higher"
    return "undecided"


# --- what a plan can see -----------------------------------------------------------------------


def power(blocks: int, sd_log: float, effect: float, alpha: float = ALPHA, *, a_a: bool = True) -> float:
    """Probability that so many blocks show an effect for what it is.

    ``sd_log`` is the standard deviation of a block's log-ratio, ``effect`` a factor beyond 1 (0.05: 5 %),
    ``alpha`` the level of the test: 0.05, or 0.05 over the number of comparisons. ``a_a``: the plan has a
    twin, so that the value must also get over the noise floor that the same blocks show.

    2,000 simulated plans with normal noise, always the same ones. In each, the session of one side is
    shared with the A/A, as it is in a plan.
    """
    needed = _needed(blocks, sd_log, alpha, a_a)
    return bisect_left(needed, math.log1p(effect)) / len(needed) if needed else 0.0


def smallest_effect(blocks: int, sd_log: float, alpha: float = ALPHA, *, a_a: bool = True) -> float | None:
    """Return the smallest effect, as a factor beyond 1, that so many blocks show with ``POWER``.

    None with too few blocks for this ``alpha``. Two standard errors of the simulation are on the safe side.
    """
    needed = _needed(blocks, sd_log, alpha, a_a)
    if not needed:
        return None
    return math.expm1(_safe_quantile(needed))


def blocks_for_effect(effect: float, sd_log: float, alpha: float = ALPHA, *, a_a: bool = True) -> int | None:
    """Return the number of blocks that show an effect, a factor beyond 1, with ``POWER``.

    None if ``EXACT_BLOCKS`` are too few, as for any effect within the margin of 2 %.
    """

    def enough(blocks: int) -> bool:
        found = smallest_effect(blocks, sd_log, alpha, a_a=a_a)
        return found is not None and found <= effect

    low, high = MIN_BLOCKS - 1, EXACT_BLOCKS
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def spread(values: Sequence[float], blocks: int | None = None) -> float | None:
    """Return the ``sd_log`` of normal noise in which a plan sees as much as in noise like these log-ratios.

    For normal noise that is the standard deviation, by 500 draws' error on the safe side; for noise with
    outliers or of two modes it is more. The plan's blocks are drawn from the values' distances from their
    median, with either sign and always the same way; ``blocks`` are those of the plan, else as many as there
    are values. None with too few.
    """
    if len(values) < MIN_BLOCKS:
        return None
    wanted = min(blocks or len(values), EXACT_BLOCKS)
    draw = random.Random(f"{_SEED}/spread")  # noqa: S311 - simulation
    k, _ = _limit(wanted, CONFIDENCE)
    if not k:
        return None
    middle = statistics.median(values)
    # A degree of freedom went into the middle.
    scale = math.sqrt(len(values) / (len(values) - 1))
    signed = [sign * scale * (value - middle) for value in values for sign in (1, -1)]
    found = []
    for _ in range(_RESAMPLES):
        effect, again = draw.choices(signed, k=wanted), draw.choices(signed, k=wanted)
        floor = max(map(abs, _averages(again, k)))
        found.append((_averages(effect, k)[0], statistics.median(effect), floor))
    like_normal = _reaches(_simulated(wanted, ALPHA, a_a=True))
    return _safe_quantile(_reaches(found)) / like_normal[math.ceil(POWER * len(like_normal)) - 1]


def _reaches(simulated: Iterable[tuple[float, float, float]]) -> list[float]:
    """Return by how much two variants must differ to be told apart if there were no margin but the floor."""
    return sorted(max(-low, floor - median) for low, median, floor in simulated)


def _safe_quantile(needed: list[float]) -> float:
    """Return what ``POWER`` of the simulated plans see, two of the simulation's standard errors above it."""
    error = math.sqrt(POWER * (1 - POWER) / len(needed))
    return needed[math.ceil((POWER + 2 * error) * len(needed)) - 1]


def _needed(blocks: int, sd_log: float, alpha: float, a_a: bool) -> list[float]:
    """Return by how much, as a log-ratio, two variants must differ to be told apart, in each simulated plan."""
    simulated = _simulated(min(blocks, EXACT_BLOCKS), alpha, a_a)
    # Beyond, everything shrinks with the root of the number of blocks.
    scale = sd_log * math.sqrt(min(1.0, EXACT_BLOCKS / blocks))
    margin = math.log1p(MIN_MARGIN)
    return sorted(
        max(-scale * low, max(margin, scale * floor) - scale * median) for low, median, floor in simulated
    )


@cache
def _simulated(blocks: int, alpha: float, a_a: bool) -> list[tuple[float, float, float]]:
    """Return (lower limit, median, noise floor) of log-ratios with standard deviation 1 and no effect.

    Empty when so few blocks can decide nothing at this ``alpha``.
    """
    k, _ = _limit(blocks, 1 - alpha)
    if not k:
        return []
    draw = random.Random(f"{_SEED}/{blocks}")  # noqa: S311 - simulation
    floor_k, _ = _limit(blocks, CONFIDENCE)
    session = math.sqrt(0.5)
    found = []
    for _ in range(_SIMULATIONS):
        first, again, other = ([draw.gauss(0.0, session) for _ in range(blocks)] for _ in range(3))
        values = [b - a for a, b in zip(first, other, strict=True)]
        floor = 0.0
        if a_a:
            ends = _averages([b - a for a, b in zip(first, again, strict=True)], floor_k)
            floor = max(map(abs, ends))
        found.append((_averages(values, k)[0], statistics.median(values), floor))
    return found
