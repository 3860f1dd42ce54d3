"""A search for the highest rate that keeps P99 under a bound: which rate comes next, and what it found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ironbench.judge import SATURATION
from ironbench.metrics import errors
from ironbench.records import SCHEMA, SearchResult, SearchStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import LoadResult, Search


def next_rate(search: Search, steps: Sequence[SearchStep]) -> float | None:
    """Return the rate to try after ``steps``; None when the search is over."""
    if len(steps) >= search.steps:
        return None
    if not steps:
        return search.from_rate
    kept, failed = _ends(steps)
    if kept is None or kept >= search.to_rate:
        return None
    if failed is None:
        return search.to_rate
    return float(round(math.sqrt(kept * failed)))


def judge_step(search: Search, rate: float, load: LoadResult) -> SearchStep:
    """Say whether a rate was kept: everything answered as expected, without an error, and P99 within the bound."""
    p99 = load.latency.p99
    if errors(load):
        why_not = f"{errors(load)} errors and unexpected answers"
    elif load.bodies_wrong:
        why_not = f"{load.bodies_wrong} of {load.bodies_sampled} answers that were looked at were wrong"
    elif load.achieved_rps < SATURATION.limit * load.offered_rps:
        why_not = f"{load.achieved_rps:.0f} requests per second were answered"
    elif p99 > search.p99_ms:
        why_not = f"P99 was {p99:.1f} ms"
    else:
        why_not = ""
    return SearchStep(
        rate=rate,
        achieved_rps=load.expected_rps,
        requests=load.latency.count,
        p99_ms=p99,
        own_send_lag_p99_ms=load.own_send_lag.p99,
        kept=not why_not,
        why_not=why_not,
    )


def search_result(search: Search, steps: Sequence[SearchStep]) -> SearchResult:
    """Put the steps together."""
    highest, lowest = _ends(steps)
    return SearchResult(
        schema=SCHEMA, p99_ms=search.p99_ms, steps=list(steps), highest_rps=highest, lowest_rps=lowest
    )


def _ends(steps: Sequence[SearchStep]) -> tuple[float | None, float | None]:
    """Return the highest rate that was kept below all that were not, and the lowest that was not."""
    lowest = min((step.rate for step in steps if not step.kept), default=None)
    below = (step.rate for step in steps if step.kept and (lowest is None or step.rate < lowest))
    return max(below, default=None), lowest
