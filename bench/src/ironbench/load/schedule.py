"""When each request of a phase is due, and which connections may carry it."""

from __future__ import annotations

import random
from array import array
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import Load

_NS = 1_000_000_000

STAGGER_NS = 5_000_000
"""Distance between the connections of a thread in ``wrk2-phase``: wrk2 opens them 5 ms apart, and each
counts its due times from then on (giltene/wrk2, src/wrk.c, thread_main and delayed_initial_connect)."""


class Lane(msgspec.Struct, frozen=True):
    """A queue of due requests and the connections that may carry them, first due first served.

    ``due_ns[i]`` is the offset from the phase's start at which the request number ``requests[i]`` of
    the phase is due, ascending; ``connections`` are numbers of connections, all of one thread.
    ``numbers[i]`` is what that request is in the whole load, of which this may be one generator's share.
    """

    connections: range
    requests: range
    due_ns: array[int]
    numbers: range


class Schedule(msgspec.Struct, frozen=True):
    """All lanes of one phase (warm-up or window) of ``length_ns``; every due time lies inside it."""

    length_ns: int
    count: int
    lanes: list[Lane]


class Extent(msgspec.Struct, frozen=True):
    """How long a phase is, and how many requests are due in it."""

    length_ns: int
    count: int


def extent(load: Load, seconds: float) -> Extent:
    """Return the extent of a phase of ``load`` that is to last ``seconds``; see make_schedule.

    Raises IronbenchError when ``seconds`` is above 0 and too short for a single request.
    """
    if seconds == 0:
        return Extent(0, 0)
    if load.arrivals == "wrk2-phase":
        bursts = round(load.rate * seconds / load.connections)
        _refuse_empty(bursts, f"a burst of {load.connections} requests", load, seconds)
        return Extent(round(bursts * _period(load)), bursts * load.connections)
    count = round(load.rate * seconds)
    _refuse_empty(count, "a request", load, seconds)
    return Extent(round(seconds * _NS), count)


def make_schedule(load: Load, seconds: float, seed: str) -> Schedule:
    """Lay out ``load`` over a phase of ``seconds``; the same arguments give the same schedule.

    ``even`` and ``poisson`` have exactly round(rate * seconds) requests, so that the offered rate is
    count / seconds, and one lane a thread, which all its connections share. Request i belongs to
    thread i % threads: each thread has its share to within one request, and what arrives at the
    server is the same for any number of threads. ``even``: at equal distances, from 0 on.
    ``poisson``: given their number, the arrivals of a Poisson process are distributed as sorted
    independent uniform times (Ross, Introduction to Probability Models, theorem 5.2), so we draw
    those. One stream dealt out in turn, not one a thread: the server sees the same instants however
    many threads there are, and their sum is Poisson exactly.

    ``wrk2-phase``: one lane a connection, each at rate / connections; connection i of a thread begins
    i * STAGGER_NS into its period (modulo the period), and all threads at once. The phase is made of
    whole periods: the nearest number of bursts to rate * seconds / connections, and its length is that
    number of periods, so the offered rate is ``rate`` and the phase may be up to half a period shorter
    or longer than ``seconds``.

    Raises IronbenchError when ``seconds`` is above 0 and too short for a single request.
    """
    phase = extent(load, seconds)
    length, count = phase.length_ns, phase.count
    if not count:
        return Schedule(length, count, [])
    connections, threads = load.connections, load.threads
    if load.arrivals == "wrk2-phase":
        period = _period(load)
        each = connections // threads
        lanes = [
            Lane(
                range(c, c + 1),
                range(c, count, connections),
                array(
                    "q",
                    (int(i * period + c % each * STAGGER_NS % period) for i in range(count // connections)),
                ),
                range(c, count, connections),
            )
            for c in range(connections)
        ]
        return Schedule(length, count, lanes)
    if load.arrivals == "even":
        due = array("q", (i * length // count for i in range(count)))
    else:
        uniform = random.Random(seed)  # noqa: S311 - a reproducible schedule, not a secret
        due = array("q", sorted(int(uniform.random() * length) for _ in range(count)))
    lanes = [
        Lane(
            connections_of(thread, load),
            range(thread, count, threads),
            due[thread::threads],
            range(thread, count, threads),
        )
        for thread in range(threads)
    ]
    return Schedule(length, count, lanes)


def share_of(schedule: Schedule, load: Load, threads: range) -> Schedule:
    """Return what is due of a schedule of ``load`` on some neighbouring threads, its requests counted from 0.

    Shares that together have all threads have together what the whole has, at the same instants.
    """
    first, last = connections_of(threads[0], load), connections_of(threads[-1], load)
    mine = [lane for lane in schedule.lanes if first.start <= lane.connections.start < last.stop]
    count = sum(len(lane.due_ns) for lane in mine)
    lanes = [
        msgspec.structs.replace(lane, requests=range(place, count, len(mine)))
        for place, lane in enumerate(mine)
    ]
    return Schedule(schedule.length_ns, count, lanes)


def connections_of(thread: int, load: Load) -> range:
    """Return the numbers of one thread's connections."""
    each = load.connections // load.threads
    return range(thread * each, (thread + 1) * each)


def deal(threads: range, parts: int) -> list[range]:
    """Deal threads to generators or processes: neighbours together, numbers equal to within one."""
    edges = [len(threads) * number // parts for number in range(parts + 1)]
    return [threads[edges[i] : edges[i + 1]] for i in range(parts)]


def wakes(due_ns: Sequence[Sequence[int]], length_ns: int, longest_ns: int) -> tuple[array[int], array[int]]:
    """Return when a timer must run to serve lanes due at ``due_ns``, and which of these are heartbeats.

    Both ascending. Heartbeats fill the gaps so that no two instants are more than ``longest_ns``
    apart; the last instant is ``length_ns``.
    """
    instants = array("q")
    heartbeats = array("q")
    last = 0
    for due in (*sorted(set().union(*due_ns)), length_ns):
        for beat in range(last + longest_ns, due, longest_ns):
            heartbeats.append(beat)
            instants.append(beat)
        instants.append(due)
        last = due
    return instants, heartbeats


def _period(load: Load) -> float:
    """Return the nanoseconds from one request of a connection to its next, in ``wrk2-phase``."""
    return _NS * load.connections / load.rate


def _refuse_empty(count: int, what: str, load: Load, seconds: float) -> None:
    if count < 1:
        raise IronbenchError(
            f"{seconds:g} s at {load.rate:g} requests per second are too short for {what}; "
            "make the phase longer or the rate higher."
        )
