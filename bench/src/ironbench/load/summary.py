"""From the cells of a run to the records that go to disk."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from ironbench.load import histogram
from ironbench.load.alarm import alarms
from ironbench.load.lag import Lag, split
from ironbench.load.phase import ERRORS, UNSENT
from ironbench.load.seconds import by_second
from ironbench.records import SCHEMA, LoadResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hdrh.histogram import HdrHistogram

    from ironbench.load.engine import Recording, Window
    from ironbench.load.spec import Prepared
    from ironbench.load.table import Table

BACKEND = "ironbench"
_KIND = {code: kind for kind, code in ERRORS.items()}

Row = tuple[int | str, int, int | str, int | str, int | str]
"""Connection, intended_ns, sent_ns, done_ns (CLOCK_REALTIME), and status, error kind or ``unsent``."""


class Durations(msgspec.Struct, frozen=True):
    """The histograms of a window, microseconds.

    ``latency`` holds the completed requests and those that were given up, both from the intended send time:
    without the latter a system that answers nothing would be faster than one that answers late.
    ``timeouts`` holds those alone, and ``service_time`` the completed ones. The time up to any other error is
    in requests.csv.gz, and a request that was never sent has none. The send lags hold every scheduled
    request, an unsent one up to the window's end: else a generator that stood still then would not
    show. ``timer_lag`` holds every due time of each process and the heartbeats between them. A backend that
    does not tell has None.
    """

    latency: HdrHistogram
    service_time: HdrHistogram
    own_send_lag: HdrHistogram
    system_send_lag: HdrHistogram
    timer_lag: HdrHistogram | None = None
    timeouts: HdrHistogram | None = None

    def named(self) -> dict[str, HdrHistogram]:
        """Return those that there are, by name."""
        every = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: one for name, one in every.items() if one is not None}

    def encoded(self) -> histogram.Histograms:
        """Encode for histograms.json."""
        encoded = {name: histogram.encode(one) for name, one in self.named().items()}
        return msgspec.convert(encoded | {"censored": self.censored}, histogram.Histograms)

    @property
    def censored(self) -> int:
        """Requests of ``latency`` that were given up."""
        return 0 if self.timeouts is None else self.timeouts.get_total_count()


def durations(window: Window | None) -> Durations:
    """Compute the histograms of a window (empty ones for none)."""
    if window is None:
        return Durations(*(histogram.of_durations(()) for _ in Durations.__struct_fields__))
    table = window.table
    due_ns, sent_ns, done_ns = table.due_ns, table.sent_ns, table.done_ns
    completed = [request for request, outcome in enumerate(table.outcome) if outcome > 0]
    given_up = [request for request, outcome in enumerate(table.outcome) if outcome == ERRORS["timeout"]]
    lags = [_lag(table, request) for request in range(table.count)]
    return Durations(
        latency=histogram.of_durations(done_ns[r] - due_ns[r] for r in (*completed, *given_up)),
        service_time=histogram.of_durations(done_ns[r] - sent_ns[r] for r in completed),
        own_send_lag=histogram.of_durations(lag.own for lag in lags),
        system_send_lag=histogram.of_durations(lag.system for lag in lags),
        timer_lag=histogram.of_durations(
            [noticed - due for noticed, due in zip(table.noticed_ns, due_ns, strict=True)]
            + window.beat_lag_ns
        ),
        timeouts=histogram.of_durations(done_ns[r] - due_ns[r] for r in given_up),
    )


def _lag(table: Table, request: int) -> Lag:
    due, noticed, free = table.due_ns[request], table.noticed_ns[request], table.free_ns[request]
    sent = free if table.outcome[request] == UNSENT else table.sent_ns[request]
    return split(due, noticed, free, sent)


def load_result(prepared: Prepared, recording: Recording, measured: Durations) -> LoadResult:
    """Summarise a run.

    Of the requests ``sent``, each is ``completed`` or an error of the kind reset, closed, timeout
    (also: not answered when the drain ended) or protocol; errors of the kind ``connect`` are failed
    attempts to open a connection and belong to no request. When a gate failed before the load, all figures
    are 0.
    """
    window = recording.window
    outcomes = Counter(window.table.outcome if window is not None else ())
    statuses = {code: number for code, number in sorted(outcomes.items()) if code > 0}
    errors = {kind: outcomes[code] for kind, code in ERRORS.items() if outcomes[code]}
    completed = sum(statuses.values())
    scheduled = sum(outcomes.values())
    window_s = prepared.window.length_ns / 1e9
    offset = recording.realtime_offset_ns
    start = end = drained = first_send = reconnects = all_cpu_ns = 0
    cpu_ns = [0]
    if window is not None:
        start, end = window.start_ns, window.end_ns
        first_send, drained = window.first_send_ns, window.drained_ns
        cpu_ns, all_cpu_ns, reconnects = window.cpu_ns, window.all_cpu_ns, window.reconnects
        if window.connect_errors:
            errors["connect"] = window.connect_errors
    elapsed = max(1, drained - first_send)
    result = LoadResult(
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
        latency=histogram.summarise(measured.latency, measured.censored),
        service_time=histogram.summarise(measured.service_time),
        own_send_lag=histogram.summarise(measured.own_send_lag),
        system_send_lag=histogram.summarise(measured.system_send_lag),
        statuses={str(status): number for status, number in statuses.items()},
        unexpected_status=completed - statuses.get(prepared.spec.request.expect.status, 0),
        errors=errors,
        reconnects=reconnects,
        gate=recording.gate,
        warmup_requests=recording.warmup_requests,
        cpu_ms=sum(cpu_ns) / 1e6,
        cpu_share=max(*cpu_ns, all_cpu_ns / len(os.sched_getaffinity(0))) / elapsed,
        local_ports=recording.local_ports,
        threads=len(prepared.threads),
        processes=prepared.processes,
        timer_lag=None if measured.timer_lag is None else histogram.summarise(measured.timer_lag),
        timeouts=None if measured.timeouts is None else histogram.summarise(measured.timeouts),
        landing=recording.landing,
        seconds=None if window is None else by_second(_waits(window.table), prepared.window.length_ns),
        gate_after=recording.gate_after,
        bodies_sampled=0 if window is None else window.bodies.sampled,
        bodies_wrong=0 if window is None else window.bodies.wrong,
        body_detail="" if window is None else window.bodies.detail,
    )
    return msgspec.structs.replace(result, alarms=alarms(result) if window is not None else [])


def _waits(table: Table) -> Iterator[tuple[int, int]]:
    """Give when each request that was answered or given up was due, and how long that took, in nanoseconds."""
    for due, done, outcome in zip(table.due_ns, table.done_ns, table.outcome, strict=True):
        if outcome > 0 or outcome == ERRORS["timeout"]:
            yield due, done - due


def rows(recording: Recording) -> Iterator[Row]:
    """One row for every scheduled request, by number."""
    window = recording.window
    if window is None:
        return
    table = window.table
    start = recording.realtime_offset_ns + window.start_ns
    for request, outcome in enumerate(table.outcome):
        intended = table.due_ns[request] + start
        if outcome == UNSENT:
            yield "", intended, "", "", "unsent"
        else:
            yield (
                table.connection[request],
                intended,
                table.sent_ns[request] + start,
                table.done_ns[request] + start,
                _KIND.get(outcome, outcome),
            )
