"""Which process of the app each connection belongs to, and reconnecting until every one has its share.

The kernel of the app's host knows (see ironbench.load.sockets). Where that is this machine, it is asked
here; else the placement service there answers (see ironbench.load.placement).
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from ironbench.errors import IronbenchError
from ironbench.load import sockets
from ironbench.load.placement import RemoteFinder
from ironbench.load.sockets import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from ironbench.load.client import Address
    from ironbench.records import PlacementService

_ACCEPT_S = 2.0
"""A connection that no worker has accepted in this time is of no worker."""
_BALANCE_S = 20.0
_POLL_S = 0.01


class Finder(Protocol):
    """Tells the app's workers; ``unknown`` says why it cannot, or is empty."""

    unknown: str

    def look(self, ports: Collection[int]) -> Seen:
        """Return the workers, and who of them has accepted the connection from each of our ``ports``."""
        ...


def make_finder(address: Address, service: PlacementService | None) -> Finder:
    """Return what tells the workers of the app at ``address``: ``service``, or else this machine's kernel."""
    if service is None or address.family == socket.AF_UNIX:
        return LocalFinder(address)
    return RemoteFinder(address, service)


def surplus(owners: dict[int, int], workers: Iterable[int]) -> list[int]:
    """Return the connections to give up so that none of ``workers`` has more than its share.

    ``owners`` is worker by connection. Shares differ by at most one, and go with what there is:
    the workers with the most connections have the larger ones.
    """
    have = Counter(dict.fromkeys(workers, 0))
    have.update(owners.values())
    each, larger = divmod(len(owners), len(have))
    room = {worker: each + (rank < larger) for rank, (worker, _) in enumerate(have.most_common())}
    over = []
    for connection, worker in owners.items():
        room[worker] -= 1
        if room[worker] < 0:
            over.append(connection)
    return over


class LocalFinder:
    """A Finder for an app on this machine."""

    def __init__(self, address: Address) -> None:
        self.unknown = ""
        self._server: sockets.Endpoint | None = None
        if address.family == socket.AF_UNIX:
            self.unknown = "A Unix socket does not tell which worker a connection belongs to."
        else:
            host, port = address.sockaddr[:2]
            self._server = sockets.endpoint(str(host), int(port))

    def look(self, ports: Collection[int]) -> Seen:
        """Return the workers, and who of them has accepted the connection from each of our ``ports``."""
        if self._server is None:
            return Seen([], {})
        rows = sockets.sockets()
        if not sockets.listeners(rows, self._server):
            self.unknown = (
                "Which worker a connection belongs to can be seen on the app's host only, and nothing listens "
                f"at port {self._server[1]} on this one."
            )
            return Seen([], {})
        # Both ends must be here: a port of ours may also be that of a client on another machine.
        ours = {row.local for row in rows if row.remote == self._server and row.local[1] in ports}
        seen = sockets.look(rows, self._server, ours, sockets.all_pids())
        if not seen.workers:
            self.unknown = f"Who listens at port {self._server[1]} can be seen by root only."
        return seen


def tally(seen: Seen, ports: Iterable[int]) -> dict[str, int]:
    """Return how many connections from ``ports`` each worker has, by PID; workers without any too."""
    counts = Counter(dict.fromkeys(seen.workers, 0))
    counts.update(seen.owners[port] for port in ports if port in seen.owners)
    return {str(pid): counts[pid] for pid in sorted(counts)}


def balance(
    finder: Finder, local_ports: Callable[[], dict[int, int]], reopen: Callable[[list[int]], object]
) -> int:
    """Reopen connections until every worker has its share; return how many were opened anew.

    Raises IronbenchError when the workers cannot be told, or the kernel goes on giving one of them
    more than its share.
    """
    deadline = time.monotonic() + _BALANCE_S
    moved = 0
    while True:
        ports = local_ports()
        seen = _accepted(finder, ports)
        if not seen.workers:
            raise IronbenchError(
                f"load.placement is balanced, and that is not possible here: {finder.unknown} Use as_landed."
            )
        owners = {number: seen.owners.get(port, 0) for number, port in ports.items()}
        over = surplus({number: pid for number, pid in owners.items() if pid in seen.workers}, seen.workers)
        over += [number for number, pid in owners.items() if pid not in seen.workers]
        if not over:
            return moved
        if time.monotonic() > deadline:
            counts = ", ".join(f"PID {pid}: {n}" for pid, n in sorted(Counter(owners.values()).items()))
            raise IronbenchError(
                f"The connections could not be balanced in {_BALANCE_S:g} s ({counts}); use more connections or "
                "the placement as_landed."
            )
        reopen(over)
        moved += len(over)


def _accepted(finder: Finder, ports: dict[int, int]) -> Seen:
    """Look until every connection has been accepted, or for a while."""
    deadline = time.monotonic() + _ACCEPT_S
    while True:
        seen = finder.look(set(ports.values()))
        if not seen.workers or len(seen.owners) == len(ports) or time.monotonic() > deadline:
            return seen
        time.sleep(_POLL_S)
