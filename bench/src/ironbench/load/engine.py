"""The sequence of a run: connect, gate, warm-up, drain, idle, window, drain."""

from __future__ import annotations

import asyncio
import gc
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from ironbench.load.clock import realtime_offset, window_start
from ironbench.load.gate import pass_gate, refused
from ironbench.load.phase import Phase
from ironbench.load.pool import Pool

if TYPE_CHECKING:
    from ironbench.load.client import Address
    from ironbench.load.schedule import Schedule
    from ironbench.records import Gate, LoadSpec


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is settled before the first connection."""

    spec: LoadSpec
    address: Address
    warmup: Schedule
    window: Schedule
    requests: list[bytes]
    """The gate's, then the warm-up's, then the window's."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, in the monotonic clock's nanoseconds; ``window`` is None when the gate failed."""

    gate: Gate
    window: Phase | None = None
    warmup_requests: int = 0
    idle_from_ns: int = 0
    realtime_offset_ns: int = 0
    """CLOCK_REALTIME - CLOCK_MONOTONIC just before the window."""
    realtime_shift_ns: int = 0
    """How far that offset has moved by the end."""
    connect_errors: int = 0
    reconnects: int = 0
    local_ports: list[int] = []
    """By connection number, at the window's start."""


async def run(prepared: Prepared) -> Recording:
    """Run it all; cancelling leaves nothing behind."""
    spec = prepared.spec
    pool = Pool(prepared.address, spec.load.connections, spec.timeout_s)
    try:
        try:
            await pool.open()
        except OSError as error:
            return Recording(gate=refused(error, prepared.address))
        gate = await pass_gate(pool, prepared.requests[0], spec.request.expect)
        if not gate.ok:
            return Recording(gate=gate)
        # Collections would stop the generator, and what exists by now will not become garbage.
        gc.collect()
        gc.freeze()
        gc.disable()
        return await _load(prepared, pool, gate)
    finally:
        gc.enable()
        gc.unfreeze()
        pool.close()


async def _load(prepared: Prepared, pool: Pool, gate: Gate) -> Recording:
    spec = prepared.spec
    first = 1 + prepared.warmup.count
    warmup_requests = 0
    if prepared.warmup.count:
        warmup = Phase(prepared.warmup, prepared.requests[1:first], pool, monotonic_ns())
        await warmup.run(spec.timeout_s)
        warmup_requests = sum(1 for sent in warmup.sent_ns if sent)
    idle_from = monotonic_ns()
    offset = realtime_offset()
    start = window_start(idle_from + round(spec.idle_s * 1e9) + offset) - offset
    window = Phase(prepared.window, prepared.requests[first:], pool, start)
    await asyncio.sleep(max(0.0, (start - monotonic_ns()) / 1e9 - 0.02))
    connect_errors, reconnects = pool.errors["connect"], pool.reconnects
    local_ports = [connection.local_port for connection in pool.connections]
    await window.run(spec.drain_s)
    return Recording(
        gate=gate,
        window=window,
        warmup_requests=warmup_requests,
        idle_from_ns=idle_from,
        realtime_offset_ns=offset,
        realtime_shift_ns=realtime_offset() - offset,
        connect_errors=pool.errors["connect"] - connect_errors,
        reconnects=pool.reconnects - reconnects,
        local_ports=local_ports,
    )
