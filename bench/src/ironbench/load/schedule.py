"""When each request of a phase is due, and which connections may carry it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ironbench.records import Load

_NS = 1_000_000_000


class Lane(msgspec.Struct, frozen=True):
    """A queue of due requests and the connections that may carry them, first due first served.

    ``due_ns[i]`` is the offset from the phase's start at which the request number ``requests[i]`` of
    the phase is due, ascending; ``connections`` are numbers of connections. A later generator of
    several processes gives each of them lanes of its own.
    """

    connections: range
    requests: range
    due_ns: Sequence[int]


class Schedule(msgspec.Struct, frozen=True):
    """All lanes of one phase (warm-up or window) of ``length_ns``; every due time lies inside it."""

    length_ns: int
    count: int
    lanes: list[Lane]

    @property
    def instants(self) -> list[int]:
        """The different due times of all lanes, ascending, nanoseconds from the phase's start."""
        return sorted({due for lane in self.lanes for due in lane.due_ns})


def make_schedule(load: Load, seconds: float, seed: str) -> Schedule:
    """Lay out ``load`` over a phase of ``seconds``; the same arguments give the same schedule.

    ``even`` and ``poisson`` have one lane that all connections share, with exactly
    round(rate * seconds) requests, so that the offered rate is count / seconds. ``even``: at equal
    distances, from 0 on. ``poisson``: given their number, the arrivals of a Poisson process are
    distributed as sorted independent uniform times (Ross, Introduction to Probability Models,
    theorem 5.2), so we draw those.

    ``wrk2-phase``: one lane a connection, each at rate / connections from 0 on, hence all at the
    same instants. The phase is made of whole periods: the nearest number of bursts to
    rate * seconds / connections, and its length is that number of periods, so the offered rate is
    ``rate`` and the phase may be up to half a period shorter or longer than ``seconds``.

    Raises IronbenchError when ``seconds`` is above 0 and too short for a single request.
    """
    if seconds == 0:
        return Schedule(0, 0, [])
    connections = load.connections
    if load.arrivals == "wrk2-phase":
        bursts = round(load.rate * seconds / connections)
        _refuse_empty(bursts, f"a burst of {connections} requests", load, seconds)
        period = _NS * connections / load.rate
        due = [round(i * period) for i in range(bursts)]
        lanes = [
            Lane(range(c, c + 1), range(c, bursts * connections, connections), due)
            for c in range(connections)
        ]
        return Schedule(round(bursts * period), bursts * connections, lanes)
    count = round(load.rate * seconds)
    _refuse_empty(count, "a request", load, seconds)
    length = round(seconds * _NS)
    if load.arrivals == "even":
        due = [i * length // count for i in range(count)]
    else:
        uniform = random.Random(seed)  # noqa: S311 - a reproducible schedule, not a secret
        due = sorted(int(uniform.random() * length) for _ in range(count))
    return Schedule(length, count, [Lane(range(connections), range(count), due)])


def _refuse_empty(count: int, what: str, load: Load, seconds: float) -> None:
    if count < 1:
        raise IronbenchError(
            f"{seconds:g} s at {load.rate:g} requests per second are too short for {what}; "
            "make the phase longer or the rate higher."
        )
