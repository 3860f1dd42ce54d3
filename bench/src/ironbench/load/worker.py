"""One process of the generator: its connections and its share of each phase."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from ironbench.load.bodies import Bodies, Reader
from ironbench.load.gate import pass_gate, refused
from ironbench.load.phase import Phase
from ironbench.load.pool import Pool
from ironbench.load.schedule import connections_of

if TYPE_CHECKING:
    from array import array
    from multiprocessing.connection import Connection as Pipe

    from ironbench.load.schedule import Schedule
    from ironbench.load.spec import Prepared
    from ironbench.load.table import Table
    from ironbench.records import Gate


_PR_SET_PDEATHSIG = 1


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What a process tells of a phase beyond the table; times of time.monotonic_ns()."""

    drained_ns: int
    cpu_ns: int
    beat_lag_ns: array[int]
    """How late its timer ran at the instants between due times."""
    reconnects: int
    connect_errors: int
    local_ports: dict[int, int]
    """By connection number, of the open ones when the phase had drained; 0 on a Unix socket."""
    bodies: Bodies


class Worker:
    """What the parent asks of a process, one question at a time."""

    def __init__(self, prepared: Prepared, threads: range, warmup: Table, window: Table) -> None:
        spec = prepared.spec
        self._prepared = prepared
        self._numbers = [number for thread in threads for number in connections_of(thread, spec.load)]
        expect = spec.request.expect
        self._reader = Reader(expect, prepared.chosen)
        self._warmup = self._phase(prepared.warmup, warmup, 1, Reader(expect, frozenset()))
        self._window = self._phase(prepared.window, window, prepared.first_number, self._reader)

    def _phase(self, schedule: Schedule, table: Table, first: int, reader: Reader) -> Phase:
        mine = set(self._numbers)
        lanes = [lane for lane in schedule.lanes if mine.issuperset(lane.connections)]
        data = [
            self._prepared.stream.render_many(range(first + r.start, first + r.stop, r.step))
            for r in (lane.numbers for lane in lanes)
        ]
        return Phase(lanes, schedule.length_ns, data, table, reader)

    async def open(self) -> Gate | None:
        """Open all connections; return a failed gate when that cannot be done."""
        spec = self._prepared.spec
        self._pool = Pool(self._prepared.address, self._numbers, spec.timeout_s)
        try:
            await self._pool.open()
        except OSError as error:
            return refused(error, self._prepared.address)
        return None

    async def reopen(self, numbers: list[int]) -> Gate | None:
        """Open some connections anew, all closed before the first is opened again."""
        for connection in self._pool.connections:
            if connection.index in numbers:
                connection.close()
        try:
            await self._pool.open()
        except OSError as error:
            return refused(error, self._prepared.address)
        return None

    async def ports(self) -> dict[int, int]:
        """Return the local ports of the open connections by number."""
        return {c.index: c.local_port for c in self._pool.connections if c.is_open}

    async def gate(self, number: int) -> Gate:
        """Send the request that is judged outside of the window."""
        request = self._prepared.stream.render_gate(number)
        try:
            return await pass_gate(self._pool, request, self._prepared.spec.request.expect)
        except OSError as error:
            return refused(error, self._prepared.address)

    async def expect(self, json_type: str) -> None:
        """Have the window's bodies be of the JSON type that the gate's answer had."""
        self._reader.json_type = json_type

    async def warm_up(self, start_ns: int) -> Ended:
        """Run this process's share of the warm-up."""
        return await self._run(self._warmup, start_ns, self._prepared.spec.timeout_s)

    async def measure(self, start_ns: int) -> Ended:
        """Run this process's share of the window."""
        return await self._run(self._window, start_ns, self._prepared.spec.drain_s)

    async def _run(self, phase: Phase, start_ns: int, drain_s: float) -> Ended:
        # uvloop's timers are good to a millisecond; the phase's own timer does the rest.
        await asyncio.sleep(max(0.0, (start_ns - monotonic_ns()) / 1e9 - 0.02))
        pool = self._pool
        reconnects, connect_errors = pool.reconnects, pool.errors["connect"]
        await phase.run(pool, start_ns, drain_s)
        return Ended(
            drained_ns=phase.drained_ns,
            cpu_ns=phase.cpu_ns,
            beat_lag_ns=phase.beat_lag_ns,
            reconnects=pool.reconnects - reconnects,
            connect_errors=pool.errors["connect"] - connect_errors,
            local_ports=await self.ports(),
            bodies=self._reader.found(),
        )


def serve(prepared: Prepared, threads: range, warmup: Table, window: Table, pipe: Pipe) -> None:
    """Answer the parent's questions until it hangs up; the target of a forked process."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # terminal and systemd send them to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    _end_with_parent()
    worker = Worker(prepared, threads, warmup, window)
    # Collections would stop the generator, and what exists by now will not become garbage.
    gc.collect()
    gc.freeze()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, contextlib.suppress(EOFError):
        runner.run(_answer(worker, pipe))


async def _answer(worker: Worker, pipe: Pipe) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: _fault(pipe, context))
    readable = asyncio.Event()
    loop.add_reader(pipe.fileno(), readable.set)
    pipe.send(None)  # ready
    while True:
        await readable.wait()
        readable.clear()
        question, arguments = pipe.recv()
        try:
            answer = await getattr(worker, question)(*arguments)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            answer = error
        pipe.send(answer)


def _end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _fault(pipe: Pipe, context: dict[str, Any]) -> None:
    """Tell the parent of a fault in a callback, which would else be lost, and end."""
    pipe.send(context.get("exception") or RuntimeError(context["message"]))
    os._exit(1)
