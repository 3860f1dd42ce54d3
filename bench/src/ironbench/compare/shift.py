"""The factor between two groups of sessions that are not paired, with an exact interval.

Sessions of two bundles share no block, so nothing pairs them. The factor is the Hodges-Lehmann shift of the
logarithms: the median of all differences between a session of the second and one of the first. Its interval
inverts the Mann-Whitney (Wilcoxon rank sum) test: every order of all sessions is as likely as any other if only
the shift tells the groups apart. That needs no normal noise, but the same shape of noise in both.

Sources: J. L. Hodges, E. L. Lehmann, "Estimates of location based on rank tests", Annals of Mathematical
Statistics 34 (1963); H. B. Mann, D. R. Whitney, "On a test of whether one of two random variables is
stochastically larger than the other", ibid. 18 (1947), for the distribution; M. Hollander, D. A. Wolfe,
E. Chicken, "Nonparametric Statistical Methods", 3rd ed. (2014), sections 4.1-4.3, for test, estimate and interval.
"""

from __future__ import annotations

import math
import statistics
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from ironbench.errors import IronbenchError
from ironbench.records import Record
from ironbench.stats import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

EXACT_PAIRS = 2500
"""Above so many pairs of sessions the test's distribution is taken for normal. There the interval is at most two
of 2,500 differences longer than the exact one, at either end."""


class Shift(Record, frozen=True, kw_only=True):
    """The second group over the first, as a factor."""

    value: float
    low: float | None
    high: float | None
    """Ends of the interval; None with too few sessions for one."""
    coverage: float | None
    sessions: tuple[int, int]


def shift(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Shift | None:
    """Return the factor from the first group to the second; None where a group is empty.

    Four sessions each, or three and five, are the fewest that an interval of 95 % needs. Raises IronbenchError
    when a figure is not a positive number.
    """
    if not all(0 < figure < math.inf for figure in (*first, *second)):
        raise IronbenchError("a factor needs positive figures: leave the session with another one out.")
    if not first or not second:
        return None
    below, above = sorted(map(math.log, first)), sorted(map(math.log, second))
    pairs = len(below) * len(above)
    middle = (_difference(below, above, (pairs + 1) // 2) + _difference(below, above, pairs // 2 + 1)) / 2
    k, coverage = _limit(len(below), len(above), confidence)
    return Shift(
        value=math.exp(middle),
        low=math.exp(_difference(below, above, k)) if k else None,
        high=math.exp(_difference(below, above, pairs + 1 - k)) if k else None,
        coverage=coverage if k else None,
        sessions=(len(below), len(above)),
    )


@cache
def _limit(first: int, second: int, confidence: float) -> tuple[int, float]:
    """Return (k, coverage) of the interval from the k-th smallest difference to the k-th largest; k may be 0."""
    if not 0 < confidence < 1:
        raise IronbenchError(f"confidence is {confidence}: give a probability between 0 and 1, such as 0.95.")
    pairs = first * second
    if pairs > EXACT_PAIRS:
        normal = statistics.NormalDist(pairs / 2, math.sqrt(pairs * (first + second + 1) / 12))
        k = math.floor(normal.inv_cdf((1 - confidence) / 2) + 0.5)
        return k, 1 - 2 * normal.cdf(k - 0.5)
    orders = math.comb(first + second, first)
    k, coverage = 0, 0.0
    for pairs_below, below in enumerate(accumulate(_orders(first, second))):
        exact = 1 - 2 * below / orders
        if exact < confidence:
            break
        k, coverage = pairs_below + 1, exact
    return k, coverage


def _orders(first: int, second: int) -> list[int]:
    """How many orders of the two groups have which number of pairs the wrong way round, from 0 upwards.

    The coefficients of the Gaussian binomial: one factor 1 - q**(second + i) over 1 - q**i for each session.
    """
    counts = [1, *[0] * (first * second)]
    for i in range(1, first + 1):
        for place in range(len(counts) - 1, second + i - 1, -1):
            counts[place] -= counts[place - second - i]
        for place in range(i, len(counts)):
            counts[place] += counts[place - i]
    return counts


def _difference(below: list[float], above: list[float], k: int) -> float:
    """Return the k-th smallest difference of two ascending lists, the second's value less the first's."""
    if len(below) * len(above) <= EXACT_PAIRS:
        return sorted(b - a for a in below for b in above)[k - 1]
    low, high = above[0] - below[-1], above[-1] - below[0]
    for _ in range(50):  # to the last digit, without writing out all differences
        middle = (low + high) / 2
        if _differences_up_to(below, above, middle) >= k:
            high = middle
        else:
            low = middle
    return high


def _differences_up_to(below: list[float], above: list[float], limit: float) -> int:
    count, place = 0, 0
    for value in below:
        while place < len(above) and above[place] - value <= limit:
            place += 1
        count += place
    return count
