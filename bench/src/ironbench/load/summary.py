"""From the raw arrays of a run to the records that go to disk."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from ironbench.load import histogram
from ironbench.load.lag import Lag, split
from ironbench.load.phase import ERRORS, UNSENT
from ironbench.records import SCHEMA, LoadResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hdrh.histogram import HdrHistogram

    from ironbench.load.engine import Prepared, Recording
    from ironbench.load.phase import Phase

BACKEND = "ironbench"
_KIND = {code: kind for kind, code in ERRORS.items()}

Row = tuple[int | str, int, int | str, int | str, int | str]
"""Connection, intended_ns, sent_ns, done_ns (CLOCK_REALTIME), and status, error kind or ``unsent``."""


class Durations(msgspec.Struct, frozen=True):
    """The four histograms of a window, microseconds.

    ``latency`` and ``service_time`` hold the completed requests only: the time up to an error is in
    requests.csv.gz, and a request that was never sent has none. The lags hold every scheduled request,
    an unsent one up to the window's end: else a generator that stood still then would not show.
    """

    latency: HdrHistogram
    service_time: HdrHistogram
    own_send_lag: HdrHistogram
    system_send_lag: HdrHistogram

    def encoded(self) -> histogram.Histograms:
        """Encode for histograms.json."""
        return histogram.Histograms(
            latency=histogram.encode(self.latency),
            service_time=histogram.encode(self.service_time),
            own_send_lag=histogram.encode(self.own_send_lag),
            system_send_lag=histogram.encode(self.system_send_lag),
        )


def durations(window: Phase | None) -> Durations:
    """Compute the histograms of a window (empty ones for none)."""
    if window is None:
        return Durations(*(histogram.of_durations(()) for _ in range(4)))
    completed = [request for request in range(window.count) if window.outcome[request] > 0]
    due_ns, sent_ns, done_ns = window.due_ns, window.sent_ns, window.done_ns
    lags = [_lag(window, request) for request in range(window.count)]
    return Durations(
        histogram.of_durations(done_ns[r] - due_ns[r] for r in completed),
        histogram.of_durations(done_ns[r] - sent_ns[r] for r in completed),
        histogram.of_durations(lag.own for lag in lags),
        histogram.of_durations(lag.system for lag in lags),
    )


def _lag(window: Phase, request: int) -> Lag:
    due = window.due_ns[request]
    noticed = window.ticks[bisect_left(window.ticks, due)]
    if window.outcome[request] == UNSENT:
        ended = window.ticks[-1]
        return split(due, noticed, ended, ended)
    return split(due, noticed, window.free_ns[request], window.sent_ns[request])


def load_result(prepared: Prepared, recording: Recording, measured: Durations) -> LoadResult:
    """Summarise a run.

    Of the requests ``sent``, each is ``completed`` or an error of the kind reset, closed, timeout
    (also: not answered when the drain ended) or protocol; errors of the kind ``connect`` are failed
    attempts to open a connection and belong to no request. When the gate failed, all figures are 0.
    """
    window = recording.window
    outcomes = Counter(window.outcome if window is not None else ())
    statuses = {code: number for code, number in sorted(outcomes.items()) if code > 0}
    errors = {kind: outcomes[code] for kind, code in ERRORS.items() if outcomes[code]}
    if recording.connect_errors:
        errors["connect"] = recording.connect_errors
    completed = sum(statuses.values())
    scheduled = sum(outcomes.values())
    window_s = prepared.window.length_ns / 1e9
    offset = recording.realtime_offset_ns
    start = end = drained = cpu_ns = first_send = 0
    if window is not None:
        start, end, drained = window.start_ns, window.end_ns, window.drained_ns
        first_send = min((ns for ns in window.sent_ns if ns), default=start)
        cpu_ns = window.cpu_ns
    return LoadResult(
        schema=SCHEMA,
        backend=BACKEND,
        offered_rps=scheduled / window_s,
        achieved_rps=completed / window_s,
        scheduled=scheduled,
        sent=scheduled - outcomes[UNSENT],
        completed=completed,
        unsent=outcomes[UNSENT],
        window_s=window_s,
        idle_from_ns=recording.idle_from_ns + offset,
        idle_until_ns=start + offset,
        first_send_ns=first_send + offset,
        window_end_ns=end + offset,
        drained_ns=drained + offset,
        latency=histogram.summarise(measured.latency),
        service_time=histogram.summarise(measured.service_time),
        own_send_lag=histogram.summarise(measured.own_send_lag),
        system_send_lag=histogram.summarise(measured.system_send_lag),
        statuses={str(status): number for status, number in statuses.items()},
        unexpected_status=completed - statuses.get(prepared.spec.request.expect.status, 0),
        errors=errors,
        reconnects=recording.reconnects,
        gate=recording.gate,
        warmup_requests=recording.warmup_requests,
        cpu_ms=cpu_ns / 1e6,
        cpu_share=cpu_ns / max(1, drained - first_send),
        local_ports=recording.local_ports,
    )


def rows(recording: Recording) -> Iterator[Row]:
    """One row for every scheduled request, by number."""
    window = recording.window
    if window is None:
        return
    offset = recording.realtime_offset_ns
    for request, outcome in enumerate(window.outcome):
        intended = window.due_ns[request] + offset
        if outcome == UNSENT:
            yield "", intended, "", "", "unsent"
        else:
            yield (
                window.connection[request],
                intended,
                window.sent_ns[request] + offset,
                window.done_ns[request] + offset,
                _KIND.get(outcome, outcome),
            )
