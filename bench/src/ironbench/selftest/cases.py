"""What is asked of a generator, and the figures that it must find: pure arithmetic."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import msgspec

from ironbench.judge import WRK2
from ironbench.load.schedule import make_schedule
from ironbench.records import SCHEMA, Expectation, Load, LoadResult, LoadSpec, RequestTemplate
from ironbench.selftest.server import DRIP_S, FAIL_EVERY, SERVICE_S, STALL_EVERY_S, STALL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hdrh.histogram import HdrHistogram

    from ironbench.records import Arrivals, Backend

TOLERANCE = 0.02
"""Relative difference that is allowed between a figure and what it must be."""
WRK2_LATE_S = 0.0005
"""By which wrk2 sends late in the mean: it waits whole milliseconds, rounded up (giltene/wrk2, src/wrk.c,
delay_request). Behind its schedule it sends at once: time that it lost counts as time in which it may catch up."""
_START_S = 3.0
_MS = 1000.0
_NS = 1e9


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One server and the load on it; ``figures`` gives (name, expected, measured)."""

    not_asked: dict[Backend, str] = {}
    """Backends that this case says nothing about, and why."""

    behaviour: str
    rate: float
    connections: int
    window_s: float
    timeout_s: float = 5.0
    figures: Callable[[Case, Measured], Iterator[tuple[str, float, float]]]

    def spec(self, base_url: str, backend: Backend) -> LoadSpec:
        """Return what the generator is to do."""
        return LoadSpec(
            schema=SCHEMA,
            run=f"selftest.{self.behaviour}",
            base_url=base_url,
            request=RequestTemplate(method="GET", path="/", expect=Expectation(status=200)),
            load=Load(
                rate=self.rate,
                connections=self.connections,
                threads=1,
                arrivals=ARRIVALS[backend],
                backend=backend,
            ),
            seed=1,
            warmup_s=0,
            window_s=self.window_s,
            idle_s=0,
            timeout_s=self.timeout_s,
            drain_s=5.0,
            users_file=None,
        )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend found."""

    spec: LoadSpec
    result: LoadResult
    corrected_p95_ms: float
    service_time: HdrHistogram | None
    """None: the backend tells a few percentiles only."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    case: str
    name: str
    expected: float
    measured: float

    @property
    def difference(self) -> float:
        """Relative to what is expected."""
        return self.measured / self.expected - 1

    @property
    def ok(self) -> bool:
        return abs(self.difference) <= TOLERANCE


ARRIVALS: dict[Backend, Arrivals] = {"ironbench": "even", "wrk2": "wrk2-phase"}
"""How each backend is asked to send; wrk2 knows no other way."""


def figures(case: Case, measured: Measured) -> list[Figure]:
    """Compare all figures of one case."""
    return [
        Figure(case=case.behaviour, name=name, expected=expected, measured=found)
        for name, expected, found in case.figures(case, measured)
    ]


class Answer(msgspec.Struct, frozen=True):
    """A request of the model, milliseconds: from the due time, from the send, and from the window's start."""

    corrected: float
    uncorrected: float
    done: float


def model(spec: LoadSpec, answered_s: Callable[[float], float], late_s: float = 0.0) -> list[Answer]:
    """Follow every request of the window through connections that carry one at a time.

    ``answered_s`` tells when a request that is sent at a time is answered, seconds from the window's
    start; it is called in the order of sending. Requests that find no connection before the end are
    left out. The network costs no time, and the generator ``late_s`` for each request that need not wait
    for its connection.
    """
    schedule = make_schedule(spec.load, spec.window_s, f"{spec.seed}:window")
    end = schedule.length_ns / _NS
    free = {lane.connections: [0.0] * len(lane.connections) for lane in schedule.lanes}
    due = sorted(
        (ns / _NS, lane.connections.start, lane.connections) for lane in schedule.lanes for ns in lane.due_ns
    )
    # Next to be sent is whoever can be sent first: due, and a connection free.
    waiting = [(at + late_s, at, number, lane) for number, (at, _, lane) in enumerate(due)]
    heapq.heapify(waiting)
    answers = []
    while waiting:
        sent, at, number, lane = heapq.heappop(waiting)
        possible = max(at + late_s, free[lane][0])
        if possible > sent:
            heapq.heappush(waiting, (possible, at, number, lane))
            continue
        if sent >= end:
            continue
        done = answered_s(sent)
        heapq.heapreplace(free[lane], done)
        answers.append(Answer((done - at) * _MS, (done - sent) * _MS, done * _MS))
    return answers


def expected_answers(spec: LoadSpec, answered_s: Callable[[float], float]) -> list[Answer]:
    """Return the answers whose latency the backend must have; wrk2 is late, and does not wait for the last ones."""
    if spec.load.backend != WRK2:
        return model(spec, answered_s)
    found = model(spec, answered_s, WRK2_LATE_S)
    return [answer for answer in found if answer.done <= spec.window_s * _MS]


def clear_in_s(clock_s: float) -> float:
    """Return how long to wait before a run on the stalling server is started at ``clock_s`` (realtime).

    Its window begins up to 3 s later and lasts one period, so it ends where it began in the next one. That
    must not be in a stall: what is due in it would be left unsent, and no figure has it.
    """
    into = clock_s % STALL_EVERY_S
    last = STALL_EVERY_S - _START_S
    return 0.0 if STALL_S <= into <= last else (STALL_S - into) % STALL_EVERY_S


def percentile(values: list[float], percent: float) -> float:
    """Return the value by HdrHistogram's rule (see ironbench.load.histogram.summarise)."""
    return sorted(values)[max(1, math.floor(percent / 100 * len(values) + 0.5)) - 1]


def mean(values: list[float]) -> float:
    """Return the arithmetic mean."""
    return math.fsum(values) / len(values)


def _stalling(_: Case, measured: Measured) -> Iterator[tuple[str, float, float]]:
    start_s = measured.result.idle_until_ns / _NS

    def answered(at: float) -> float:
        into = (start_s + at) % STALL_EVERY_S
        return at + STALL_S - into if into < STALL_S else at

    answers = expected_answers(measured.spec, answered)
    corrected = [answer.corrected for answer in answers]
    uncorrected = [answer.uncorrected for answer in answers]
    result = measured.result
    yield "corrected mean, ms", mean(corrected), result.latency.mean
    yield "corrected p95, ms", percentile(corrected, 95), measured.corrected_p95_ms
    yield "corrected p99, ms", percentile(corrected, 99), result.latency.p99
    yield "corrected max, ms", max(corrected), result.latency.max
    # Uncorrected, a stall is one slow request a connection. The others show the machine, not the stall.
    slow = [one for one in uncorrected if one > STALL_S / 2 * _MS]
    if measured.service_time is not None:
        counted = [
            (step.value_iterated_to / _MS, step.count_at_value_iterated_to)
            for step in measured.service_time.get_recorded_iterator()
            if step.value_iterated_to > STALL_S / 2 * _MS * _MS
        ]
        number = sum(count for _, count in counted)
        yield "uncorrected, requests above 500 ms", len(slow), number
        yield (
            "uncorrected mean of those, ms",
            mean(slow),
            math.fsum(v * n for v, n in counted) / max(1, number),
        )
    yield "uncorrected p99.9, ms", percentile(uncorrected, 99.9), result.service_time.p999
    yield "uncorrected max, ms", max(uncorrected), result.service_time.max


def _slow(_: Case, measured: Measured) -> Iterator[tuple[str, float, float]]:
    busy_until = 0.0

    def answered(at: float) -> float:
        nonlocal busy_until
        busy_until = max(busy_until, at) + SERVICE_S
        return busy_until

    answers = expected_answers(measured.spec, answered)
    corrected = [answer.corrected for answer in answers]
    uncorrected = [answer.uncorrected for answer in answers]
    result = measured.result
    yield "achieved, requests per second", len(answers) / result.window_s, result.achieved_rps
    yield "corrected mean, ms", mean(corrected), result.latency.mean
    yield "corrected p99, ms", percentile(corrected, 99), result.latency.p99
    yield "uncorrected mean, ms", mean(uncorrected), result.service_time.mean
    yield "uncorrected p50, ms", percentile(uncorrected, 50), result.service_time.p50


def _failed(measured: Measured) -> int:
    return measured.result.scheduled // FAIL_EVERY


def _resetting(_: Case, measured: Measured) -> Iterator[tuple[str, float, float]]:
    result = measured.result
    if measured.spec.load.backend == WRK2:  # it sends another request in the place of one that failed
        yield "completed", result.scheduled, result.completed
        yield "errors of the kind read", result.scheduled / (FAIL_EVERY - 1), result.errors.get("read", 0)
        return
    yield "completed", result.scheduled - _failed(measured), result.completed
    yield "errors of the kind reset", _failed(measured), result.errors.get("reset", 0)
    yield "reconnects", _failed(measured), result.reconnects


def _erring(_: Case, measured: Measured) -> Iterator[tuple[str, float, float]]:
    result = measured.result
    yield "completed", result.scheduled, result.completed
    if measured.spec.load.backend != WRK2:  # which does not tell one error from another
        yield "answers with 500", _failed(measured), result.statuses.get("500", 0)
    yield "unexpected statuses", _failed(measured), result.unexpected_status


def _silent(case: Case, measured: Measured) -> Iterator[tuple[str, float, float]]:
    result = measured.result
    yield "completed", result.scheduled - _failed(measured), result.completed
    yield "errors of the kind timeout", _failed(measured), result.errors.get("timeout", 0)
    if result.timeouts is not None:
        yield "mean time of those, ms", case.timeout_s * _MS, result.timeouts.mean


def _dripping(_: Case, measured: Measured) -> Iterator[tuple[str, float, float]]:
    result = measured.result
    yield "completed", len(expected_answers(measured.spec, lambda at: at + DRIP_S)), result.completed
    yield "corrected mean, ms", DRIP_S * _MS, result.latency.mean
    yield "uncorrected mean, ms", DRIP_S * _MS, result.service_time.mean
    yield "uncorrected p50, ms", DRIP_S * _MS, result.service_time.p50


CASES = (
    Case(behaviour="stalling", rate=200, connections=4, window_s=STALL_EVERY_S, figures=_stalling),
    Case(behaviour="slow", rate=100, connections=4, window_s=4, figures=_slow),
    Case(behaviour="resetting", rate=100, connections=4, window_s=2, figures=_resetting),
    Case(behaviour="erring", rate=100, connections=4, window_s=2, figures=_erring),
    Case(
        behaviour="silent",
        rate=50,
        connections=16,
        window_s=2,
        timeout_s=1,
        figures=_silent,
        not_asked={WRK2: "wrk2 waits for ever on a connection whose answer does not come"},
    ),
    Case(behaviour="dripping", rate=25, connections=16, window_s=2, figures=_dripping),
)
