"""The sequence of a run: connect, gate, warm-up, drain, idle, window, drain; over one or more processes.

The parent only asks and waits: it uses no CPU while a phase runs.
"""

from __future__ import annotations

import multiprocessing
from itertools import chain
from multiprocessing.connection import wait
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import msgspec

from ironbench.load.clock import realtime_offset, window_start
from ironbench.load.landing import Finder, balance
from ironbench.load.table import Table
from ironbench.load.worker import Ended, serve, shares
from ironbench.records import Gate, Landing

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

    from ironbench.load.spec import Prepared

_HEAD_START_NS = 50_000_000
"""From the order to start to the start, so that all processes have it in time."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in the window; times of time.monotonic_ns(), those of ``table`` from ``start_ns``."""

    table: Table
    start_ns: int
    end_ns: int
    drained_ns: int
    cpu_ns: list[int]
    """By process."""
    beat_lag_ns: list[int]
    connect_errors: int
    reconnects: int


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a run; ``window`` is None when the gate failed."""

    gate: Gate
    window: Window | None = None
    warmup_requests: int = 0
    idle_from_ns: int = 0
    """Of time.monotonic_ns()."""
    realtime_offset_ns: int = 0
    """CLOCK_REALTIME - CLOCK_MONOTONIC just before the window."""
    realtime_shift_ns: int = 0
    """How far that offset has moved by the end."""
    local_ports: list[int] = []
    """By connection number, at the window's start; empty for a Unix socket."""
    landing: Landing | None = None


class Crew:
    """The generator's processes."""

    def __init__(self, prepared: Prepared, warmup: Table, window: Table) -> None:
        """Start them; each has laid out its share when this returns."""
        context = multiprocessing.get_context("fork")  # the tables are shared by being inherited
        self._processes = []
        self._pipes: list[Pipe] = []
        for share in shares(prepared.spec.load.threads, prepared.processes):
            ours, theirs = context.Pipe()
            arguments = (prepared, share, warmup, window, theirs)
            process = context.Process(target=serve, args=arguments, daemon=True)
            self._processes.append(process)
            self._pipes.append(ours)
            process.start()
            theirs.close()
        for pipe in self._pipes:
            _receive(pipe)

    def ask(self, question: str, *arguments: Any) -> list[Any]:
        """Ask all processes the same, at once, and return their answers."""
        return self.ask_each(question, [arguments] * len(self._pipes))

    def ask_each(self, question: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        """Ask each of the first processes with arguments of its own."""
        asked = self._pipes[: len(arguments)]
        for pipe, own in zip(asked, arguments, strict=True):
            pipe.send((question, own))
        answers = {}
        while len(answers) < len(asked):  # in any order: one that dies must not wait for the others
            for ready in wait([pipe for pipe in asked if pipe not in answers]):
                answers[ready] = _receive(ready)
        return [answers[pipe] for pipe in asked]

    def local_ports(self) -> dict[int, int]:
        """Return the local port of each open connection by its number."""
        return dict(sorted(chain.from_iterable(ports.items() for ports in self.ask("ports"))))

    def dismiss(self) -> None:
        """End all processes, whatever they do."""
        for process in self._processes:
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()


def run(prepared: Prepared) -> Recording:
    """Run it all; whatever ends it leaves no process behind."""
    warmup, window = Table(prepared.warmup), Table(prepared.window)
    crew = Crew(prepared, warmup, window)
    try:
        return _run(prepared, crew, warmup, window)
    finally:
        crew.dismiss()


def _run(prepared: Prepared, crew: Crew, warmup: Table, window: Table) -> Recording:
    spec = prepared.spec
    for refused in crew.ask("open"):
        if refused is not None:
            return Recording(gate=refused)
    finder = Finder(prepared.address)
    moved = 0
    if spec.load.placement == "balanced":
        moved = balance(finder, crew.local_ports, lambda numbers: crew.ask("reopen", numbers))
    (gate,) = crew.ask_each("gate", [()])
    if not gate.ok:
        return Recording(gate=gate)
    if prepared.warmup.count:
        crew.ask("warm_up", monotonic_ns() + _HEAD_START_NS)
    idle_from = monotonic_ns()
    ports = crew.local_ports()
    before = finder.workers(ports.values())
    offset = realtime_offset()
    earliest = max(idle_from + round(spec.idle_s * 1e9), monotonic_ns() + _HEAD_START_NS)
    start = window_start(earliest + offset) - offset
    ended: list[Ended] = crew.ask("measure", start)
    after = finder.workers(port for one in ended for port in one.local_ports.values())
    return Recording(
        gate=gate,
        window=Window(
            table=window,
            start_ns=start,
            end_ns=start + prepared.window.length_ns,
            drained_ns=max(one.drained_ns for one in ended),
            cpu_ns=[one.cpu_ns for one in ended],
            beat_lag_ns=[lag for one in ended for lag in one.beat_lag_ns],
            connect_errors=sum(one.connect_errors for one in ended),
            reconnects=sum(one.reconnects for one in ended),
        ),
        warmup_requests=sum(1 for outcome in warmup.outcome if outcome),
        idle_from_ns=idle_from,
        realtime_offset_ns=offset,
        realtime_shift_ns=realtime_offset() - offset,
        local_ports=[port for port in ports.values() if port],
        landing=Landing(workers=before, workers_after=after, reconnects=moved, unknown=finder.unknown),
    )


def _receive(pipe: Any) -> Any:
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise RuntimeError("a process of the generator ended in the middle of the run") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer
