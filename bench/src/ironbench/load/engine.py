"""The sequence of a run: connect, gate, warm-up, drain, idle, window, drain, idle, gate; over one or more processes.

The loads of a run go through it together, each with processes of its own. The parent only asks and
waits: it uses no CPU while a phase runs.
"""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from multiprocessing.connection import wait
from time import monotonic_ns, sleep
from typing import TYPE_CHECKING, Any

import msgspec

from ironbench.load.bodies import Bodies, added
from ironbench.load.clock import realtime_offset, window_start
from ironbench.load.landing import balance, make_finder, tally
from ironbench.load.phase import UNSENT
from ironbench.load.schedule import deal
from ironbench.load.table import Table
from ironbench.load.worker import Ended, serve
from ironbench.records import QUIET_AFTER_S, Gate, Landing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection as Pipe
    from multiprocessing.context import ForkProcess

    from ironbench.load.landing import Finder
    from ironbench.load.spec import Prepared

_HEAD_START_NS = 50_000_000
"""From the order to start to the start, so that all processes have it in time."""

LONGEST_WAIT_NS = 20_000_000_000
"""For an appointed start of the window: one that is farther off is of a clock that is wrong."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one load in the window; times of time.monotonic_ns(), those of ``table`` from ``start_ns``."""

    table: Table
    start_ns: int
    end_ns: int
    first_send_ns: int
    """Of any load; ``start_ns`` when nothing was sent."""
    drained_ns: int
    """When all loads were."""
    cpu_ns: list[int]
    """By process."""
    all_cpu_ns: int
    """Of the processes of all loads together."""
    beat_lag_ns: list[int]
    connect_errors: int
    reconnects: int
    bodies: Bodies


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one load in a run; ``window`` is None when a gate failed, this load's or the other's."""

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
    gate_after: Gate | None = None


@contextmanager
def _sigterm_waits() -> Iterator[None]:
    """Python swallows what a handler raises within its own hooks of a fork, and the signal would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Crew:
    """The processes of one load."""

    def __init__(self, prepared: Prepared) -> None:
        """Start them; each has laid out its share when this returns."""
        self.prepared = prepared
        self.warmup, self.window = Table(prepared.warmup), Table(prepared.window)
        self._processes: list[ForkProcess] = []
        self.pipes: list[Pipe] = []
        try:
            self._start(prepared)
        except BaseException:
            # A SIGTERM too: Python does not end before its processes, and these do not end by its request.
            self.dismiss()
            raise

    def _start(self, prepared: Prepared) -> None:
        context = multiprocessing.get_context("fork")  # the tables are shared by being inherited
        for threads in deal(prepared.threads, prepared.processes):
            ours, theirs = context.Pipe()
            arguments = (prepared, threads, self.warmup, self.window, theirs)
            process = context.Process(target=serve, args=arguments, daemon=True)
            self._processes.append(process)
            self.pipes.append(ours)
            with _sigterm_waits():
                process.start()
            theirs.close()
        for pipe in self.pipes:
            _receive(pipe)

    def ask(self, question: str, *arguments: Any) -> list[Any]:
        """Ask all processes the same, at once, and return their answers."""
        return _ask(self.pipes, question, arguments)

    def ask_gate(self, number: int) -> Gate:
        """Have one of the processes ask the gate."""
        (gate,) = _ask(self.pipes[:1], "gate", (number,))
        return gate

    def local_ports(self) -> dict[int, int]:
        """Return the local port of each open connection by its number."""
        return dict(sorted(chain.from_iterable(ports.items() for ports in self.ask("ports"))))

    def dismiss(self) -> None:
        """End all processes that have been started, whatever they do."""
        for process in self._processes:
            if process.pid is None:
                continue
            process.kill()
            process.join()
        for pipe in self.pipes:
            pipe.close()


def run(loads: Sequence[Prepared], *, gate_after: bool = True) -> list[Recording]:
    """Run it all, the loads side by side; whatever ends it leaves no process behind.

    Without ``gate_after`` the gate is not asked again, as between the steps of a search, which all begin with it.
    """
    with ExitStack() as stack:
        crews = []
        for prepared in loads:
            crews.append(Crew(prepared))
            stack.callback(crews[-1].dismiss)
        return _run(crews, gate_after=gate_after)


def _run(crews: Sequence[Crew], *, gate_after: bool) -> list[Recording]:
    spec = crews[0].prepared.spec
    finder = make_finder(crews[0].prepared.address, spec.placement_service)
    admitted = [_admit(crew, finder) for crew in crews]
    if not all(gate.ok for gate, _ in admitted):
        return [Recording(gate=gate) for gate, _ in admitted]
    ports = [crew.local_ports() for crew in crews]
    seen = finder.look(_all_ports(ports))
    for crew, (gate, _) in zip(crews, admitted, strict=True):
        crew.ask("expect", gate.json_type)
    if crews[0].prepared.warmup.count:
        _ask_crews(crews, "warm_up", monotonic_ns() + _HEAD_START_NS)
    idle_from = monotonic_ns()
    asked, ports = ports, [crew.local_ports() for crew in crews]
    if not finder.unknown and (ports != asked or len(seen.owners) < len(_all_ports(ports))):
        seen = finder.look(_all_ports(ports))
    before = [tally(seen, own.values()) for own in ports]
    offset = realtime_offset()
    idle_ns = round(spec.idle_s * 1e9)
    earliest = max(idle_from + idle_ns, monotonic_ns() + _HEAD_START_NS)
    start = window_start(_appointed(earliest + offset, spec.window_start_ns)) - offset
    ended: list[list[Ended]] = _ask_crews(crews, "measure", start)
    shift = realtime_offset() - offset
    last_ports = [dict(item for one in own for item in one.local_ports.items()) for own in ended]
    seen = finder.look(_all_ports(last_ports))
    after = [tally(seen, own.values()) for own in last_ports]
    everyone = list(chain.from_iterable(ended))
    sent = (
        ns
        for crew in crews
        for ns, outcome in zip(crew.window.sent_ns, crew.window.outcome, strict=True)
        if outcome != UNSENT
    )
    first_send = start + min(sent, default=0)
    drained = max(one.drained_ns for one in everyone)
    all_cpu = sum(one.cpu_ns for one in everyone)
    asked_again: list[Gate | None] = [None for _ in crews]
    if gate_after:
        sleep(max(0, drained + round(QUIET_AFTER_S * 1e9) - monotonic_ns()) / 1e9)
        asked_again = [crew.ask_gate(crew.prepared.gate_after_number) for crew in crews]
    return [
        Recording(
            gate=gate,
            window=Window(
                table=crew.window,
                start_ns=start,
                end_ns=start + crew.prepared.window.length_ns,
                first_send_ns=first_send,
                drained_ns=drained,
                cpu_ns=[one.cpu_ns for one in own],
                all_cpu_ns=all_cpu,
                beat_lag_ns=[lag for one in own for lag in one.beat_lag_ns],
                connect_errors=sum(one.connect_errors for one in own),
                reconnects=sum(one.reconnects for one in own),
                bodies=added([one.bodies for one in own]),
            ),
            warmup_requests=sum(1 for outcome in crew.warmup.outcome if outcome),
            idle_from_ns=idle_from,
            realtime_offset_ns=offset,
            realtime_shift_ns=shift,
            local_ports=[port for port in own_ports.values() if port],
            landing=Landing(workers=was, workers_after=now, reconnects=moved, unknown=finder.unknown),
            gate_after=again,
        )
        for crew, (gate, moved), own, own_ports, was, now, again in zip(
            crews, admitted, ended, ports, before, after, asked_again, strict=True
        )
    ]


def _appointed(earliest_ns: int, appointed_ns: int | None) -> int:
    """Return the appointment with the other generators, or the earliest time where it cannot be kept."""
    if appointed_ns is None or appointed_ns > earliest_ns + LONGEST_WAIT_NS:
        return earliest_ns
    return max(earliest_ns, appointed_ns)


def _all_ports(ports: Sequence[dict[int, int]]) -> set[int]:
    return {port for own in ports for port in own.values()}


def _admit(crew: Crew, finder: Finder) -> tuple[Gate, int]:
    """Connect and pass the gate; return it and how many connections were opened anew to balance them."""
    for refused in crew.ask("open"):
        if refused is not None:
            return refused, 0
    moved = 0
    if crew.prepared.spec.load.placement == "balanced":
        moved = balance(finder, crew.local_ports, lambda numbers: crew.ask("reopen", numbers))
    return crew.ask_gate(0), moved


def _ask_crews(crews: Sequence[Crew], question: str, *arguments: Any) -> list[list[Any]]:
    """Ask the processes of all crews the same, at once, and return their answers by crew."""
    answers = iter(_ask([pipe for crew in crews for pipe in crew.pipes], question, arguments))
    return [list(islice(answers, len(crew.pipes))) for crew in crews]


def _ask(pipes: Sequence[Pipe], question: str, arguments: tuple[Any, ...]) -> list[Any]:
    for pipe in pipes:
        pipe.send((question, arguments))
    answers = {}
    while len(answers) < len(pipes):  # in any order: one that dies must not wait for the others
        for ready in wait([pipe for pipe in pipes if pipe not in answers]):
            answers[ready] = _receive(ready)
    return [answers[pipe] for pipe in pipes]


def _receive(pipe: Any) -> Any:
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise RuntimeError("a process of the generator ended in the middle of the run") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer
