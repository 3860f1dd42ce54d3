"""Several generators' results of one load as one: counts added, histograms merged, nothing averaged."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from ironbench.load import histogram
from ironbench.load.seconds import by_second
from ironbench.records import Landing, LoadResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ironbench.load.histogram import Histograms


_HISTOGRAMS = ("latency", "service_time", "own_send_lag", "system_send_lag", "timer_lag", "timeouts")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one generator left behind of its share of a load."""

    host: str
    result: LoadResult
    histograms: Histograms
    waits: list[tuple[int, int]]
    """Of each request that was answered or given up, when it was due from the window's start and how long that
    took, in nanoseconds."""


def merge_histograms(parts: Sequence[Histograms]) -> Histograms:
    """Add up the histograms of the same name; one that a part does not have is in none."""
    merged: dict[str, str | int] = {"censored": sum(one.censored or 0 for one in parts)}
    for name in _HISTOGRAMS:
        encoded = [getattr(one, name) for one in parts]
        if all(encoded):
            merged[name] = histogram.encode(histogram.total(encoded))
    return msgspec.convert(merged, histogram.Histograms)


def merge_results(parts: Sequence[Part]) -> LoadResult:
    """Return what all generators together saw of a load.

    Rates and counts are sums; latencies are those of the merged histograms; times are from the first send of any
    to the moment when all had drained; the CPU share is that of the generator that had the least to spare. The gates
    are the first that were not passed. Each generator's own result is in its raw outputs.
    """
    results = [part.result for part in parts]
    first = results[0]
    if len(parts) == 1:
        return first
    merged = merge_histograms([part.histograms for part in parts])
    summaries = {
        name: histogram.merge([encoded], (merged.censored or 0) if name == "latency" else 0)
        for name in _HISTOGRAMS
        if (encoded := getattr(merged, name)) is not None
    }
    loaded = all(one.gate.ok for one in results)
    return msgspec.structs.replace(
        first,
        **{name: sum(getattr(one, name) for one in results) for name in _SUMS},
        **summaries,
        window_s=max(one.window_s for one in results),
        idle_from_ns=max(one.idle_from_ns for one in results),
        idle_until_ns=min(one.idle_until_ns for one in results),
        first_send_ns=min(one.first_send_ns for one in results),
        window_end_ns=max(one.window_end_ns for one in results),
        drained_ns=max(one.drained_ns for one in results),
        statuses=_added(one.statuses for one in results),
        errors=_added(one.errors for one in results),
        gate=next((one.gate for one in results if not one.gate.ok), first.gate),
        gate_after=next(
            (one.gate_after for one in results if one.gate_after and not one.gate_after.ok), first.gate_after
        ),
        body_detail=next((one.body_detail for one in results if one.body_detail), ""),
        cpu_share=max(one.cpu_share for one in results),
        local_ports=[port for one in results for port in one.local_ports],
        seconds=by_second((wait for part in parts for wait in part.waits), round(first.window_s * 1e9))
        if loaded
        else None,
        landing=_landing([one.landing for one in results if one.landing is not None]),
        alarms=[
            msgspec.structs.replace(alarm, host=part.host) for part in parts for alarm in part.result.alarms
        ],
    )


_SUMS = (
    "offered_rps",
    "achieved_rps",
    "scheduled",
    "sent",
    "completed",
    "unsent",
    "unexpected_status",
    "bodies_sampled",
    "bodies_wrong",
    "reconnects",
    "warmup_requests",
    "cpu_ms",
    "threads",
    "processes",
)
"""Figures of all generators that add up."""


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))


def _landing(landings: Sequence[Landing]) -> Landing | None:
    if not landings:
        return None
    unknown = " ".join(dict.fromkeys(one.unknown for one in landings if one.unknown))
    return Landing(
        workers={} if unknown else _added(one.workers for one in landings),
        workers_after={} if unknown else _added(one.workers_after for one in landings),
        reconnects=sum(one.reconnects for one in landings),
        unknown=unknown,
    )
