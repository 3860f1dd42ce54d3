"""Effect of one variant on another over paired blocks, with an exact interval.

The figures of one block are compared with each other only. The effect is the median over blocks; its
interval inverts the sign-flip test that has Wilcoxon's signed-rank sum as its statistic. For that
statistic the inversion has a closed form. It is a third shorter than the one from the signs alone where
ten blocks are well-behaved, and hardly longer where some are not; one from the mean follows every outlier.

The test needs that the blocks' values lie symmetrically around the effect. The random order within
a block makes it so for log-ratios: when two variants differ by a constant factor, exchanging their
disturbances turns the deviation of the log-ratio around and is as likely as not.

Sources: J. W. Tukey, "The simplest signed-rank tests", Princeton Memorandum Report 17 (1949), for the
interval; M. Hollander, D. A. Wolfe, E. Chicken, "Nonparametric Statistical Methods", 3rd ed. (2014),
sections 3.1-3.3, for the test, its exact distribution and the interval.
"""

from __future__ import annotations

import math
import statistics
from functools import cache
from itertools import accumulate, combinations_with_replacement
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95

MIN_BLOCKS = 6
"""Of fewer blocks no interval of 95 % can be had: even its widest, from the smallest to the largest
value, misses the effect when all signs agree, in 2 of 2**n cases, and 2/2**5 is more than 5 %."""


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
        averages = sorted((a + b) / 2 for a, b in combinations_with_replacement(values, 2))
        low, high, coverage = averages[k - 1], averages[-k], exact
    return Estimate(
        value=statistics.median(values), low=low, high=high, coverage=coverage, blocks=len(values)
    )


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Return the factor between two variants, from one figure of each a block, in the same order.

    It is estimated as a log-ratio and transformed back, so that a/b and b/a say the same.

    Raises IronbenchError when the lengths differ, and when a figure is not a positive number.
    """
    if len(numerators) != len(denominators):
        raise IronbenchError(
            f"{len(numerators)} figures cannot be paired with {len(denominators)}: give one of each a block."
        )
    if not all(0 < figure < math.inf for figure in (*numerators, *denominators)):
        raise IronbenchError("a ratio needs positive figures: leave the block with another one out.")
    logs = estimate([math.log(a / b) for a, b in zip(numerators, denominators, strict=True)])
    return msgspec.structs.replace(
        logs,
        value=math.exp(logs.value),
        low=None if logs.low is None else math.exp(logs.low),
        high=None if logs.high is None else math.exp(logs.high),
    )


@cache
def _limit(blocks: int, confidence: float) -> tuple[int, float]:
    """Return (k, coverage) of the interval from the k-th smallest Walsh average to the k-th largest.

    A signed-rank sum of k or more on either side accepts the effect; k is the largest for which that
    happens with the wanted probability. k is 0 when there is none.
    """
    if not 0 < confidence < 1:
        raise IronbenchError(f"confidence is {confidence}: give a probability between 0 and 1, such as 0.95.")
    patterns = 2**blocks
    k, coverage = 0, 0.0
    for ranks_below, below in enumerate(accumulate(_sign_patterns(blocks))):
        exact = 1 - 2 * below / patterns
        if exact < confidence:
            break
        k, coverage = ranks_below + 1, exact
    return k, coverage


def _sign_patterns(blocks: int) -> list[int]:
    """How many of the 2**blocks sign patterns have which sum of positive ranks, from 0 upwards.

    Counted rank by rank, so that no pattern is written out: with or without rank r.
    """
    counts = [1]
    for rank in range(1, blocks + 1):
        without, with_rank = [*counts, *[0] * rank], [*[0] * rank, *counts]
        counts = [a + b for a, b in zip(without, with_rank, strict=True)]
    return counts
