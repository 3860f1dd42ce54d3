"""Reading the clocks of the bench's other hosts from a generator's, just before the load and just after.

Every host cuts its own counters by the generator's times, so the clocks must agree; the judge says how well.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from ironbench.errors import IronbenchError
from ironbench.files import encode_record, read_record, write_atomic
from ironbench.host.placement import Duty
from ironbench.load.client import resolve
from ironbench.load.placement import read_clock
from ironbench.records import SCHEMA, ClockReading, Clocks

if TYPE_CHECKING:
    from ironbench.host.place import Place

ASKS = 5
"""Of each clock; the quickest answer decides."""


def read_before(place: Place) -> None:
    """Read all clocks and keep that in the session's directory; nothing to do for a host without peers."""
    if place.host.peers and place.host.placement_port:
        write_atomic(place.clocks, encode_record(Clocks(schema=SCHEMA, before=_read(place))))


def read_after(place: Place) -> None:
    """Read them again, if they were read before."""
    if place.clocks.exists():
        kept = read_record(place.clocks, Clocks)
        write_atomic(place.clocks, encode_record(msgspec.structs.replace(kept, after=_read(place))))


def _read(place: Place) -> list[ClockReading]:
    # A host's own placement service has the token too, and the session that `wait` reads has none.
    token = read_record(place.duty, Duty).token

    def one(peer: str) -> ClockReading:
        try:
            address = resolve(place.host.peers[peer], place.host.placement_port)
            offset_ns, bound_ns = read_clock(address, token, ASKS)
        except (OSError, IronbenchError) as error:
            return ClockReading(peer=peer, offset_ms=0, bound_ms=0, unknown=str(error).removesuffix("."))
        return ClockReading(peer=peer, offset_ms=offset_ns / 1e6, bound_ms=bound_ns / 1e6)

    peers = sorted(place.host.peers)
    with ThreadPoolExecutor(max_workers=len(peers)) as pool:
        return list(pool.map(one, peers))
