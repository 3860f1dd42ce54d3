"""The saturation alarm: the generator's own warnings, by the judge's thresholds for a host of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ironbench.judge import GENERATOR_CPU, SATURATION, SEND_LAG_FLOOR_MS
from ironbench.records import Finding

if TYPE_CHECKING:
    from ironbench.records import LoadResult


def alarms(result: LoadResult) -> list[Finding]:
    """Return what in ``result`` says that the generator could not keep up, or the system could not.

    The judge decides about a run, with what it knows of the host's layout; these are for whoever
    looks at the generator alone. A wait for a busy connection is the system's and raises no alarm of
    lag: it shows in the achieved rate.
    """
    found = []
    if result.cpu_share > GENERATOR_CPU.limit:
        found.append(
            Finding(
                kind="generator-cpu",
                detail=f"the generator used {result.cpu_share:.2f} of its CPU (limit {GENERATOR_CPU.limit:.2f}); "
                "give it more CPUs and threads",
                value=result.cpu_share,
                threshold=GENERATOR_CPU.limit,
            )
        )
    lags = {"sent late": result.own_send_lag.p99}
    if result.timer_lag is not None:
        lags["ran late between sends"] = result.timer_lag.p99
    for what, lag in lags.items():
        if lag > SEND_LAG_FLOOR_MS.limit:
            found.append(
                Finding(
                    kind="generator-lag",
                    detail=f"the generator {what} for its own reasons: p99 {lag:.1f} ms "
                    f"(limit {SEND_LAG_FLOOR_MS.limit:.1f} ms)",
                    value=lag,
                    threshold=SEND_LAG_FLOOR_MS.limit,
                )
            )
            break
    share = result.achieved_rps / result.offered_rps
    if share < SATURATION.limit:
        found.append(
            Finding(
                kind="achieved-rate",
                detail=f"{result.achieved_rps:.1f} of {result.offered_rps:.1f} requests per second were answered",
                value=share,
                threshold=SATURATION.limit,
            )
        )
    return found
